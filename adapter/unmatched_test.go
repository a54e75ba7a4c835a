package adapter

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/promlet/promlet/adapter/catalog"
	"github.com/promlet/promlet/adapter/rules"
	"github.com/promlet/promlet/adapter/values"
)

// forSeries is a rule for what a selector takes.
func forSeries(query string, filters ...rules.Filter) rules.Rule {
	return rules.Rule{
		SeriesQuery: query, SeriesFilters: filters, Resources: rules.Resources{Overrides: defaultOverrides()},
		MetricsQuery: `sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)`,
	}
}

// unmatchedTexts are what there is to tell.
func (f *fixture) unmatchedTexts() (texts []string) {
	for _, r := range f.UnmatchedRules() {
		texts = append(texts, r.String())
	}
	return texts
}

// pass lets targets be scraped and names be read.
func (f *fixture) pass() {
	f.now = f.now.Add(10 * time.Second)
	for i := range f.targets {
		f.targets[i].LastScrape = f.now
	}
	f.UnmatchedRules() // finds that they were scraped
	f.now = f.now.Add(10 * time.Second)
}

func TestUnmatchedRules(t *testing.T) {
	f := scenario(t)
	registry := prometheus.NewRegistry()
	exposed := []string{"http_requests_total", "queue_depth", "queue_length"}
	version := uint64(1)
	f.again(func(o *Options) {
		o.Registerer, o.Targets = registry, f.scraped
		o.Exposed = func(known uint64) (names []catalog.Exposed, _ uint64) {
			if known == version {
				return nil, known
			}
			for _, name := range exposed {
				names = append(names, catalog.Exposed{Name: name})
			}
			return names, version
		}
		o.Rules.Custom = []rules.Rule{
			forSeries(`queue_depth{namespace!=""}`),
			forSeries(`http_request_total{namespace!=""}`),
			forSeries(`{__name__=~"^container_.*"}`),
			forSeries(`{namespace!=""}`),
			forSeries(`{__name__=~"queue_.*"}`, rules.Filter{IsNot: "^queue"}),
		}
		external := forSeries(`{__name__=~"queue_.+"}`)
		external.Name = rules.Name{Matches: "^(.*)_total$"}
		unnamed := forSeries("queue_depth")
		unnamed.Name = rules.Name{Matches: "^(.*)_depth$", As: "$1_now"}
		o.Rules.External = []rules.Rule{external, forSeries("lag"), unnamed}
	})
	f.targets = []values.Target{{Job: "a"}, {Job: "b"}}
	f.targets[0].LastScrape = f.now.Add(time.Second)
	f.now = f.now.Add(time.Minute)
	require.Empty(t, f.unmatchedTexts(), "a target has not been scraped yet")
	f.wanted() // reads the names
	f.now = f.now.Add(time.Second / 2)
	f.targets[1].LastScrape = f.now
	require.Empty(t, f.unmatchedTexts(), "the names were read before that")
	f.now = f.now.Add(time.Second)
	want := []string{
		"rules[1]: seriesQuery `http_request_total{namespace!=\"\"}` matches no series (closest: http_requests_total)",
		"rules[2]: seriesQuery `{__name__=~\"^container_.*\"}` matches no series",
		"rules[4]: seriesQuery `{__name__=~\"queue_.*\"}` matches series, such as queue_depth, but seriesFilters leave none of them",
		"externalRules[0]: seriesQuery `{__name__=~\"queue_.+\"}` matches series, such as queue_depth, but name.matches \"^(.*)_total$\" matches none of their names",
		`externalRules[1]: seriesQuery "lag" matches no series`,
		`externalRules[2]: seriesQuery "queue_depth" matches series, such as queue_depth, but name.as "$1_now" gives them an empty name`,
	}
	require.Equal(t, want, f.unmatchedTexts())
	require.NoError(t, testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP promlet_rules_unmatched Rules of the configuration that match no series that targets expose or that is stored, by API.
# TYPE promlet_rules_unmatched gauge
promlet_rules_unmatched{api="custom"} 3
promlet_rules_unmatched{api="external"} 3
# HELP promlet_rules Rules in force, by API.
# TYPE promlet_rules gauge
promlet_rules{api="custom"} 5
promlet_rules{api="external"} 3
`), "promlet_rules_unmatched", "promlet_rules"))

	// A new target takes nothing back.
	f.targets = append(f.targets, values.Target{Job: "c"})
	f.targetsVersion++
	require.Equal(t, want, f.unmatchedTexts())
	exposed = append(exposed, "lag", "container_cpu_usage_seconds_total")
	version++
	f.now = f.now.Add(time.Minute)
	require.Equal(t, []string{want[0], want[2], want[3], want[5]}, f.unmatchedTexts())

	// New rules are judged by scrapes of their own time.
	require.NoError(t, f.SetRules(rules.Set{Custom: []rules.Rule{forSeries("nothing_total")}}))
	f.now = f.now.Add(time.Minute)
	require.Empty(t, f.unmatchedTexts())
	f.pass()
	require.Equal(t, []string{`rules[0]: seriesQuery "nothing_total" matches no series`}, f.unmatchedTexts())
}

// Nobody has written the default rules.
func TestDefaultRulesNeedNotMatch(t *testing.T) {
	f := newFixture(t)
	f.targets = []values.Target{{Job: "a"}}
	f.pass()
	require.Empty(t, f.unmatchedTexts())
	require.NoError(t, f.SetRules(rules.Set{External: []rules.Rule{forSeries("lag")}}))
	f.pass()
	require.Equal(t, []string{`externalRules[0]: seriesQuery "lag" matches no series`}, f.unmatchedTexts())
}

// Without targets nothing is known.
func TestUnmatchedRulesOfNoTargets(t *testing.T) {
	f := newFixture(t, forSeries("lag"))
	f.pass()
	require.Empty(t, f.unmatchedTexts())
	f.again(func(o *Options) { o.Rules.Custom = []rules.Rule{forSeries("lag")} })
	f.pass()
	require.Empty(t, f.unmatchedTexts())
}
