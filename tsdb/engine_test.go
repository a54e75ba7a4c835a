package tsdb

import (
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql"
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
