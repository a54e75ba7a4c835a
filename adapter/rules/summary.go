package rules

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
)

// Summary is what a rule makes of which series.
type Summary struct {
	// Rule is where the configuration has it, such as rules[3], or default rule 1.
	Rule string `json:"rule"`
	// Series is the name of the series that the rule takes; where there may be several,
	// seriesQuery.
	Series string `json:"series"`
	// Example is a name that the rule takes, where there may be several. It is empty if none
	// is known.
	Example string `json:"example,omitempty"`
	// Metric is what the series, or the example, is served as.
	Metric string `json:"metric,omitempty"`
	// Objects have the metric: resources, or a template of labels. Empty for external metrics.
	Objects []string `json:"objects,omitempty"`
	// Value says how it is computed, such as "rate over 2m".
	Value string `json:"value"`
}

// String is the summary on one line.
func (s Summary) String() string {
	series := s.Series
	if s.Example != "" {
		series += ", such as " + s.Example
	}
	return fmt.Sprintf("%s: %s -> %s (%s), %s", s.Rule, series, cmp.Or(s.Metric, "no metric"), cmp.Or(strings.Join(s.Objects, ", "), "external"), s.Value)
}

// Summaries returns what each of the rules makes.
func Summaries(compiled []*Compiled) []Summary {
	all := make([]Summary, len(compiled))
	for i, c := range compiled {
		all[i] = c.summary()
	}
	return all
}

func (c *Compiled) summary() Summary {
	s := Summary{Rule: c.String(), Value: c.described()}
	var one bool
	if s.Series, one = OneName(OnName(c.Matchers)); one {
		s.Metric, _ = c.MetricName(s.Series, model.MetricTypeUnknown)
	} else {
		s.Series = c.Config.SeriesQuery
		for _, name := range append(mentioned(OnName(c.Matchers)), examples([]*Compiled{c})...) {
			if metric, ok := c.MetricName(name, model.MetricTypeUnknown); ok {
				s.Example, s.Metric = name, metric
				break
			}
		}
	}
	if c.API == ExternalAPI {
		return s
	}
	for _, gr := range slices.Collect(maps.Keys(c.labelOf)) {
		s.Objects = append(s.Objects, gr.String())
	}
	for _, gr := range c.later {
		s.Objects = append(s.Objects, gr.String())
	}
	slices.Sort(s.Objects)
	if c.template != nil {
		s.Objects = append(s.Objects, "any that a label "+c.Config.Resources.Template+" names")
	}
	if len(s.Objects) == 0 {
		s.Objects = []string{"no objects"}
	}
	return s
}
