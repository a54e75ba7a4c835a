package adapter

import (
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/require"
)

// selects tells the provider of a selector, and returns what it says of one that finds nothing.
func (f *fixture) selects(text string) error {
	f.t.Helper()
	matchers, err := parser.NewParser(parser.Options{}).ParseMetricSelector(text)
	require.NoError(f.t, err)
	if say := f.Selected(matchers); say != nil {
		return say(false)
	}
	return nil
}

func TestWhatIsSaidOfSelectors(t *testing.T) {
	f := scenario(t)
	f.again(exposing("http_requests_total", "queue_depth", "go_goroutines"), func(o *Options) { o.Rules.Keep = []string{"go_goroutines"} })
	require.Equal(t, []string{"go_goroutines"}, f.wanted("queue_depth", "go_goroutines"))

	require.EqualError(t, f.selects(`queue_depth{pod="x"}`), "collection of queue_depth has started, first value in about 5s")
	require.EqualError(t, f.selects(`{__name__=~"queue_.*"}`), `collection of what {__name__=~"queue_.*"} selects has started, first value in about 5s`)
	require.EqualError(t, f.selects(`nonsense`), "no target exposes nonsense")
	require.EqualError(t, f.selects(`{__name__=~"non.*"}`), `no target exposes what {__name__=~"non.*"} selects`)
	require.ErrorIs(t, f.selects(`{job="x"}`), errNamesNoMetric)
	require.NoError(t, f.selects(`up{job="x"}`), "no target exposes it, and it is there")
	require.NoError(t, f.selects(`go_goroutines{pod="x"}`), "it has been collected all along")

	matchers := []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, "queue_depth")}
	require.NoError(t, f.Selected(matchers)(true))
	f.now = f.now.Add(2 * time.Second)
	require.EqualError(t, f.selects(`queue_depth`), "collection of queue_depth has started, first value in about 3s")
	f.now = f.now.Add(9 * time.Second)
	require.NoError(t, f.selects(`queue_depth`), "it should have one by now")

	// What is stored anyway needs no words, but the room that it has depends on who reads it.
	f.again(exposing("queue_depth"), func(o *Options) { o.Demand.FirstValue = 0 })
	require.NoError(t, f.selects(`{job="x"}`))
	require.NoError(t, f.selects(`queue_depth`))
	require.Equal(t, []string{"queue_depth"}, f.wanted("queue_depth", "go_goroutines"))

	// However many there are.
	for i := range maxReads + 1 {
		f.selects(fmt.Sprintf("nonsense_%d", i))
	}
	require.Len(t, f.demand.selectors, maxReads)
}
