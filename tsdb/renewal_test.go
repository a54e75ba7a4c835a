package tsdb

import (
	"context"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/stretchr/testify/require"

	"github.com/promlet/promlet/bench/skip"
)

// setClock is a clock that tests set.
type setClock struct{ ahead atomic.Int64 }

func (c *setClock) now() time.Time       { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *setClock) set(by time.Duration) { c.ahead.Add(int64(by)) }
func (c *setClock) options(o *Options)   { o.Now = c.now }
func appendNow(t *testing.T, db *DB, series string, v float64) error {
	t.Helper()
	app := db.AppenderV2(context.Background())
	if _, err := app.Append(0, parseLabels(t, series), 0, db.opts.Now().UnixMilli(), v, nil, nil, storage.AOptions{}); err != nil {
		require.NoError(t, app.Rollback())
		return err
	}
	return app.Commit()
}

// Whichever way the clock is set, what was stored by the old one is not read together with what is stored by the new one.
func TestClockSet(t *testing.T) {
	for _, step := range []time.Duration{time.Hour, -time.Hour, 30 * time.Second, -30 * time.Second, -time.Second} {
		t.Run(step.String(), func(t *testing.T) {
			var c setClock
			db := openIn(t, t.TempDir(), c.options)
			require.NoError(t, appendNow(t, db, `x{of="before"}`, 1))
			require.NoError(t, db.Tend())
			c.set(step)
			require.ErrorIs(t, db.Unfit(), ErrClockSet)
			reason := db.Tend()
			require.ErrorIs(t, reason, ErrClockSet)
			require.NoError(t, db.Renew(reason))
			require.NoError(t, db.Unfit())
			require.NoError(t, db.Tend())
			require.ErrorIs(t, db.Damage(), ErrClockSet)
			require.Empty(t, instant(t, db, "x", c.now()))
			require.NoError(t, appendNow(t, db, `x{of="after"}`, 2))
			require.Len(t, instant(t, db, "x", c.now()), 1)
		})
	}
}

// A clock that is slewed is not set.
func TestClockSlewed(t *testing.T) {
	var c setClock
	db := openIn(t, t.TempDir(), c.options)
	c.set(maxClockStep - 50*time.Millisecond)
	require.NoError(t, db.Unfit())
	c.set(100 * time.Millisecond)
	require.ErrorIs(t, db.Unfit(), ErrClockSet)
}

// Samples that are newer than the clock are set aside by Open: no present one could be added, or read beside them.
func TestClockSetBackBeforeOpen(t *testing.T) {
	for _, back := range []time.Duration{30 * time.Second, time.Hour} {
		dir := t.TempDir()
		var c setClock
		db := openIn(t, dir, c.options)
		require.NoError(t, appendNow(t, db, "x", 1))
		require.NoError(t, db.Close())
		c.set(-back)
		db = openIn(t, dir, c.options)
		require.ErrorIs(t, db.Damage(), ErrClockSet)
		require.Empty(t, instant(t, db, "x", c.now().Add(back)))
		require.NoError(t, appendNow(t, db, "x", 2))
		require.NoError(t, db.Close())
		require.NoError(t, openIn(t, dir, c.options).Damage())
	}
}

// With Options.Boot Open notices steps that leave nothing in the future.
func TestClockSetBetweenStarts(t *testing.T) {
	dir := t.TempDir()
	var c setClock
	booted, boot := time.Now(), "a"
	options := func(o *Options) {
		o.Now = c.now
		o.Boot = func() (string, time.Duration, error) { return boot, time.Since(booted), nil }
	}
	start := func() error {
		db := openIn(t, dir, options)
		defer func() { require.NoError(t, db.Close()) }()
		return db.Damage()
	}
	require.NoError(t, start())
	require.NoError(t, start())
	c.set(30 * time.Second)
	require.ErrorIs(t, start(), ErrClockSet)
	require.NoError(t, start())
	c.set(time.Minute)
	boot = "b" // the clock's own step does not tell anything
	require.NoError(t, start())
	require.NoError(t, start())
}

func TestSystemBoot(t *testing.T) {
	id, up, err := SystemBoot()
	if err != nil {
		skip.Test(t, "The boot of the system", "run on Linux: "+err.Error())
	}
	again, later, err := SystemBoot()
	require.NoError(t, err)
	require.Equal(t, id, again)
	require.NotEmpty(t, id)
	require.InDelta(t, up.Seconds(), later.Seconds(), 5)
	require.Positive(t, up)
}

// A sample far ahead makes the storage refuse those of now: that is a reason to begin anew.
func TestPresentRefused(t *testing.T) {
	db := openIn(t, t.TempDir())
	add(t, db, "x", time.Now().Add(time.Hour), 1)
	require.ErrorIs(t, appendNow(t, db, "y", 1), storage.ErrOutOfBounds)
	require.ErrorContains(t, db.Unfit(), "samples of now are refused")
	require.NoError(t, db.Renew(db.Tend()))
	require.NoError(t, appendNow(t, db, "y", 1))
}

// A reference from before Renew does not lead to the series that has its number now.
func TestReferencesFromBeforeRenew(t *testing.T) {
	db := openIn(t, t.TempDir())
	put := func(ref storage.SeriesRef, series string, s float64) storage.SeriesRef {
		app := db.AppenderV2(t.Context())
		ref, err := app.Append(ref, parseLabels(t, series), 0, at(s).UnixMilli(), s, nil, nil, storage.AOptions{})
		require.NoError(t, err)
		require.NoError(t, app.Commit())
		return ref
	}
	a := put(0, "a", 1)
	require.Equal(t, a, put(a, "a", 2))
	require.NoError(t, db.Renew(ErrClockSet))
	b := put(0, "b", 3)
	require.NotEqual(t, a, b)
	require.NotEqual(t, a, put(a, "a", 4))
	require.Equal(t, b, put(b, "b", 5))
	require.InDelta(t, 4, instant(t, db, "a", at(5))[0].Value, 0)
	require.InDelta(t, 5, instant(t, db, "b", at(5))[0].Value, 0)
}

// Renew ends what reads, and waits for it; nothing of it is left in memory or among the metrics.
func TestRenewEndsQueries(t *testing.T) {
	db := openIn(t, t.TempDir())
	add(t, db, "x", at(0), 1)
	q, err := db.Querier(0, at(1).UnixMilli())
	require.NoError(t, err)
	renewed := make(chan error)
	go func() { renewed <- db.Renew(ErrClockSet) }()
	series := q.Select(t.Context(), false, nil, labels.MustNewMatcher(labels.MatchEqual, "__name__", "x"))
	for series.Next() {
		series = q.Select(t.Context(), false, nil, labels.MustNewMatcher(labels.MatchEqual, "__name__", "x"))
	}
	require.ErrorIs(t, series.Err(), ErrRenewed)
	_, err = db.Instant(t.Context(), Query{Expr: "x", At: at(0)})
	require.ErrorIs(t, err, ErrRenewed)
	require.ErrorIs(t, evaluate(t, db, "x"), ErrRenewed)
	require.ErrorIs(t, db.Unfit(), ErrRenewed)
	app := db.AppenderV2(t.Context())
	_, err = app.Append(0, labels.FromStrings("__name__", "x"), 0, 1, 1, nil, nil, storage.AOptions{})
	require.ErrorIs(t, err, ErrRenewed)
	require.ErrorIs(t, app.Commit(), ErrRenewed)
	select {
	case <-renewed:
		t.Fatal("a querier is open")
	case <-time.After(10 * time.Millisecond):
	}
	require.NoError(t, q.Close())
	require.Error(t, q.Close(), "twice")
	require.NoError(t, <-renewed)
	require.Empty(t, instant(t, db, "x", at(0)))
	require.NoError(t, db.Close())
	require.ErrorIs(t, db.Renew(ErrClockSet), ErrClosed)
}

// The third start within minutes without success does without the samples; a start that settled, or ended by
// itself, is none of them.
func TestStartsThatFail(t *testing.T) {
	var c setClock
	options := func(o *Options) { o.Now, o.CountStarts = c.now, true }
	dir := t.TempDir()
	db := openIn(t, dir, options)
	require.NoError(t, appendNow(t, db, "x", 1))
	require.NoError(t, db.Close())

	// kill starts and leaves the directory as it is then, as a process that is killed.
	kill := func(settled bool) error {
		db := openIn(t, dir, options)
		if settled {
			require.NoError(t, db.Settled())
		}
		damage := db.Damage()
		next := filepath.Join(t.TempDir(), "data")
		require.NoError(t, os.CopyFS(next, os.DirFS(dir)))
		require.NoError(t, db.Close())
		dir = next
		return damage
	}
	require.NoError(t, kill(false))
	require.NoError(t, kill(false))
	require.NoError(t, openIn(t, dir).Close()) // without CountStarts
	require.ErrorIs(t, kill(false), errStarts)
	require.NotEmpty(t, glob(t, dir, asideDir+"/wal/0*"))
	require.NoError(t, kill(false)) // the second with what is left
	require.NoError(t, openIn(t, dir, options).Close())
	require.NoError(t, kill(true))
	require.NoError(t, kill(false))
	require.NoError(t, kill(false))
	c.set(startsWithin + time.Minute)
	require.NoError(t, kill(false), "those were long ago")
	require.NoError(t, os.WriteFile(filepath.Join(dir, startsFile), []byte("?"), 0o600))
	require.NoError(t, kill(false))
	require.NoError(t, kill(false))
	require.ErrorIs(t, kill(false), errStarts)
	require.NoError(t, openIn(t, dir, options).Close())
	require.NoFileExists(t, filepath.Join(dir, startsFile))
}
