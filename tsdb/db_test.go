package tsdb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	promtsdb "github.com/prometheus/prometheus/tsdb"
	"github.com/stretchr/testify/require"

	"github.com/promlet/promlet/bench/skip"
)

func TestSamplesSurviveClose(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "by", "open")
	db := openIn(t, dir)
	add(t, db, `up{pod="a"}`, at(0), 1)
	require.NoError(t, db.Close())

	db = openIn(t, dir)
	require.NoError(t, db.Damage())
	got, err := db.Instant(context.Background(), Query{Expr: "up", At: at(10)})
	require.NoError(t, err)
	require.Equal(t, Vector{{Labels: parseLabels(t, `up{pod="a"}`), Value: 1, Last: at(0).Local()}}, got)
}

func TestClosed(t *testing.T) {
	db := openIn(t, t.TempDir())
	add(t, db, "up", at(0), 1)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	require.NoError(t, db.Close())

	app := db.AppenderV2(context.Background())
	_, err := app.Append(0, labels.FromStrings("__name__", "up"), 0, 1, 1, nil, nil, storage.AOptions{})
	require.ErrorIs(t, err, ErrClosed)
	require.ErrorIs(t, app.Commit(), ErrClosed)
	require.NoError(t, app.Rollback())
	require.ErrorIs(t, evaluate(t, db, "up"), ErrClosed)

	// Every method, with zero arguments: it returns ErrClosed if it returns an error.
	others := []string{"AppenderV2", "Close", "Damage", "Ended", "Engine", "Features", "MaxConcurrency", "MaxSampleAge", "Newest", "Parser", "QueryTimeout", "Retention", "Series"}
	var without []string
	value := reflect.ValueOf(db)
	for i := range value.NumMethod() {
		name, method := value.Type().Method(i).Name, value.Method(i)
		if slices.Contains(others, name) {
			without = append(without, name)
			continue
		}
		var args []reflect.Value
		for i := range method.Type().NumIn() {
			switch in := method.Type().In(i); in {
			case reflect.TypeFor[context.Context]():
				args = append(args, reflect.ValueOf(t.Context()))
			default:
				args = append(args, reflect.Zero(in))
			}
		}
		results := method.Call(args)
		err, _ := results[len(results)-1].Interface().(error)
		require.ErrorIs(t, err, ErrClosed, name)
		require.ErrorIs(t, err, promtsdb.ErrNotReady, name)
	}
	require.Equal(t, others, without)
	require.Zero(t, db.Series())
	require.Zero(t, db.Ended())
	require.Zero(t, db.Newest())
	require.NoError(t, db.Damage())
}

// evaluate evaluates an expression with the engine, and returns its error.
func evaluate(t *testing.T, db *DB, expr string) error {
	t.Helper()
	query, err := db.Engine().NewInstantQuery(t.Context(), db, nil, expr, at(0))
	require.NoError(t, err)
	defer query.Close()
	return query.Exec(t.Context()).Err
}

// Close ends what reads: a query of the engine, and the series of a querier, for which it waits.
func TestCloseEndsReaders(t *testing.T) {
	db := openIn(t, t.TempDir(), func(o *Options) { o.QueryTimeout = time.Hour })
	add(t, db, "up", at(0), 1)
	querier, err := db.Querier(0, at(1).UnixMilli())
	require.NoError(t, err)
	began := make(chan struct{})
	query, err := db.Engine().NewInstantQuery(t.Context(), storage.QueryableFunc(func(int64, int64) (storage.Querier, error) {
		close(began)
		return storage.NoopQuerier(), nil
	}), nil, "count_over_time((vector(1) or up)[900000s:1s])", time.Unix(1e9, 0))
	require.NoError(t, err)
	defer query.Close()
	evaluated, closed := make(chan error), make(chan error)
	go func() { evaluated <- query.Exec(t.Context()).Err }()
	<-began
	go func() { closed <- db.Close() }()
	require.ErrorIs(t, <-evaluated, ErrClosed)
	series := querier.Select(t.Context(), false, nil, labels.MustNewMatcher(labels.MatchEqual, "__name__", "up"))
	require.False(t, series.Next())
	require.ErrorIs(t, series.Err(), ErrClosed)
	select {
	case <-closed:
		t.Fatal("a querier is open")
	case <-time.After(10 * time.Millisecond):
	}
	require.NoError(t, querier.Close())
	require.NoError(t, <-closed)
}

func TestLocked(t *testing.T) {
	dir := t.TempDir()
	db := openIn(t, dir)
	add(t, db, "up", at(0), 1)

	_, err := Open(Options{Dir: dir})
	require.ErrorIs(t, err, ErrLocked)
	require.ErrorContains(t, err, dir)
	require.ErrorContains(t, err, "another DB of this one")
	require.ErrorContains(t, err, "choose another directory")

	require.NoError(t, db.Close())
	db = openIn(t, dir) // the lock file is still there
	require.NoError(t, db.Damage())
}

func TestUnusableDirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	for _, dir := range []string{file, filepath.Join(file, "below")} {
		_, err := Open(Options{Dir: dir})
		require.ErrorContains(t, err, fmt.Sprintf("%q", dir))
		require.ErrorContains(t, err, "choose a directory of its own")
	}
}

// childOpen opens a data directory, prints the error if there is one, and ends.
func childOpen(dir string) {
	db, err := Open(Options{Dir: dir})
	if err == nil {
		err = db.Close()
	}
	if err != nil {
		fmt.Println(err)
	}
}

// A directory that may not be written is an error, not damage: nothing is moved.
func TestForbiddenDirectory(t *testing.T) {
	if os.Geteuid() != 0 {
		skip.Test(t, "A data directory that may not be written", "run as root, to become somebody else")
	}
	dir, err := os.MkdirTemp("/tmp", "promlet-forbidden-") //nolint:usetesting // others must be able to reach it
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	binary := filepath.Join(dir, "test.bin")
	own, err := os.ReadFile("/proc/self/exe")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(binary, own, 0o755))
	require.NoError(t, os.Chmod(dir, 0o755))

	asNobody := func(dir string) string {
		cmd := exec.Command(binary, dir)
		cmd.Env = append(os.Environ(), childEnv+"=open")
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
		return string(out)
	}

	out := asNobody(filepath.Join(dir, "new"))
	require.Contains(t, out, "permission denied: make it and all in it writable for user 65534")

	data := filepath.Join(dir, "data")
	db := openIn(t, data)
	add(t, db, "up", at(0), 1)
	require.NoError(t, db.Close())
	require.NoError(t, os.Chmod(data, 0o777))
	require.NoError(t, os.Chmod(filepath.Join(data, lockFile), 0o666))
	out = asNobody(data) // may write there, but neither into the log nor read it
	require.Contains(t, out, fmt.Sprintf("data directory %q", data))
	require.Contains(t, out, "permission denied: make it and all in it writable")
	entries, err := filepath.Glob(filepath.Join(data, asideDir))
	require.NoError(t, err)
	require.Empty(t, entries)

	db = openIn(t, data)
	require.Len(t, instant(t, db, "up", at(0)), 1)
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	db := openIn(t, t.TempDir(), func(o *Options) { o.Registerer = reg })
	add(t, db, "up", at(0), 1)
	require.Contains(t, names(t, reg), "prometheus_tsdb_head_series")
	require.Contains(t, names(t, reg), "prometheus_engine_queries")

	_, err := Open(Options{Dir: t.TempDir(), Registerer: reg})
	require.ErrorContains(t, err, "register metrics")

	require.NoError(t, db.Close())
	require.Empty(t, names(t, reg))
	openIn(t, t.TempDir(), func(o *Options) { o.Registerer = reg })
	require.NotEmpty(t, names(t, reg))
}

func names(t *testing.T, g prometheus.Gatherer) (ns []string) {
	t.Helper()
	families, err := g.Gather()
	require.NoError(t, err)
	for _, f := range families {
		ns = append(ns, f.GetName())
	}
	return ns
}

func TestTwoInOneProcess(t *testing.T) {
	one, two := openIn(t, t.TempDir()), openIn(t, t.TempDir())
	add(t, one, "up", at(0), 1)
	add(t, two, "up", at(0), 2)
	require.EqualValues(t, 1, instant(t, one, "up", at(0))[0].Value)
	require.NoError(t, one.Close())
	require.EqualValues(t, 2, instant(t, two, "up", at(0))[0].Value)
}

// The storage compacts and removes in its own goroutine; nothing here starts it.
func TestCompactionAndRetention(t *testing.T) {
	db := openIn(t, t.TempDir(), func(o *Options) {
		o.Retention = 40 * time.Minute
		o.BlockDuration = 10 * time.Minute
	})
	const last = 4 * 60 * 60
	for s := 0; s <= last; s += 60 {
		add(t, db, `requests_total{pod="a"}`, at(float64(s)), float64(s))
		if s%600 == 0 {
			add(t, db, fmt.Sprintf(`short_lived{pod="p%d"}`, s), at(float64(s)), 1)
		}
	}
	require.Eventually(t, func() bool {
		return len(db.epoch.store.Blocks()) > 0 && db.epoch.store.Head().MinTime() > at(last-20*60).UnixMilli()
	}, time.Minute, 10*time.Millisecond, "the head keeps growing")
	require.Eventually(t, func() bool {
		return db.epoch.store.Blocks()[0].MinTime() > at(last-80*60).UnixMilli()
	}, time.Minute, 10*time.Millisecond, "old blocks stay")
	require.Eventually(t, func() bool { return db.epoch.store.Head().NumSeries() < 5 }, time.Minute, 10*time.Millisecond, "ended series stay in memory")

	got := instant(t, db, "rate(requests_total[30m])", at(last)) // from blocks and head
	require.InDelta(t, 1, got[0].Value, 1e-9)
	require.Equal(t, at(last).UnixMilli(), got[0].Last.UnixMilli())

	for _, b := range db.epoch.store.Blocks() {
		files, err := filepath.Glob(filepath.Join(b.Dir(), "chunks", "*"))
		require.NoError(t, err)
		require.NotEmpty(t, files)
		for _, f := range files {
			info, err := os.Stat(f)
			require.NoError(t, err)
			require.Less(t, info.Size(), int64(1<<20), "reserved space was not given back")
		}
	}
}

func TestLogsQuietly(t *testing.T) {
	var info, debug journal
	dir := t.TempDir()
	db := openIn(t, dir, func(o *Options) { o.Logger = info.logger(slog.LevelInfo) })
	require.NoError(t, db.Close())
	require.Empty(t, info.String())

	db = openIn(t, dir, func(o *Options) {
		o.Logger = debug.logger(slog.LevelDebug).With("component", "tsdb").WithGroup("g")
	})
	quietLogger(db.closing, db.opts.Logger).With("more", 1).WithGroup("h").Warn("a warning", "x", 2)
	require.NoError(t, db.Close())
	require.Contains(t, debug.String(), "level=DEBUG msg=\"WAL replay completed\"")
	require.Contains(t, debug.String(), "level=WARN msg=\"a warning\" component=tsdb")
	require.Contains(t, debug.String(), "g.more=1 g.h.x=2")
	require.NotContains(t, debug.String(), "level=INFO")
	quietLogger(db.closing, db.opts.Logger).Error("compaction failed")
	require.Contains(t, debug.String(), "level=DEBUG msg=\"compaction failed\"")
}

func TestRefused(t *testing.T) {
	require.True(t, refused(fmt.Errorf("open: %w", &os.PathError{Err: syscall.ENOSPC})))
	require.False(t, refused(errors.New("segments are not sequential")))
	require.ErrorContains(t, advise(syscall.ENOSPC), "free some space")
	require.ErrorContains(t, advise(syscall.EROFS), "writable")
	require.NoError(t, advise(nil))
}
