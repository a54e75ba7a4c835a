package rules

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/prometheus/common/model"
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

// Expand returns the query of the rule for a series and matchers on its labels. Matchers
// print themselves, so every value is quoted and escaped.
func (c *Compiled) Expand(series string, matchers []Matcher, groupBy string) (string, error) {
	args := queryArgs{Series: series, LabelValuesByName: make(map[string]string, len(matchers)), GroupBy: groupBy}
	if groupBy != "" {
		args.GroupBySlice = []string{groupBy}
	}
	printed := make([]string, 0, len(matchers)+1)
	if !model.LegacyValidation.IsValidMetricName(series) {
		// The target chose the name: it must not become PromQL.
		if quoted := strconv.Quote(series); c.quotesNames {
			args.Series = quoted[1 : len(quoted)-1]
		} else {
			args.Series = ""
			printed = append(printed, Equal(model.MetricNameLabel, series).String())
		}
	}
	for _, m := range matchers {
		printed = append(printed, m.String())
		args.LabelValuesByName[m.Name] = m.values
	}
	args.LabelMatchers = strings.Join(printed, ",")
	var b strings.Builder
	if err := c.query.Execute(&b, args); err != nil {
		if found := regexp.MustCompile(`can't evaluate field (\w+) in type rules`).FindStringSubmatch(err.Error()); found != nil {
			return "", fmt.Errorf("metricsQuery: there is no field <<.%s>>: choose Series, LabelMatchers, LabelValuesByName, GroupBy or GroupBySlice", found[1])
		}
		return "", fmt.Errorf("metricsQuery: %w", err)
	}
	if strings.TrimSpace(b.String()) == "" {
		return "", errors.New("metricsQuery gives an empty query")
	}
	return b.String(), nil
}
