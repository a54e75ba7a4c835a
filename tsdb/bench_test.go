package tsdb

import (
	"context"
	"fmt"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/stretchr/testify/require"
)

// BenchmarkInstant tells what looking for the times costs: compare with the engine alone.
func BenchmarkInstant(b *testing.B) {
	db := openIn(b, b.TempDir())
	for step := range 24 {
		app := db.AppenderV2(context.Background())
		for i := range 2000 {
			ls := labels.FromStrings("__name__", "requests_total", "pod", fmt.Sprint("pod-", i%50), "path", fmt.Sprint("/", i))
			_, err := app.Append(0, ls, 0, madeTime(step).UnixMilli(), float64(step*i), nil, nil, storage.AOptions{})
			require.NoError(b, err)
		}
		require.NoError(b, app.Commit())
	}
	const expr = `sum by (pod) (rate(requests_total[2m]))`
	b.Run("times", func(b *testing.B) {
		for b.Loop() {
			require.Len(b, instant(b, db, expr, madeTime(24)), 50)
		}
	})
	b.Run("engine alone", func(b *testing.B) {
		for b.Loop() {
			query, err := db.Engine().NewInstantQuery(context.Background(), db, nil, expr, madeTime(24))
			require.NoError(b, err)
			require.NoError(b, query.Exec(context.Background()).Err)
			query.Close()
		}
	})
}
