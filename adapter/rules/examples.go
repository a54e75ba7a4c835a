package rules

import (
	"regexp/syntax"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
)

// examples are series names that rules mention, literally or by a pattern, and some that
// are common.
func examples(compiled []*Compiled) []string {
	names := []string{"http_requests", "http_requests_total", "http_requests_seconds_total", "container_cpu_usage_seconds_total", "container_memory_working_set_bytes", "container_restarts_total"}
	for _, c := range compiled {
		names = append(names, exampleOf(c.Config.Name.Matches))
		for _, f := range c.Config.SeriesFilters {
			names = append(names, exampleOf(f.Is))
		}
		names = append(names, mentioned(OnName(c.Matchers))...)
	}
	names = slices.DeleteFunc(names, func(name string) bool { return name == "" })
	slices.Sort(names)
	return slices.Compact(names)
}

// mentioned are the names that matchers on the metric name ask for, or examples of them.
func mentioned(on []*labels.Matcher) (names []string) {
	for _, m := range on {
		switch m.Type {
		case labels.MatchEqual:
			names = append(names, m.Value)
		case labels.MatchRegexp:
			if name := exampleOf(m.Value); name != "" {
				names = append(names, name)
			}
		}
	}
	return names
}

// exampleOf returns a short text that a regular expression matches, with x for any
// character. It may be wrong for one that is more than literals, groups and wildcards.
func exampleOf(pattern string) string {
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return ""
	}
	return shortest(re.Simplify())
}

func shortest(re *syntax.Regexp) (text string) {
	switch re.Op {
	case syntax.OpLiteral:
		return string(re.Rune)
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return "x"
	case syntax.OpCharClass:
		return string(re.Rune[:min(len(re.Rune), 1)])
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			text += shortest(sub)
		}
		return text
	case syntax.OpCapture, syntax.OpPlus, syntax.OpAlternate:
		return shortest(re.Sub[0])
	case syntax.OpStar:
		if re.Sub[0].Op == syntax.OpAnyCharNotNL {
			return "x"
		}
	}
	return ""
}
