package tsdb

import (
	"bufio"
	"context"
	"crypto/sha256"
	"fmt"
	"math"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/stretchr/testify/require"
)

// The data of the tests of damage: `made` series with a sample every `every`, whose value tells both,
// so that a sample under a wrong series or at a wrong time shows.
const (
	made  = 40
	every = 5 * time.Second
)

func madeSeries(kind string, i int) labels.Labels {
	padding := fmt.Sprintf("%x", sha256.Sum256([]byte(fmt.Sprint(kind, i)))) // makes records long, compressed too
	return labels.FromStrings("__name__", kind, "number", fmt.Sprint(i), "padding", padding)
}

// madeValue tells the series and the time. `shift` tells kinds of series apart.
func madeValue(i int, ms int64, shift float64) float64 {
	return shift + float64(i)*1e7 + float64((ms-at(0).UnixMilli())/every.Milliseconds())
}

func madeTime(step int) time.Time { return at(float64(step) * every.Seconds()) }

// make commits the samples of one step of all series.
func commitStep(db *DB, kind string, step int, shift float64) error {
	app := db.AppenderV2(context.Background())
	for i := range made {
		t := madeTime(step).UnixMilli()
		if _, err := app.Append(0, madeSeries(kind, i), 0, t, madeValue(i, t, shift), nil, nil, storage.AOptions{}); err != nil {
			return err
		}
	}
	return app.Commit()
}

// stored reads all samples of a kind, checks that each is what it should be, and returns how many series
// have each step.
func stored(t *testing.T, db *DB, kind string, shift float64) map[int]int {
	t.Helper()
	q, err := db.Querier(math.MinInt64, math.MaxInt64)
	require.NoError(t, err)
	defer func() { require.NoError(t, q.Close()) }()
	steps := map[int]int{}
	set := q.Select(context.Background(), true, nil, labels.MustNewMatcher(labels.MatchEqual, "__name__", kind))
	var it chunkenc.Iterator
	for set.Next() {
		var i int
		_, err := fmt.Sscan(set.At().Labels().Get("number"), &i)
		require.NoError(t, err)
		it = set.At().Iterator(it)
		for it.Next() == chunkenc.ValFloat {
			ms, v := it.At()
			if want := madeValue(i, ms, shift); v != want {
				t.Fatalf("%s at %d: %v instead of %v", set.At().Labels(), ms, v, want)
			}
			steps[int((ms-at(0).UnixMilli())/every.Milliseconds())]++
		}
		require.NoError(t, it.Err())
	}
	require.NoError(t, set.Err())
	return steps
}

// small makes the storage cut segments, chunks and blocks often.
func small(o *Options) {
	o.Retention = 1000 * time.Hour
	o.BlockDuration = 5 * time.Minute
	o.WALSegmentSize = walPageSize
	o.BlockSegmentSize = 1 << 20
}

// childAppend commits step after step and prints each when it is done, until it is killed.
func childAppend(dir string) {
	opts := Options{Dir: dir}
	small(&opts)
	db, err := Open(opts)
	if err != nil {
		fmt.Println("error", err)
		return
	}
	step := 0
	if db.epoch.store.Head().MaxTime() > 0 {
		step = int((db.epoch.store.Head().MaxTime()-at(0).UnixMilli())/every.Milliseconds()) + 1
	}
	for ; ; step++ {
		if err := commitStep(db, "made", step, 0); err != nil {
			fmt.Println("error", err)
			return
		}
		fmt.Println(step)
	}
}

// TestKill kills a process with SIGKILL in the midst of appending, compacting and cutting the log, again
// and again on the same directory: all that was committed is there.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	for round := range 4 {
		cmd := exec.Command(os.Args[0], dir)
		cmd.Env = append(os.Environ(), childEnv+"=append")
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		last, lines := 0, bufio.NewScanner(out)
		for n := 0; n < 137+211*round && lines.Scan(); n++ {
			_, err := fmt.Sscan(lines.Text(), &last)
			require.NoError(t, err, lines.Text())
		}
		require.NoError(t, cmd.Process.Kill())
		for lines.Scan() { // committed, too
			if _, err := fmt.Sscanf(lines.Text()+"\n", "%d\n", &last); err != nil {
				break
			}
		}
		require.ErrorContains(t, cmd.Wait(), "signal: killed")

		db := openIn(t, dir, small)
		steps := stored(t, db, "made", 0)
		for step := range last {
			require.Equal(t, made, steps[step], "round %d: step %d of %d", round, step, last)
		}
		require.NoError(t, db.Damage(), "round %d", round)
		require.NoError(t, db.Close())
	}
}
