package rules

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/promlet/promlet/adapter/objects"
)

// Oddities returns warnings about valid rules. A warning about several rules names them all.
func Oddities(compiled []*Compiled) []string {
	return append(eachRule(compiled, func(c *Compiled) []string {
		return slices.Concat(c.oddResources(), c.oddName(), c.oddQuery())
	}), shadowed(compiled)...)
}

// eachRule collects the warnings about single rules in order. Equal warnings are one that names
// all its rules.
func eachRule(compiled []*Compiled, warnings func(*Compiled) []string) []string {
	var texts []string
	about := map[string][]string{}
	for _, c := range compiled {
		for _, text := range warnings(c) {
			if about[text] == nil {
				texts = append(texts, text)
			}
			about[text] = append(about[text], c.String())
		}
	}
	for i, text := range texts {
		texts[i] = strings.Join(about[text], ", ") + ": " + text
	}
	return texts
}

// oddResources returns warnings about the rule's resources.
func (c *Compiled) oddResources() (odd []string) {
	hasNamespace := c.Label(objects.Namespace()) != ""
	switch {
	case c.API == ExternalAPI && c.Namespaced() && !hasNamespace:
		odd = append(odd, "no label is associated with namespaces, so no namespace has this metric: add namespace: {resource: namespace} to resources.overrides, or namespaced: false to resources")
	case c.API == CustomAPI && c.mapsNothing():
		odd = append(odd, "resources has neither template nor overrides, so no object has this metric")
	case c.API == CustomAPI && !hasNamespace:
		odd = append(odd, "no label is associated with namespaces, so only cluster-scoped objects have this metric: add namespace: {resource: namespace} to resources.overrides")
	}
	for _, label := range slices.Sorted(maps.Keys(c.later)) {
		odd = append(odd, fmt.Sprintf("resources.overrides[%s]: no resource %s is known yet: it has this metric once its CRD is installed", label, c.later[label]))
	}
	for _, label := range slices.Sorted(maps.Keys(c.kindOf)) {
		gr := c.kindOf[label].GroupResource
		if first := c.labelOf[gr]; first != label {
			odd = append(odd, fmt.Sprintf("resources.overrides: the labels %s and %s both mean %s: queries use %s", first, label, gr, first))
		}
	}
	if c.API == CustomAPI && c.template != nil {
		const job = "job" // the label that scraping adds to every series
		if k, ok := c.Kind(job); ok && c.kindOf[job].GroupResource != k.GroupResource {
			odd = append(odd, fmt.Sprintf("resources.template %s: the label job, which all series have, means %s, so all of these metrics are listed for Jobs as well: use overrides in its place, with only the labels you mean", quoted(c.Config.Resources.Template), k.GroupResource))
		}
	}
	return append(odd, oddBraces("resources.template", c.Config.Resources.Template)...)
}

// oddBraces warns of fields between braces, as in Helm and Go templates.
func oddBraces(field, template string) []string {
	found := helmField.FindString(template)
	if found == "" {
		return nil
	}
	return []string{fmt.Sprintf("%s: %s is not replaced: write fields between << and >>", field, found)}
}

var (
	// helmField matches a field of a template between the braces of Helm and Go.
	helmField = regexp.MustCompile(`\{\{-?\s*\.\w*.*?\}\}`)
	// bareGroup matches a group's number in braces without a dollar sign.
	bareGroup = regexp.MustCompile(`(?:^|[^$])(\{\d+\})`)
	// groupName matches the name of a group as regexp.Expand reads it.
	groupName = regexp.MustCompile(`\$(?:\{(\w+)\}|(\w+))`)
	// numberFirst matches a group's number that is followed by other characters without braces.
	numberFirst = regexp.MustCompile(`^(\d+)(\D\w*)$`)
)

// oddName returns warnings about the rule's name.
func (c *Compiled) oddName() (odd []string) {
	as := c.Config.Name.As
	if bare := bareGroup.FindStringSubmatch(as); bare != nil {
		odd = append(odd, fmt.Sprintf("name.as %s: %s is not replaced: write $%s for the group", quoted(as), bare[1], bare[1]))
	}
	for _, found := range groupName.FindAllStringSubmatch(strings.ReplaceAll(as, "$$", ""), -1) {
		name := found[1] + found[2]
		if n, err := strconv.Atoi(name); err == nil && n <= c.matches.NumSubexp() || c.matches.SubexpIndex(name) >= 0 {
			continue
		}
		mend := "name one of its groups"
		if parts := numberFirst.FindStringSubmatch(name); parts != nil {
			mend = fmt.Sprintf("write ${%s}%s", parts[1], parts[2])
		}
		odd = append(odd, fmt.Sprintf("name.as %s: name.matches %s has no group called %s: %s", quoted(as), quoted(c.matches.String()), name, mend))
	}
	series, one := OneName(OnName(c.Matchers))
	if _, taken := c.MetricName(series, model.MetricTypeUnknown); one && !taken && len(odd) == 0 && model.LegacyValidation.IsValidMetricName(series) {
		odd = append(odd, c.Unmatched([]string{series}).Why)
	}
	return odd
}

// oddQuery returns warnings about the rule's metricsQuery.
func (c *Compiled) oddQuery() (odd []string) {
	odd = oddBraces("metricsQuery", c.Config.MetricsQuery)
	if same, err := c.sameForAllValues("placeholder"); err == nil && same && !strings.Contains(c.Config.MetricsQuery, ".LabelValuesByName") {
		odd = append(odd, "metricsQuery has no <<.LabelMatchers>>, so every request reads the same series, of all namespaces: add it")
	}
	if c.API == ExternalAPI {
		return append(odd, c.oddWithoutSelector()...)
	}
	if lost := c.lostLabels(); len(lost) > 0 {
		odd = append(odd, fmt.Sprintf("metricsQuery keeps no label %s, so its objects have no value: aggregate by (<<.GroupBy>>)", strings.Join(lost, " or ")))
	}
	return odd
}

// oddWithoutSelector warns of an external query that is invalid without a metric selector.
func (c *Compiled) oddWithoutSelector() []string {
	var scope []Matcher
	if label := c.Label(objects.Namespace()); c.Namespaced() && label != "" {
		scope = append(scope, Equal(label, "x"))
	}
	expr, err := c.Expand("placeholder", scope, "")
	if err == nil {
		_, err = parser.NewParser(parser.Options{}).ParseExpr(expr)
	}
	if err == nil {
		return nil
	}
	return []string{fmt.Sprintf("metricsQuery gives no PromQL for an HPA without a metric selector: %v (it gives %s)", err, expr)}
}

// lostLabels returns the labels for objects that no result of the query can have.
func (c *Compiled) lostLabels() (lost []string) {
	for _, label := range slices.Sorted(maps.Keys(c.kindOf)) {
		if c.labelOf[c.kindOf[label].GroupResource] != label {
			continue
		}
		expr, err := c.Expand("placeholder", []Matcher{Equal(label, "x")}, label)
		if err != nil {
			continue
		}
		if parsed, err := parser.NewParser(parser.Options{}).ParseExpr(expr); err == nil && !mayKeep(parsed, label) {
			lost = append(lost, label)
		}
	}
	return lost
}

// shadowed warns of rules that make the same metric of one series name: only the later
// answers. It tries the names that the rules mention, so it need not find all.
func shadowed(compiled []*Compiled) []string {
	var odd []string
	warned := map[[2]*Compiled]bool{}
	for _, series := range examples(compiled) {
		by := map[Metric]*Compiled{} // the latest
		for _, c := range slices.Backward(compiled) {
			metric, ok := c.MetricName(series, model.MetricTypeUnknown)
			if !ok {
				continue
			}
			later := by[Metric{c.API, metric}]
			if later == nil {
				by[Metric{c.API, metric}] = c
				continue
			}
			pair := [2]*Compiled{later, c}
			if !warned[pair] && c.sharesSeries(later) && later.sharesSeries(c) && (c.API == ExternalAPI || c.overlaps(later.association)) {
				warned[pair] = true
				odd = append(odd, fmt.Sprintf("%s and %s both serve %s as %s: the later one, %s, answers", c, later, series, metric, later))
			}
		}
	}
	slices.Sort(odd)
	return odd
}

// sharesSeries reports whether two rules may take the same series of a name: not where
// this one asks for a label's value that the other rules out.
func (c *Compiled) sharesSeries(other *Compiled) bool {
	for _, want := range c.Matchers {
		excludes := func(m *labels.Matcher) bool { return m.Name == want.Name && !m.Matches(want.Value) }
		if want.Type == labels.MatchEqual && want.Name != model.MetricNameLabel && slices.ContainsFunc(other.Matchers, excludes) {
			return false
		}
	}
	return true
}
