package rules

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/prometheus/common/model"

	"github.com/promlet/promlet/adapter/internal/boundedtemplate"
)

// queryArgs are the fields a metricsQuery template may use.
type queryArgs struct {
	// Series is the name of the series.
	Series string
	// LabelMatchers are those of the objects, of the namespace and of the metric
	// selector, as PromQL, without braces.
	LabelMatchers string
	// LabelValuesByName are the values of these matchers by label; several of a label
	// are joined by "|".
	LabelValuesByName map[string]string
	// GroupBy is the label that names the objects asked for.
	GroupBy string
	// GroupBySlice is GroupBy as a list.
	GroupBySlice []string
}

// newQueryArgs returns the fields for matchers and the labels to group by.
func newQueryArgs(matchers []Matcher, groupBy ...string) queryArgs {
	args := queryArgs{LabelValuesByName: make(map[string]string, len(matchers)), GroupBy: strings.Join(groupBy, ","), GroupBySlice: groupBy}
	printed := make([]string, len(matchers))
	for i, m := range matchers {
		printed[i] = m.String()
		args.LabelValuesByName[m.Name] = m.values
	}
	args.LabelMatchers = strings.Join(printed, ",")
	return args
}

// Expand returns the query of the rule for a series and matchers on its labels. Matchers
// print themselves, so every value is quoted and escaped.
func (c *Compiled) Expand(series string, matchers []Matcher, groupBy string) (string, error) {
	var labels []string
	if groupBy != "" {
		labels = []string{groupBy}
	}
	args := newQueryArgs(matchers, labels...)
	args.Series = series
	if !model.LegacyValidation.IsValidMetricName(series) {
		// The target chose the name: it must not become PromQL.
		if quoted := strconv.Quote(series); c.quotesNames {
			args.Series = quoted[1 : len(quoted)-1]
		} else {
			args.Series = ""
			parts := []string{Equal(model.MetricNameLabel, series).String()}
			if args.LabelMatchers != "" {
				parts = append(parts, args.LabelMatchers)
			}
			args.LabelMatchers = strings.Join(parts, ",")
		}
	}
	return expand("metricsQuery", c.query, args)
}

// expand runs a template. Errors name the field of the configuration that has it.
func expand(field string, template *boundedtemplate.Template, args queryArgs) (string, error) {
	var b strings.Builder
	if err := template.Execute(&b, args); err != nil {
		if found := regexp.MustCompile(`can't evaluate field (\w+) in type rules`).FindStringSubmatch(err.Error()); found != nil {
			return "", fmt.Errorf("%s: there is no field <<.%s>>: choose Series, LabelMatchers, LabelValuesByName, GroupBy or GroupBySlice", field, found[1])
		}
		return "", fmt.Errorf("%s: %w", field, err)
	}
	if strings.TrimSpace(b.String()) == "" {
		return "", fmt.Errorf("%s gives an empty query", field)
	}
	return b.String(), nil
}
