package diagnosis

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/promlet/promlet/tsdb"
)

// A search ends after maxQueries parts, and returns the error of a query.
func TestBounds(t *testing.T) {
	queries := 0
	empty := func(context.Context, string) (tsdb.Vector, error) { queries++; return nil, nil }
	found, err := OfEmpty(t.Context(), empty, "((((((((((((((((((a + b) + c) + d) + e) + f) + g) + h) + i) + j) + k) + l) + m) + n) + o) + p) + q) + r) + s)")
	require.NoError(t, err)
	require.Equal(t, Finding{}, found)
	require.Equal(t, maxQueries, queries)

	failed := errors.New("query timed out")
	_, err = OfEmpty(t.Context(), func(context.Context, string) (tsdb.Vector, error) { return nil, failed }, "a + b")
	require.ErrorIs(t, err, failed)
	_, err = OfEmpty(t.Context(), empty, "a +")
	require.ErrorContains(t, err, "parse error")
}

// If no part explains the result, the finding is Unknown.
func TestUnknown(t *testing.T) {
	one := func(context.Context, string) (tsdb.Vector, error) { return tsdb.Vector{{Value: 1}}, nil }
	for _, expr := range []string{"vector(1)", "time()", "a + 1", "topk(0, a) + scalar(a)", "absent(a)", "max(topk(0, a))", "max(a)", "max_over_time(a[1m:15s] offset 1h)", "absent_over_time(a[1m])"} {
		found, err := OfEmpty(t.Context(), one, expr)
		require.NoError(t, err)
		require.Equal(t, Unknown, found.Kind, expr)
	}
	for _, expr := range []string{"1", "sum(a)", "a / b", "exp(a)", "a"} {
		found, err := OfNumber(t.Context(), one, expr, 1/zero())
		require.NoError(t, err)
		require.Equal(t, Unknown, found.Kind, expr)
	}
}

// Equal parts are evaluated once.
func TestPartsOnce(t *testing.T) {
	asked := map[string]int{}
	_, err := OfNumber(t.Context(), func(_ context.Context, expr string) (tsdb.Vector, error) {
		asked[expr]++
		return tsdb.Vector{{Value: 0}}, nil
	}, "sum(a) / sum(b)", 1/zero())
	require.NoError(t, err)
	require.Equal(t, map[string]int{"sum(a)": 1, "sum(b)": 1}, asked)
}

func zero() float64 { return 0 }
