package httpapi

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/storage"
	promtsdb "github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/util/teststorage"
	"github.com/stretchr/testify/require"
)

// scripts are Prometheus's own tests of PromQL, all in one database: what one script loads begins where that
// before it has ended, and its queries are moved by as much.
type scripts struct {
	engine  promql.QueryEngine
	writer  *promtsdb.BlockWriter
	offset  time.Duration // of the script that runs
	end     time.Duration // of the last sample
	queries []query
	asked   map[asked]int
}

// asked is an expression of a script, in either kind of query.
type asked struct {
	expr   string
	offset time.Duration
	steps  bool
}

// maxTimes is at how many times an expression is evaluated: Prometheus takes six and more.
const maxTimes = 2

// query is one to evaluate at start, or in steps up to end.
type query struct {
	expr       string
	start, end time.Time
	step       time.Duration
}

// gap is between scripts: as far as most queries look back.
const gap = 2 * time.Hour

// recordScripts writes all samples into a block in dir, and returns all queries.
func recordScripts(t *testing.T, dir string) []query {
	t.Helper()
	writer, err := promtsdb.NewBlockWriter(slog.New(slog.DiscardHandler), dir, (100 * 365 * 24 * time.Hour).Milliseconds())
	require.NoError(t, err)
	s := &scripts{engine: promqltest.NewTestEngine(t, false, 0, 1_000_000), writer: writer, end: 1000 * time.Hour, asked: map[asked]int{}}
	promqltest.RunBuiltinTestsWithStorage(t, s, s.newStorage)
	_, err = writer.Flush(t.Context())
	require.NoError(t, err)
	require.NoError(t, writer.Close())
	return s.queries
}

// newStorage is that of the next script, or part of one after its samples were cleared.
func (s *scripts) newStorage(t testing.TB) storage.Storage {
	s.offset = s.end + gap
	return &recorded{
		Storage: teststorage.New(t, func(opts *promtsdb.Options) {
			opts.EnableSTStorage = true
			opts.FloatChunkEncoding = chunkenc.EncXOR2
			opts.EnableHistogramSTEncoding = true
		}),
		scripts: s,
	}
}

// recorded is a storage whose samples are written into the block as well.
type recorded struct {
	storage.Storage
	*scripts
}

func (r *recorded) AppenderV2(ctx context.Context) storage.AppenderV2 {
	return &recordedAppender{AppenderV2: r.Storage.AppenderV2(ctx), block: r.writer.AppenderV2(ctx), scripts: r.scripts}
}

type recordedAppender struct {
	storage.AppenderV2
	block storage.AppenderV2
	*scripts
}

func (a *recordedAppender) Append(ref storage.SeriesRef, ls labels.Labels, st, t int64, v float64, h *histogram.Histogram, fh *histogram.FloatHistogram, opts storage.AppendV2Options) (storage.SeriesRef, error) {
	moved := t + a.offset.Milliseconds()
	a.end = max(a.end, time.Duration(moved)*time.Millisecond)
	// Start times are not stored by default.
	if _, err := a.block.Append(0, ls, 0, moved, v, h, fh, storage.AppendV2Options{}); err != nil {
		return 0, fmt.Errorf("append to the block: %w", err)
	}
	return a.AppenderV2.Append(ref, ls, st, t, v, h, fh, opts)
}

func (a *recordedAppender) Commit() error {
	if err := a.block.Commit(); err != nil {
		return fmt.Errorf("commit to the block: %w", err)
	}
	return a.AppenderV2.Commit()
}

// NewInstantQuery implements promql.QueryEngine.
func (s *scripts) NewInstantQuery(ctx context.Context, q storage.Queryable, opts promql.QueryOpts, expr string, at time.Time) (promql.Query, error) {
	s.add(query{expr: s.moved(expr), start: at.Add(s.offset)})
	return s.engine.NewInstantQuery(ctx, q, opts, expr, at)
}

// NewRangeQuery implements promql.QueryEngine.
func (s *scripts) NewRangeQuery(ctx context.Context, q storage.Queryable, opts promql.QueryOpts, expr string, start, end time.Time, step time.Duration) (promql.Query, error) {
	s.add(query{expr: s.moved(expr), start: start.Add(s.offset), end: end.Add(s.offset), step: step})
	return s.engine.NewRangeQuery(ctx, q, opts, expr, start, end, step)
}

func (s *scripts) add(q query) {
	key := asked{q.expr, s.offset, q.step != 0}
	if s.asked[key]++; s.asked[key] <= maxTimes {
		s.queries = append(s.queries, q)
	}
}

// moved moves the times that an expression names.
func (s *scripts) moved(expr string) string {
	parsed, err := parser.NewParser(promqltest.TestParserOpts).ParseExpr(expr)
	if err != nil {
		return expr
	}
	found := false
	move := func(at *int64) {
		if at != nil {
			*at += s.offset.Milliseconds()
			found = true
		}
	}
	parser.Inspect(parsed, func(node parser.Node, _ []parser.Node) error {
		switch n := node.(type) {
		case *parser.VectorSelector:
			move(n.Timestamp)
		case *parser.SubqueryExpr:
			move(n.Timestamp)
		}
		return nil
	})
	if !found {
		return expr
	}
	return parsed.String()
}
