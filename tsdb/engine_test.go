package tsdb

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
	"github.com/stretchr/testify/require"

	"github.com/promlet/promlet/tsdb/querycost"
)

// Subqueries are refused before they are evaluated where their steps alone would fill the memory or take minutes.
func TestSubqueriesOfTooManySteps(t *testing.T) {
	db := openIn(t, t.TempDir())
	refused := func(expr, why string) {
		t.Helper()
		_, err := db.Instant(t.Context(), Query{Expr: expr, At: at(0)})
		require.ErrorContains(t, err, why)
		parsed, err := db.Parser().ParseExpr(expr)
		require.NoError(t, err)
		require.ErrorContains(t, querycost.Check(parsed, DefaultMaxSamples), why)
	}
	refused(`count_over_time(vector(1)[2d:1ms])`, "the subquery [2d:1ms] takes 172800001 steps, more than 1000000: make its step longer or its range shorter")
	refused(`count_over_time(vector(1)[50y:1ms])`, "the subquery [50y:1ms] takes")
	refused(`count_over_time(vector(1)[50y:])`, "the subquery [50y:1m] takes")
	refused(`sum(rate(x[2m])) + on() max_over_time(vector(1)[2d * 1:1s / 1000])`, "the subquery [2d:1ms] takes")
	refused(`max_over_time(max_over_time(x[1h:100ms])[1d:10s])`, "the subquery [1h:100ms] is read 8641 times over")
	refused(`max_over_time(max_over_time(max_over_time(x[4h:1s])[1h:1s])[1h:1s])`, "is read 7201 times over")

	for _, expr := range []string{
		`max_over_time(rate(x[5m])[1d:1m])`, `max_over_time(max_over_time(x[1h:10s])[1d:1m])`, `quantile_over_time(0.9, x[1d:])`,
		`max_over_time(rate(x[5m])[1d:1s] @ 0)`, `sum(rate(x[50y]))`,
	} {
		_, err := db.Instant(t.Context(), Query{Expr: expr, At: at(0)})
		require.NoError(t, err, expr)
	}

	ranged := func(expr, why string) {
		t.Helper()
		query, err := db.Engine().NewRangeQuery(t.Context(), db, nil, expr, at(0), at(3600), 15*time.Second)
		require.NoError(t, err)
		defer query.Close()
		result := query.Exec(t.Context())
		require.ErrorContains(t, result.Err, why)
		require.ErrorAs(t, result.Err, new(promql.ErrTooManySamples))
	}
	ranged(`max_over_time(vector(1)[1m:1ms])`, "the subquery [1m:1ms] takes 3660001 steps")
	ranged(`max_over_time(vector(1)[range() * 10:step() / 1000])`, "the subquery [10h:15ms] takes")
}

// Label functions double labels with each nesting, and put a text into each series.
func TestLabelsThatGrow(t *testing.T) {
	db := openIn(t, t.TempDir(), func(o *Options) { o.MaxSamples = 10_000 })
	appender := db.AppenderV2(t.Context())
	for i := range 500 {
		_, err := appender.Append(0, labels.FromStrings("__name__", "x", "a", strconv.Itoa(i), "b", strings.Repeat("b", 100)), 0, at(0).UnixMilli(), 1, nil, nil, storage.AOptions{})
		require.NoError(t, err)
	}
	require.NoError(t, appender.Commit())
	refused := func(expr, why string) {
		t.Helper()
		_, err := db.Instant(t.Context(), Query{Expr: expr, At: at(0)})
		require.ErrorContains(t, err, why)
		require.ErrorAs(t, err, new(promql.ErrTooManySamples))
	}
	joined := `label_replace(vector(1), "a", "text", "", "")`
	for range 40 {
		joined = `label_join(` + joined + `, "a", "", "a", "a")`
	}
	refused(joined, "times as long, more than 1000: nest fewer of them")
	refused(`label_replace(label_replace(x, "a", "$1$1$1$1$1$1$1$1$1$1$1$1$1$1$1$1$1$1$1$1$1$1$1$1$1$1$1$1$1$1$1$1$1$1$1$1", "a", "(.*)"), "a", "$1$1$1$1$1$1$1$1$1$1$1$1$1$1$1$1$1$1$1$1$1$1$1$1$1$1$1$1$1$1$1$1$1$1$1$1", "a", "(.*)")`,
		"times as long, more than 1000")
	refused(`label_replace(vector(1), "a", "`+strings.Repeat("a", 100_000)+`", "", "")`, "can add 1e+05 bytes of text to each series, more than 65536: write shorter ones")
	refused(`label_replace(x, "c", "`+strings.Repeat("c", 1000)+`", "", "")`, "could make more than 160000 bytes of labels: select fewer series")
	refused(`label_join(x, "c", ",", "b", "b", "b") or label_join(x, "d", ",", "b", "b", "b")`, "could make more than 160000 bytes of labels")

	for _, expr := range []string{
		`label_replace(x{a="1"}, "c", "` + strings.Repeat("c", 1000) + `", "", "")`, `label_join(x{a=~"1."}, "c", ",", "b", "b", "b")`,
		`label_replace(label_replace(x{a="1"}, "pod", "$1", "a", "(.+)"), "namespace", "$1", "b", "(.+)")`, `sum(x) + sum(x) + sum(x)`,
	} {
		_, err := db.Instant(t.Context(), Query{Expr: expr, At: at(0)})
		require.NoError(t, err, expr)
	}
}
