package tsdb

import (
	"bufio"
	"context"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// childEnv makes the test binary run a child of a test instead of the tests.
const childEnv = "PROMLET_TSDB_TEST_CHILD"

func TestMain(m *testing.M) {
	switch os.Getenv(childEnv) {
	case "":
		goleak.VerifyTestMain(m)
	case "append":
		childAppend(os.Args[1])
	case "open":
		childOpen(os.Args[1])
	}
}

// openIn opens a DB in dir and closes it with the test.
func openIn(t testing.TB, dir string, change ...func(*Options)) *DB {
	t.Helper()
	opts := Options{Dir: dir}
	for _, c := range change {
		c(&opts)
	}
	db, err := Open(opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

// at is a time on the scale of the tests: s seconds after the start of 2020.
func at(s float64) time.Time {
	return time.Unix(1577836800, 0).UTC().Add(time.Duration(s * float64(time.Second)))
}

// add commits one sample.
func add(t testing.TB, db *DB, series string, when time.Time, v float64) {
	t.Helper()
	app := db.AppenderV2(context.Background())
	_, err := app.Append(0, parseLabels(t, series), 0, when.UnixMilli(), v, nil, nil, storage.AOptions{})
	require.NoError(t, err)
	require.NoError(t, app.Commit())
}

func parseLabels(t testing.TB, series string) labels.Labels {
	t.Helper()
	ls, err := parser.NewParser(parser.Options{}).ParseMetric(series)
	require.NoError(t, err)
	return ls
}

// load appends series in the notation of promqltest, one a line, with a sample every interval from at(0).
// `_` is no sample and `stale` a stale marker.
func load(t testing.TB, db *DB, interval time.Duration, script string) {
	t.Helper()
	app := db.AppenderV2(context.Background())
	lines := bufio.NewScanner(strings.NewReader(script))
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if line == "" {
			continue
		}
		ls, values, err := parser.NewParser(parser.Options{}).ParseSeriesDesc(line)
		require.NoError(t, err)
		for i, v := range values {
			if v.Omitted {
				continue
			}
			when := at(float64(i) * interval.Seconds()).UnixMilli()
			_, err := app.Append(0, ls, 0, when, v.Value, nil, v.Histogram, storage.AOptions{})
			require.NoError(t, err)
		}
	}
	require.NoError(t, app.Commit())
}

// journal collects the messages of a logger.
type journal struct {
	mu  sync.Mutex
	all strings.Builder
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.all.Write(b)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.all.String()
}

func (j *journal) logger(level slog.Level) *slog.Logger {
	return slog.New(slog.NewTextHandler(j, &slog.HandlerOptions{Level: level}))
}
