package rules

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
)

// Summary says which metric a rule makes of which series.
type Summary struct {
	// Rule is the rule's place in the configuration, such as rules[3], or default rule 1.
	Rule string `json:"rule"`
	// Series is the name of the series that the rule selects. If it may select several names,
	// it is seriesQuery.
	Series string `json:"series"`
	// Example is a name that the rule selects, if it may select several. It is empty if none
	// is known.
	Example string `json:"example,omitempty"`
	// Metric is the name of the metric that the rule makes of the series, or of the example.
	Metric string `json:"metric,omitempty"`
	// Objects are the resources that have the metric, or a template of labels. Empty for
	// external metrics.
	Objects []string `json:"objects,omitempty"`
	// Value says how the value is computed, such as "rate over 2m".
	Value string `json:"value"`
}

// String returns the summary on one line.
func (s Summary) String() string {
	series := s.Series
	if s.Example != "" {
		series += ", such as " + s.Example
	}
	return fmt.Sprintf("%s: %s -> %s (%s), %s", s.Rule, series, cmp.Or(s.Metric, "no metric"), cmp.Or(strings.Join(s.Objects, ", "), "external"), s.Value)
}

// Summaries returns the Summary of each rule.
func Summaries(compiled []*Compiled) []Summary {
	all := make([]Summary, len(compiled))
	for i, c := range compiled {
		all[i] = c.summary()
	}
	return all
}

func (c *Compiled) summary() Summary {
	s := Summary{Rule: c.String(), Value: cmp.Or(strings.Join(c.over, " and "), "last values")}
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
