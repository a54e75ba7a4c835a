package adapter

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apilabels "k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
)

// errUnsupportedOperator is returned for a selector that PromQL cannot express.
var errUnsupportedOperator = errors.New("unsupported operator")

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

// matcher is a PromQL matcher together with the values it was made from, joined
// by "|" and unquoted, as templates get them.
type matcher struct {
	*labels.Matcher
	values string
}

func equal(label, value string) matcher {
	return matcher{labels.MustNewMatcher(labels.MatchEqual, label, value), value}
}

// expand gives the PromQL of the rule, for a series and matchers on its labels. Matchers
// print themselves, so every value is quoted and escaped.
func (r *rule) expand(series string, matchers []matcher, groupBy string) (string, error) {
	args := queryArgs{Series: series, LabelValuesByName: make(map[string]string, len(matchers)), GroupBy: groupBy}
	if groupBy != "" {
		args.GroupBySlice = []string{groupBy}
	}
	printed := make([]string, 0, len(matchers)+1)
	if !model.LegacyValidation.IsValidMetricName(series) {
		// Whoever is scraped chooses the name.
		if quoted := strconv.Quote(series); r.quotesNames {
			args.Series = quoted[1 : len(quoted)-1]
		} else {
			args.Series = ""
			printed = append(printed, equal(model.MetricNameLabel, series).String())
		}
	}
	for _, m := range matchers {
		printed = append(printed, m.String())
		args.LabelValuesByName[m.Name] = m.values
	}
	args.LabelMatchers = strings.Join(printed, ",")
	var b strings.Builder
	if err := r.query.Execute(&b, args); err != nil {
		return "", fmt.Errorf("metricsQuery: %w", err)
	}
	if strings.TrimSpace(b.String()) == "" {
		return "", errors.New("metricsQuery gives an empty query")
	}
	return b.String(), nil
}

// namesMatcher matches a label that names one object, or one of several.
func namesMatcher(label string, names []string) matcher {
	if len(names) == 1 {
		return equal(label, names[0])
	}
	return matcher{labels.MustNewMatcher(labels.MatchRegexp, label, alternation(names)), strings.Join(names, "|")}
}

// alternation is a regular expression that matches just the values. It cannot
// fail to compile, every value being quoted.
func alternation(values []string) string {
	quoted := make([]string, len(values))
	for i, v := range values {
		quoted[i] = regexp.QuoteMeta(v)
	}
	return strings.Join(quoted, "|")
}

// selectorMatchers turn a Kubernetes label selector over series labels into
// PromQL matchers, as prometheus-adapter does.
func selectorMatchers(sel apilabels.Selector) ([]matcher, error) {
	if sel == nil {
		return nil, nil
	}
	requirements, selectable := sel.Requirements()
	if !selectable {
		return nil, fmt.Errorf("%w: the selector matches nothing", errUnsupportedOperator)
	}
	matchers := make([]matcher, 0, len(requirements))
	for _, req := range requirements {
		m, err := requirementMatcher(req)
		if err != nil {
			return nil, err
		}
		matchers = append(matchers, m)
	}
	return matchers, nil
}

func requirementMatcher(req apilabels.Requirement) (matcher, error) {
	values := req.Values().List()
	one := strings.Join(values, "")
	var typ labels.MatchType
	var value string
	switch req.Operator() {
	case selection.Equals, selection.DoubleEquals:
		typ, value = labels.MatchEqual, one
	case selection.NotEquals:
		typ, value = labels.MatchNotEqual, one
	case selection.In:
		typ, value = labels.MatchRegexp, alternation(values)
	case selection.NotIn:
		typ, value = labels.MatchNotRegexp, alternation(values)
	case selection.Exists:
		typ = labels.MatchNotEqual
	case selection.DoesNotExist:
		typ = labels.MatchEqual
	default:
		return matcher{}, fmt.Errorf("%w %q in the selector %q: metrics can be selected by =, ==, !=, in, notin, exists and not exists",
			errUnsupportedOperator, req.Operator(), req.String())
	}
	m, err := labels.NewMatcher(typ, req.Key(), value)
	if err != nil {
		return matcher{}, fmt.Errorf("selector %q: %w", req.String(), err)
	}
	return matcher{m, strings.Join(values, "|")}, nil
}

// labelSelector writes a selector that selectorMatchers takes as the API does
// in its answers, nil for an empty one.
func labelSelector(sel apilabels.Selector) *metav1.LabelSelector {
	if sel == nil || sel.Empty() {
		return nil
	}
	operators := map[selection.Operator]metav1.LabelSelectorOperator{
		selection.NotEquals:    metav1.LabelSelectorOpNotIn,
		selection.NotIn:        metav1.LabelSelectorOpNotIn,
		selection.In:           metav1.LabelSelectorOpIn,
		selection.Exists:       metav1.LabelSelectorOpExists,
		selection.DoesNotExist: metav1.LabelSelectorOpDoesNotExist,
	}
	written := &metav1.LabelSelector{}
	requirements, _ := sel.Requirements()
	for _, req := range requirements {
		values := req.Values().List()
		if op, ok := operators[req.Operator()]; ok {
			written.MatchExpressions = append(written.MatchExpressions, metav1.LabelSelectorRequirement{Key: req.Key(), Operator: op, Values: values})
		} else {
			metav1.AddLabelToSelector(written, req.Key(), strings.Join(values, ""))
		}
	}
	return written
}
