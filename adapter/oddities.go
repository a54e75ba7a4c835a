package adapter

import (
	"fmt"
	"maps"
	"regexp/syntax"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
)

// oddities tells what is odd about rules although they load.
func oddities(rules []*rule) []string {
	var odd []string
	for _, r := range rules {
		hasNamespace := r.assoc.label(namespaceKind()) != ""
		switch {
		case r.api == externalAPI && r.namespaced() && !hasNamespace:
			odd = append(odd, fmt.Sprintf("%s: no label is associated with namespaces, so no namespace has this metric: add namespace: {resource: namespace} to resources.overrides, or namespaced: false to resources", r))
		case r.api == customAPI && r.assoc.empty():
			odd = append(odd, fmt.Sprintf("%s: resources has neither template nor overrides, so no object has this metric", r))
		case r.api == customAPI && !hasNamespace:
			odd = append(odd, fmt.Sprintf("%s: no label is associated with namespaces, so only cluster-scoped objects have this metric: add namespace: {resource: namespace} to resources.overrides", r))
		}
		for _, label := range slices.Sorted(maps.Keys(r.assoc.later)) {
			odd = append(odd, fmt.Sprintf("%s: resources.overrides[%s]: no resource %s is known yet: it has this metric once its CRD is installed", r, label, r.assoc.later[label]))
		}
	}
	return append(odd, shadows(rules)...)
}

// shadows tells which rules make the same metric of one series name: the later
// answers. It tries names that the rules themselves mention, so it need not find all.
func shadows(rules []*rule) []string {
	var odd []string
	told := map[[2]*rule]bool{}
	for _, series := range examples(rules) {
		by := map[metricKey]*rule{} // the latest
		for _, r := range slices.Backward(rules) {
			metric, ok := r.metricName(series, model.MetricTypeUnknown)
			key := metricKey{r.api, metric}
			later := by[key]
			if !ok || later == nil {
				if ok {
					by[key] = r
				}
				continue
			}
			pair := [2]*rule{later, r}
			if !told[pair] && r.sharesSeries(later) && (r.api == externalAPI || r.assoc.overlaps(later.assoc)) {
				told[pair] = true
				odd = append(odd, fmt.Sprintf("%s and %s both serve %s as %s: the later one, %s, answers", r, later, series, metric, later))
			}
		}
	}
	slices.Sort(odd)
	return odd
}

// sharesSeries tells whether two rules may take the same series of a name: not where
// one asks for a value of a label that the other rules out.
func (r *rule) sharesSeries(other *rule) bool {
	for _, pair := range [][2]*rule{{r, other}, {other, r}} {
		for _, want := range pair[0].matchers {
			if want.Type != labels.MatchEqual || want.Name == model.MetricNameLabel {
				continue
			}
			for _, m := range pair[1].matchers {
				if m.Name == want.Name && !m.Matches(want.Value) {
					return false
				}
			}
		}
	}
	return true
}

// examples are series names that rules mention, literally or by a pattern, and some
// that everybody has.
func examples(rules []*rule) []string {
	names := []string{"http_requests", "http_requests_total", "http_requests_seconds_total", "container_cpu_usage_seconds_total", "container_memory_working_set_bytes", "container_restarts_total"}
	add := func(pattern string) {
		if name := shortest(pattern); name != "" {
			names = append(names, name)
		}
	}
	for _, r := range rules {
		add(r.Rule.Name.Matches)
		for _, f := range r.SeriesFilters {
			add(f.Is)
		}
		for _, m := range r.matchers {
			switch {
			case m.Name != model.MetricNameLabel:
			case m.Type == labels.MatchEqual:
				names = append(names, m.Value)
			case m.Type == labels.MatchRegexp:
				add(m.Value)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// shortest gives a text that a regular expression matches, "x" for what may be
// anything; "" where it has none that is so simple.
func shortest(pattern string) string {
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil || pattern == "" {
		return ""
	}
	var b strings.Builder
	if !writeShortest(&b, re.Simplify()) {
		return ""
	}
	return b.String()
}

func writeShortest(b *strings.Builder, re *syntax.Regexp) bool {
	switch re.Op {
	case syntax.OpLiteral:
		b.WriteString(string(re.Rune))
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		b.WriteByte('x')
	case syntax.OpCharClass:
		if len(re.Rune) == 0 {
			return false
		}
		b.WriteRune(re.Rune[0])
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			if !writeShortest(b, sub) {
				return false
			}
		}
	case syntax.OpCapture, syntax.OpPlus, syntax.OpAlternate:
		return writeShortest(b, re.Sub[0])
	case syntax.OpStar:
		if re.Sub[0].Op == syntax.OpAnyCharNotNL || re.Sub[0].Op == syntax.OpAnyChar {
			b.WriteByte('x')
		}
	}
	return true
}
