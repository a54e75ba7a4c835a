package demand

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/cache"

	"github.com/promlet/promlet/adapter/catalog"
	"github.com/promlet/promlet/adapter/objects"
	"github.com/promlet/promlet/adapter/rules"
)

// fixture is a Tracker over the default rules and what targets expose. Nothing is stored.
type fixture struct {
	*Tracker
	t       *testing.T
	now     time.Time
	exposed []catalog.Exposed
}

var inDemand = Options{FirstValue: 5 * time.Second}

func newFixture(t *testing.T, opts Options, exposed ...string) *fixture {
	t.Helper()
	f := &fixture{t: t, now: time.Now()}
	f.expose(exposed...)
	clock := func() time.Time { return f.now }
	nothing := storage.QueryableFunc(func(int64, int64) (storage.Querier, error) { return storage.NoopQuerier(), nil })
	c := catalog.New(catalog.Stored{Queryable: nothing, Now: clock}, func(uint64) ([]catalog.Exposed, uint64) { return f.exposed, uint64(len(f.exposed)) }, clock)
	compiled, _, err := rules.Set{}.Compile(objects.NewKinds(nil, clock))
	require.NoError(t, err)
	c.SetRules(compiled)
	unwatched := func(schema.GroupResource) (cache.GenericLister, bool) { return nil, false }
	f.Tracker = New(opts, c, objects.Reader{Lister: unwatched}, slog.New(slog.DiscardHandler), clock)
	f.wanted()
	return f
}

func (f *fixture) expose(names ...string) {
	for _, name := range names {
		f.exposed = append(f.exposed, catalog.Exposed{Name: name})
	}
}

// wanted returns which of the names are.
func (f *fixture) wanted(names ...string) (wanted []string) {
	f.t.Helper()
	d, err := f.Current(f.t.Context())
	require.NoError(f.t, err)
	for _, name := range names {
		if d.Wanted(name) {
			wanted = append(wanted, name)
		}
	}
	return wanted
}

func onNameOf(t *testing.T, text string) []*labels.Matcher {
	t.Helper()
	matchers, err := parser.NewParser(parser.Options{}).ParseMetricSelector(text)
	require.NoError(t, err)
	return matchers
}

// selects notes a selector, and returns the warning about one that finds nothing.
func (f *fixture) selects(text string) error {
	f.t.Helper()
	if warning := f.Selected(onNameOf(f.t, text)); warning != nil {
		return warning(false)
	}
	return nil
}

func TestWhatIsSaidOfSelectors(t *testing.T) {
	f := newFixture(t, inDemand, "http_requests_total", "queue_depth", "go_goroutines", "up")
	f.SetKeep([][]*labels.Matcher{onNameOf(t, "go_goroutines")})
	require.Equal(t, []string{"go_goroutines"}, f.wanted("queue_depth", "go_goroutines"))

	require.EqualError(t, f.selects(`queue_depth{pod="x"}`), "collection of queue_depth has started, first value in about 5s")
	require.EqualError(t, f.selects(`{__name__=~"queue_.*"}`), `collection of what {__name__=~"queue_.*"} selects has started, first value in about 5s`)
	require.EqualError(t, f.selects(`nonsense`), "no target exposes nonsense")
	require.EqualError(t, f.selects(`{__name__=~"non.*"}`), `no target exposes what {__name__=~"non.*"} selects`)
	require.ErrorIs(t, f.selects(`{job="x"}`), errNamesNoMetric)
	require.EqualError(t, f.selects(`up{job="x"}`), "collection of up has started, first value in about 5s")
	require.NoError(t, f.selects(`go_goroutines{pod="x"}`), "it has been collected all along")

	matchers := []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, "queue_depth")}
	require.NoError(t, f.Selected(matchers)(true))
	f.now = f.now.Add(2 * time.Second)
	require.EqualError(t, f.selects(`queue_depth`), "collection of queue_depth has started, first value in about 3s")
	f.now = f.now.Add(9 * time.Second)
	require.NoError(t, f.selects(`queue_depth`), "it should have one by now")

	// What is stored anyway needs no words, but the room that it has depends on who reads it.
	f = newFixture(t, Options{}, "queue_depth")
	require.NoError(t, f.selects(`{job="x"}`))
	require.NoError(t, f.selects(`queue_depth`))
	require.Equal(t, []string{"queue_depth"}, f.wanted("queue_depth", "go_goroutines"))
}

// What is remembered is bounded, whoever asks for what.
func TestSelectorsAreBounded(t *testing.T) {
	f := newFixture(t, inDemand, "queue_depth")
	long := `{__name__=~"` + strings.Repeat("queue_.*|", 500) + `x"}`
	require.ErrorIs(t, f.selects(long), errNamesTooLong)
	require.Empty(t, f.queries)
	for i := range maxSelectors + 1 {
		f.selects(fmt.Sprintf("nonsense_%d", i))
	}
	require.Len(t, f.queries, maxSelectors)
	require.ErrorIs(t, f.selects("queue_depth"), errSelectorsFull)
	require.EqualError(t, f.selects("nonsense_1"), "no target exposes nonsense_1")

	// Long ones are fewer.
	f.now = f.now.Add(2 * DefaultTTL)
	f.wanted()
	for i := range maxSelectors {
		f.selects(fmt.Sprintf(`{__name__=~"nonsense_%d|%s"}`, i, strings.Repeat("x", 4000)))
	}
	require.Len(t, f.queries, 130)
}

// Nor does the file bring back more, which an older version may have written.
func TestSelectorsOfTheFileAreBounded(t *testing.T) {
	now := time.Now()
	name := filepath.Join(t.TempDir(), "demand.json")
	kept := file{Selectors: map[string]time.Time{`{__name__=~"` + strings.Repeat("queue_.*|", 500) + `x"}`: now}}
	data, err := json.Marshal(kept)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(name, data, 0o600))
	f := newFixture(t, Options{FirstValue: 5 * time.Second, File: name}, "queue_depth")
	require.Empty(t, f.queries)

	for i := range 2 * maxSelectors {
		kept.Selectors[fmt.Sprintf(`{__name__="nonsense_%d"}`, i)] = now
	}
	data, err = json.Marshal(kept)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(name, data, 0o600))
	f = newFixture(t, Options{FirstValue: 5 * time.Second, File: name}, "queue_depth")
	require.Len(t, f.queries, maxSelectors)
}

// A selector that takes most of what is exposed would make most of it be stored, even if it was noted before
// that was exposed.
func TestSelectorsThatTakeTooMuch(t *testing.T) {
	f := newFixture(t, inDemand, "zoo")
	for i := range maxMatching {
		f.expose(fmt.Sprintf("app_%d", i))
	}
	f.now = f.now.Add(time.Second)
	f.wanted()
	const most = `{__name__=~"[a-y].+"}`
	require.ErrorContains(t, f.selects(most), "has started")
	require.ErrorContains(t, f.selects(`{__name__!~"z.*"}`), "has started")
	require.Equal(t, []string{"app_7"}, f.wanted("app_7", "zoo"))

	f.expose("b_1")
	f.now = f.now.Add(time.Second)
	f.wanted()
	require.ErrorIs(t, f.selects(most), errNamesTooMany)
	require.ErrorIs(t, f.selects(`{__name__!~"z.*"}`), errNamesTooMany)
	require.ErrorIs(t, f.selects(`{__name__=~"[a-x].+"}`), errNamesTooMany)
	require.Empty(t, f.wanted("app_7", "zoo"))
	require.ErrorContains(t, f.selects(`{__name__=~"app_.+"}`), "has started", "these are not more than that many")

	for i := range maxMatching {
		f.expose(fmt.Sprintf("z_%d", i))
	}
	f.now = f.now.Add(time.Second)
	f.wanted()
	require.ErrorContains(t, f.selects(most), "has started", "half of all is not most")
}
