package adapter

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
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

}

// What is remembered is bounded, whoever asks for what.
func TestSelectorsAreBounded(t *testing.T) {
	f := scenario(t)
	f.again(exposing("queue_depth"))
	long := `{__name__=~"` + strings.Repeat("queue_.*|", 500) + `x"}`
	require.ErrorIs(t, f.selects(long), errNamesTooLong)
	require.Empty(t, f.demand.selectors)
	for i := range maxSelectors + 1 {
		f.selects(fmt.Sprintf("nonsense_%d", i))
	}
	require.Len(t, f.demand.selectors, maxSelectors)
	require.ErrorIs(t, f.selects("queue_depth"), errSelectorsFull)
	require.EqualError(t, f.selects("nonsense_1"), "no target exposes nonsense_1")

	// Long ones are fewer.
	f.now = f.now.Add(2 * DefaultDemandTTL)
	f.wanted()
	for i := range maxSelectors {
		f.selects(fmt.Sprintf(`{__name__=~"nonsense_%d|%s"}`, i, strings.Repeat("x", 4000)))
	}
	require.Len(t, f.demand.selectors, 130)
}

// Nor does the file bring back more, which an older version may have written.
func TestSelectorsOfTheFileAreBounded(t *testing.T) {
	f := scenario(t)
	file := filepath.Join(t.TempDir(), "demand.json")
	kept := demandFile{Selectors: map[string]time.Time{`{__name__=~"` + strings.Repeat("queue_.*|", 500) + `x"}`: f.now}}
	data, err := json.Marshal(kept)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, data, 0o600))
	f.again(exposing("queue_depth"), func(o *Options) { o.Demand.File = file })
	require.Empty(t, f.demand.selectors)

	for i := range 2 * maxSelectors {
		kept.Selectors[fmt.Sprintf(`{__name__="nonsense_%d"}`, i)] = f.now
	}
	data, err = json.Marshal(kept)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, data, 0o600))
	f.again(exposing("queue_depth"), func(o *Options) { o.Demand.File = file })
	require.Len(t, f.demand.selectors, maxSelectors)
}

// A selector that takes most of what is exposed would make most of it be stored, even if it was noted before
// that was exposed.
func TestSelectorsThatTakeTooMuch(t *testing.T) {
	f := scenario(t)
	exposed, version := []Exposed{{Name: "zoo"}}, uint64(1)
	for i := range maxTaken {
		exposed = append(exposed, Exposed{Name: fmt.Sprintf("app_%d", i)})
	}
	f.again(func(o *Options) { o.Exposed = func(uint64) ([]Exposed, uint64) { return exposed, version } })
	f.wanted()
	const most = `{__name__=~"[a-y].+"}`
	require.ErrorContains(t, f.selects(most), "has started")
	require.ErrorContains(t, f.selects(`{__name__!~"z.*"}`), "has started")
	require.Equal(t, []string{"app_7"}, f.wanted("app_7", "zoo"))

	exposed, version = append(exposed, Exposed{Name: "b_1"}), 2
	f.now = f.now.Add(namesMaxAge)
	f.wanted()
	require.ErrorIs(t, f.selects(most), errNamesTooMany)
	require.ErrorIs(t, f.selects(`{__name__!~"z.*"}`), errNamesTooMany)
	require.ErrorIs(t, f.selects(`{__name__=~"[a-x].+"}`), errNamesTooMany)
	require.Empty(t, f.wanted("app_7", "zoo"))
	require.ErrorContains(t, f.selects(`{__name__=~"app_.+"}`), "has started", "these are not more than that many")

	for i := range maxTaken {
		exposed = append(exposed, Exposed{Name: fmt.Sprintf("z_%d", i)})
	}
	version = 3
	f.now = f.now.Add(namesMaxAge)
	f.wanted()
	require.ErrorContains(t, f.selects(most), "has started", "half of all is not most")
}
