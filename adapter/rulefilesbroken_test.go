package adapter

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/promlet/promlet/adapter/rules"
)

// refused is the error with which a configuration is refused, read or made a
// provider of.
func (f *fixture) refused(cfg rules.Config, err error) error {
	if err != nil {
		return err
	}
	_, err = NewProvider(Options{DB: f.db, Objects: f.lister, Rules: rules.Set{Custom: cfg.Rules, External: cfg.ExternalRules}})
	return err
}

// Configurations that do not work, as their authors published them.
func TestBrokenRuleFiles(t *testing.T) {
	fixture := newFixture(t)
	f := func(file, want string) {
		t.Helper()
		cfg, err := ruleFile("broken/" + file)
		require.ErrorContains(t, fixture.refused(cfg, err), want, file)
	}
	f("docs-sample-config", "yaml: ")
	f("vllm", "yaml: ")
	f("deprecation-notice", "rules[0]: metricsQuery gives no PromQL")
	f("issue-121-by", "rules[0]: metricsQuery gives no PromQL")
	f("issue-412-chart-values", "cannot unmarshal object")
	f("issue-413-expression", "rules[0]: seriesQuery `sum(tomcat_threads_busy_threads")
	f("issue-578-misspelt", `unknown field "externalRules[0].mericsQuery"`)
}

// One thing is wrong in each; prometheus-adapter takes some of them, and has an
// error for each request instead.
func TestBrokenRules(t *testing.T) {
	fixture := newFixture(t)
	f := func(config, want string) {
		t.Helper()
		cfg, err := parseRules([]byte(config))
		require.ErrorContains(t, fixture.refused(cfg, err), want, config)
	}
	rule := func(change string) string {
		return "rules: [{seriesQuery: m, resources: {template: <<.Resource>>}, metricsQuery: '<<.Series>>', " + change + "}]"
	}
	series := func(query string) string {
		return "rules: [{resources: {template: <<.Resource>>}, metricsQuery: '<<.Series>>', seriesQuery: '" + query + "'}]"
	}
	query := func(query string) string {
		return "rules: [{seriesQuery: m, resources: {template: <<.Resource>>}, metricsQuery: '" + query + "'}]"
	}
	resources := func(resources string) string {
		return "rules: [{seriesQuery: m, metricsQuery: '<<.Series>>', resources: " + resources + "}]"
	}
	f("rules:\n\t- seriesQuery: m\n", "yaml: line 2")
	f("rules: []\nrules: []\n", `key "rules" already set`)
	f("Rules: []\n", `unknown field "Rules"`)
	f(rule("seriesfilters: []"), `unknown field "rules[0].seriesfilters"`)
	f(rule("name: {matching: x}"), `unknown field "rules[0].name.matching"`)
	f(resources("{overrides: {pod: {resources: pod}}}"), `unknown field "rules[0].resources.overrides.pod.resources"`)

	f(series(""), `rules[0]: seriesQuery "" is no series selector`)
	f(series("m{"), `rules[0]: seriesQuery "m{" is no series selector`)
	f(series(`{__name__=~"("}`), "rules[0]: seriesQuery `{__name__=~\"(\"}` is no series selector")
	f(series("rate(m[5m])"), `rules[0]: seriesQuery "rate(m[5m])" is no series selector`)
	f(rule("seriesFilters: [{is: a, isNot: b}]"), "rules[0]: seriesFilters[0]: give exactly one of is and isNot")
	f(rule("seriesFilters: [{is: a}, {}]"), "rules[0]: seriesFilters[1]: give exactly one of is and isNot")
	f(rule("seriesFilters: [{isNot: '('}]"), "rules[0]: seriesFilters[0]: error parsing regexp")
	f(rule("name: {matches: '('}"), "rules[0]: name.matches: error parsing regexp")
	f(rule("name: {matches: '^(.*)_(total|sum)$'}"), `rules[0]: name.matches "^(.*)_(total|sum)$" has 2 groups`)

	f(resources("{overrides: {topic: {resource: topic}}}"), "rules[0]: resources.overrides[topic]: resolve resource topic")
	f(resources("{overrides: {pod: {group: apps, resource: pods}}}"), "rules[0]: resources.overrides[pod]: resolve resource pods.apps")
	f(resources("{overrides: {pod: {}}}"), "rules[0]: resources.overrides[pod]: ")
	f(resources("{template: kube_pod}"), "rules[0]: resources.template: it must use <<.Resource>>")
	f(resources("{template: '<<.Resource'}"), "rules[0]: resources.template: ")
	f(resources("{template: '<<.Kind>>_<<.Resource>>'}"), "rules[0]: resources.template: ")

	f(query(""), "rules[0]: metricsQuery is empty")
	f(query("<<.Series>"), "rules[0]: metricsQuery: ")
	f(query("<<.Sereis>>"), "rules[0]: metricsQuery: there is no field <<.Sereis>>: choose Series, LabelMatchers, LabelValuesByName, GroupBy or GroupBySlice")
	f(query("<<join .GroupBySlice>>"), "rules[0]: metricsQuery: ")
	f(query("<<index .GroupBySlice 1>>"), "rules[0]: metricsQuery: ")
	f(query("{{.Series}}"), "rules[0]: metricsQuery gives no PromQL")
	f(query("sum(<<.Series>>{<<.LabelMatchers>>) by (<<.GroupBy>>)"), "rules[0]: metricsQuery gives no PromQL")
	f(query("sum(<<.Series>>{<<.LabelMatchers>>,,}) by (<<.GroupBy>>)"), "rules[0]: metricsQuery gives no PromQL")
	f(query("increased(<<.Series>>[5m])"), "rules[0]: metricsQuery gives no PromQL")
	f(query("<<.Series>>{<<.LabelMatchers>>}[5m]"), "rules[0]: metricsQuery gives a matrix, not an instant vector")
	f(query(`"<<.Series>>"`), "rules[0]: metricsQuery gives a string, not an instant vector")

	both := "rules: [{seriesQuery: 'm{', resources: {}, metricsQuery: x}, {seriesQuery: m, resources: {}, metricsQuery: ''}]"
	f(both, `rules[0]: seriesQuery "m{" is no series selector`)
	f(both, "rules[1]: metricsQuery is empty")
}
