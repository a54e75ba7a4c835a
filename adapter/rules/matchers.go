package rules

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apilabels "k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
)

// ErrUnsupportedOperator is returned for a selector that PromQL cannot express.
var ErrUnsupportedOperator = errors.New("unsupported operator")

// Matcher is a PromQL matcher together with the values it was made from, joined by "|"
// and unquoted, as templates get them.
type Matcher struct {
	*labels.Matcher
	values string
}

// Equal matches a label's value.
func Equal(label, value string) Matcher {
	return Matcher{labels.MustNewMatcher(labels.MatchEqual, label, value), value}
}

// Not matches series whose label has another value, or none.
func Not(label, value string) Matcher {
	return Matcher{labels.MustNewMatcher(labels.MatchNotEqual, label, value), value}
}

// OneOf matches a label that has one of the values.
func OneOf(label string, values []string) Matcher {
	if len(values) == 1 {
		return Equal(label, values[0])
	}
	return Matcher{labels.MustNewMatcher(labels.MatchRegexp, label, alternation(values)), strings.Join(values, "|")}
}

// Plain returns the PromQL matchers.
func Plain(matchers []Matcher) []*labels.Matcher {
	plain := make([]*labels.Matcher, len(matchers))
	for i, m := range matchers {
		plain[i] = m.Matcher
	}
	return plain
}

// alternation is a regular expression that matches exactly the values. Every value is
// quoted, so it always compiles.
func alternation(values []string) string {
	quoted := make([]string, len(values))
	for i, v := range values {
		quoted[i] = regexp.QuoteMeta(v)
	}
	return strings.Join(quoted, "|")
}

// SelectorMatchers turns a Kubernetes label selector over series labels into PromQL
// matchers, as prometheus-adapter does. A nil selector has none.
func SelectorMatchers(sel apilabels.Selector) ([]Matcher, error) {
	if sel == nil {
		return nil, nil
	}
	requirements, selectable := sel.Requirements()
	if !selectable {
		return nil, fmt.Errorf("%w: the selector matches nothing", ErrUnsupportedOperator)
	}
	matchers := make([]Matcher, 0, len(requirements))
	for _, req := range requirements {
		m, err := requirementMatcher(req)
		if err != nil {
			return nil, err
		}
		matchers = append(matchers, m)
	}
	return matchers, nil
}

// invalidValue matches the label and the quoted value in an error of package k8s.io/apimachinery/pkg/labels.
const invalidValue = `values\[\d+\]\[(.+?)\]: Invalid value: ("(?:[^"\\]|\\.)*")`

// BadSelector rewrites the error of a metric selector that does not parse. A selector cannot have a value such as
// org/model-7b, which no label of a Kubernetes object can have: the new error says what to do instead. Other errors are
// returned unchanged.
func BadSelector(err error) error {
	found := regexp.MustCompile(invalidValue).FindStringSubmatch(err.Error())
	if found == nil {
		return err
	}
	value, unquoteErr := strconv.Unquote(found[2])
	if unquoteErr != nil {
		return err
	}
	return fmt.Errorf("a selector cannot have the value %s of %s: only letters, digits, -, _ and . are allowed; write the matcher in the metricsQuery of a rule, or change the value by metricRelabelings", value, found[1])
}

func requirementMatcher(req apilabels.Requirement) (Matcher, error) {
	values := req.Values().List()
	value := strings.Join(values, "") // the only one; empty for those that take none
	var typ labels.MatchType
	switch req.Operator() {
	case selection.Equals, selection.DoubleEquals, selection.DoesNotExist:
		typ = labels.MatchEqual
	case selection.NotEquals, selection.Exists:
		typ = labels.MatchNotEqual
	case selection.In:
		typ, value = labels.MatchRegexp, alternation(values)
	case selection.NotIn:
		typ, value = labels.MatchNotRegexp, alternation(values)
	default:
		return Matcher{}, fmt.Errorf("%w %q in the selector %q: metrics can be selected by =, ==, !=, in, notin, exists and not exists",
			ErrUnsupportedOperator, req.Operator(), req.String())
	}
	m, err := labels.NewMatcher(typ, req.Key(), value)
	if err != nil {
		return Matcher{}, fmt.Errorf("selector %q: %w", req.String(), err)
	}
	return Matcher{m, strings.Join(values, "|")}, nil
}

// LabelSelector writes a selector that SelectorMatchers takes as the API does in its
// answers, nil for an empty one.
func LabelSelector(sel apilabels.Selector) *metav1.LabelSelector {
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

// OnName returns the matchers that are on the metric name.
func OnName(matchers []*labels.Matcher) (on []*labels.Matcher) {
	for _, m := range matchers {
		if m.Name == model.MetricNameLabel {
			on = append(on, m)
		}
	}
	return on
}

// NameMatchers returns the matchers on the metric name of each selector of an expression.
// An empty list is a selector of all names.
func NameMatchers(expr parser.Expr) [][]*labels.Matcher {
	all := parser.ExtractSelectors(expr)
	for i, matchers := range all {
		all[i] = OnName(matchers)
	}
	return all
}

// OneName returns the name where matchers on the metric name ask for exactly one.
func OneName(on []*labels.Matcher) (name string, ok bool) {
	if len(on) != 1 || on[0].Type != labels.MatchEqual {
		return "", false
	}
	return on[0].Value, true
}

// MatchesName reports whether matchers on the metric name match a name.
func MatchesName(on []*labels.Matcher, name string) bool {
	return !slices.ContainsFunc(on, func(m *labels.Matcher) bool { return !m.Matches(name) })
}

// Takes reports whether seriesQuery can take series with these label names: each of its
// matchers is on a label that they have, or matches one that is missing. The matcher that
// cannot is returned.
func (c *Compiled) Takes(labelNames []string) (refused *labels.Matcher, ok bool) {
	for _, m := range c.Matchers {
		if m.Name == model.MetricNameLabel {
			continue
		}
		if slices.Contains(labelNames, m.Name) {
			ok = m.Type != labels.MatchEqual || m.Value != ""
		} else {
			ok = m.Matches("")
		}
		if !ok {
			return m, false
		}
	}
	return nil, true
}
