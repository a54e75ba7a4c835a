package catalog

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/prometheus/storage"
	"github.com/stretchr/testify/require"

	"github.com/promlet/promlet/adapter/objects"
	"github.com/promlet/promlet/adapter/rules"
)

func TestLaterRuleWins(t *testing.T) {
	compiled, _, err := rules.Set{}.Compile(objects.NewKinds(nil, time.Now))
	require.NoError(t, err)
	mappings, err := mappingsOf(t.Context(), compiled, []string{"jobs", "jobs_seconds_total", "jobs_total"}, &typeTable{})
	require.NoError(t, err)
	var series []string
	for _, m := range mappings[rules.Metric{API: rules.CustomAPI, Name: "jobs"}] {
		series = append(series, m.Series)
	}
	require.Equal(t, []string{"jobs_seconds_total", "jobs_total", "jobs"}, series)
}

// While the names are read anew, the last view answers, and none of the locks is held.
func TestAnswersWhileRefreshing(t *testing.T) {
	compiled, _, err := rules.Set{}.Compile(objects.NewKinds(nil, time.Now))
	require.NoError(t, err)
	now := time.Now()
	var blocked atomic.Pointer[chan struct{}]
	asked := make(chan struct{}, 10)
	exposed := func(uint64) ([]Exposed, uint64) {
		if wait := blocked.Load(); wait != nil {
			asked <- struct{}{}
			<-*wait
		}
		return []Exposed{{Name: "jobs"}}, 1
	}
	c := New(Stored{storage.QueryableFunc(func(int64, int64) (storage.Querier, error) { return storage.NoopQuerier(), nil }), time.Now}, exposed, func() time.Time { return now })
	c.SetRules(compiled)
	jobs := rules.Metric{API: rules.CustomAPI, Name: "jobs"}
	first, err := c.Mappings(t.Context())
	require.NoError(t, err)
	require.Contains(t, first, jobs)

	now = now.Add(5 * time.Second)
	wait := make(chan struct{})
	blocked.Store(&wait)
	done := make(chan error)
	go func() {
		_, err := c.Mappings(context.Background())
		done <- err
	}()
	<-asked
	again, err := c.Mappings(t.Context())
	require.NoError(t, err)
	require.Contains(t, again, jobs)
	require.True(t, c.Exposure().Known)

	// What was made of other rules does not answer, and nobody waits longer than ctx lasts.
	c.SetRules(compiled[:1])
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err = c.Mappings(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	close(wait)
	require.NoError(t, <-done)
	blocked.Store(nil)
	_, err = c.Mappings(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 1, c.Exposure().Version)
}
