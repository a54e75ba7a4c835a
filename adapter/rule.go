package adapter

import (
	"errors"
	"fmt"
	"regexp"
	"text/template"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// rule is a Rule made ready: everything that can be wrong with one is found
// when it is compiled, not when it is asked for.
type rule struct {
	Rule
	index    int // place in the configuration, from 0
	matchers []*labels.Matcher
	filters  []nameFilter
	matches  *regexp.Regexp
	as       string
	query    *template.Template
	assoc    *association
	parser   parser.Parser
	// window is the longest range that the query looks back over, 0 for a
	// query over instant values.
	window time.Duration
}

type nameFilter struct {
	re   *regexp.Regexp
	want bool
}

// compileRules compiles all rules and reports all that are wrong at once.
func compileRules(rules []Rule, kinds *kinds, p parser.Parser) ([]*rule, error) {
	var errs []error
	compiled := make([]*rule, 0, len(rules))
	for i, r := range rules {
		c, err := compileRule(r, i, kinds, p)
		if err != nil {
			errs = append(errs, fmt.Errorf("rules[%d]: %w", i, err))
			continue
		}
		compiled = append(compiled, c)
	}
	if len(rules) == 0 {
		return nil, ErrNoRules
	}
	return compiled, errors.Join(errs...)
}

func compileRule(r Rule, index int, kinds *kinds, p parser.Parser) (*rule, error) {
	c := &rule{Rule: r, index: index, parser: p}
	var err error
	if c.matchers, err = p.ParseMetricSelector(r.SeriesQuery); err != nil {
		return nil, fmt.Errorf("seriesQuery %q is no series selector: %w", r.SeriesQuery, err)
	}
	if c.filters, err = compileFilters(r.SeriesFilters); err != nil {
		return nil, err
	}
	if c.matches, c.as, err = compileName(r.Name); err != nil {
		return nil, err
	}
	if c.assoc, err = newAssociation(r.Resources, kinds); err != nil {
		return nil, err
	}
	if r.MetricsQuery == "" {
		return nil, errors.New("metricsQuery is empty: give a template such as sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)")
	}
	if c.query, err = template.New("metricsQuery").Delims("<<", ">>").Parse(r.MetricsQuery); err != nil {
		return nil, fmt.Errorf("metricsQuery: %w", err)
	}
	return c, c.probe()
}

// probe runs the template with placeholders, so that a query that is no PromQL
// is found now, and reads the window from the result.
func (r *rule) probe() error {
	expr, err := r.placeholder("placeholder")
	if err != nil {
		return err
	}
	parsed, err := r.parser.ParseExpr(expr)
	if err != nil {
		return fmt.Errorf("metricsQuery gives no PromQL: %w (it gave %q)", err, expr)
	}
	if t := parsed.Type(); t != parser.ValueTypeVector && t != parser.ValueTypeScalar {
		return fmt.Errorf("metricsQuery gives a %s, not an instant vector (it gave %q)", t, expr)
	}
	r.window = window(parsed)
	return nil
}

// placeholder gives the PromQL of the rule for a series and some object.
func (r *rule) placeholder(series string) (string, error) {
	args := queryArgs{Series: series, TargetLabels: targetLabels(scrapeFacts{}, "")}
	return r.expand(args, []matcher{equal("placeholder", "x")}, "placeholder")
}

// window returns the longest range any selector in the expression looks over.
func window(expr parser.Expr) time.Duration {
	var longest time.Duration
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		switch n := node.(type) {
		case *parser.MatrixSelector:
			longest = max(longest, n.Range)
		case *parser.SubqueryExpr:
			longest = max(longest, n.Range)
		}
		return nil
	})
	return longest
}

func compileFilters(filters []Filter) ([]nameFilter, error) {
	var compiled []nameFilter
	for i, f := range filters {
		if (f.Is == "") == (f.IsNot == "") {
			return nil, fmt.Errorf("seriesFilters[%d]: give exactly one of is and isNot", i)
		}
		re, err := regexp.Compile(f.Is + f.IsNot)
		if err != nil {
			return nil, fmt.Errorf("seriesFilters[%d]: %w", i, err)
		}
		compiled = append(compiled, nameFilter{re: re, want: f.Is != ""})
	}
	return compiled, nil
}

func compileName(n Name) (*regexp.Regexp, string, error) {
	pattern := n.Matches
	if pattern == "" {
		pattern = ".*"
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil, "", fmt.Errorf("name.matches: %w", err)
	}
	switch groups := re.NumSubexp(); {
	case n.As != "":
		return re, n.As, nil
	case groups == 0:
		return re, "$0", nil
	case groups == 1:
		return re, "$1", nil
	default:
		return nil, "", fmt.Errorf("name.matches %q has %d groups: say in name.as which make the metric's name", n.Matches, groups)
	}
}

// metricName returns what the rule calls a series in the API, and whether the
// rule takes a series of that name at all.
func (r *rule) metricName(series string) (string, bool) {
	for _, m := range r.matchers {
		if m.Name == model.MetricNameLabel && !m.Matches(series) {
			return "", false
		}
	}
	for _, f := range r.filters {
		if f.re.MatchString(series) != f.want {
			return "", false
		}
	}
	at := r.matches.FindStringSubmatchIndex(series)
	if at == nil {
		return "", false
	}
	name := string(r.matches.ExpandString(nil, r.as, series, at))
	return name, name != ""
}
