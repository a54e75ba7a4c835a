package adapter

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
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
	api      api
	index    int // place in its list of the configuration, from 0
	matchers []*labels.Matcher
	filters  []nameFilter
	matches  *regexp.Regexp
	as       string
	query    *template.Template
	assoc    *association
	parser   parser.Parser
	// allPods: the query is the same for any pods, and so tells nothing of those
	// behind an object.
	allPods bool
	// allNamespaces: likewise, and so its series may be of any.
	allNamespaces bool
	// quotesNames: the query puts the name in quotation marks, so that it may be any.
	quotesNames bool
	// window is the longest range that the query looks back over, 0 for a
	// query over instant values; narrowest is the shortest.
	window, narrowest time.Duration
}

// api is one of those that metrics are served by.
type api int

const (
	customAPI   api = iota // custom.metrics.k8s.io
	externalAPI            // external.metrics.k8s.io
)

// rulesKey is where the configuration has the rules of an API.
func (a api) rulesKey() string {
	if a == externalAPI {
		return "externalRules"
	}
	return "rules"
}

// String is where the configuration has the rule.
func (r *rule) String() string { return fmt.Sprintf("%s[%d]", r.api.rulesKey(), r.index) }

// namespaced tells whether the rule asks for the series of the namespace only.
func (r *rule) namespaced() bool { return r.Resources.Namespaced == nil || *r.Resources.Namespaced }

// metricKey is a metric of one of the APIs.
type metricKey struct {
	api  api
	name string
}

type nameFilter struct {
	re   *regexp.Regexp
	want bool
}

// compileRules compiles all rules and reports all that are wrong at once.
func compileRules(a api, rules []Rule, kinds *kinds, p parser.Parser) ([]*rule, error) {
	var errs []error
	compiled := make([]*rule, 0, len(rules))
	for i, r := range rules {
		c := &rule{Rule: r, api: a, index: i, parser: p}
		if err := c.compile(kinds); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", c, err))
			continue
		}
		compiled = append(compiled, c)
	}
	return compiled, errors.Join(errs...)
}

func (r *rule) compile(kinds *kinds) error {
	var err error
	if r.matchers, err = r.parser.ParseMetricSelector(r.SeriesQuery); err != nil {
		return fmt.Errorf("seriesQuery %q is no series selector: %w", r.SeriesQuery, err)
	}
	if r.filters, err = compileFilters(r.SeriesFilters); err != nil {
		return err
	}
	if r.matches, r.as, err = compileName(r.Name); err != nil {
		return err
	}
	if r.assoc, err = newAssociation(r.Resources, kinds); err != nil {
		return err
	}
	if r.MetricsQuery == "" {
		return errors.New("metricsQuery is empty: give a template such as sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)")
	}
	if r.query, err = template.New("metricsQuery").Delims("<<", ">>").Parse(r.MetricsQuery); err != nil {
		return fmt.Errorf("metricsQuery: %w", err)
	}
	return r.probe()
}

// probe runs the template with placeholders, so that a query that is no PromQL
// is found now, and reads from the result what is to be known of it.
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
	r.window, r.narrowest = windows(parsed)
	if r.allPods, err = r.sameForAll(podKind()); err != nil {
		return err
	}
	if r.allNamespaces, err = r.sameForAll(namespaceKind()); err != nil {
		return err
	}
	return r.probeQuotes()
}

// probeQuotes finds out whether the query takes names that must be in quotation marks.
func (r *rule) probeQuotes() error {
	const name = "place.holder"
	r.quotesNames = true
	expr, err := r.placeholder(name)
	if err != nil {
		return err
	}
	parsed, err := r.parser.ParseExpr(expr)
	r.quotesNames = err == nil && slices.ContainsFunc(nameMatchers(parsed), func(on []*labels.Matcher) bool {
		return len(on) == 1 && on[0].Type == labels.MatchEqual && on[0].Value == name
	})
	return nil
}

// sameForAll reports whether the query is the same for all objects of a kind that the
// rule has a label for: its template uses no matcher, nor the value of that label.
func (r *rule) sameForAll(k kind) (bool, error) {
	label := r.assoc.label(k)
	if label == "" {
		return false, nil
	}
	var queries [2]string
	for i, name := range []string{"x", "y"} {
		var err error
		if queries[i], err = r.expand("placeholder", []matcher{equal(label, name)}, "placeholder"); err != nil {
			return false, err
		}
	}
	return queries[0] == queries[1], nil
}

// placeholder gives the PromQL of the rule for a series and some object.
func (r *rule) placeholder(series string) (string, error) {
	return r.expand(series, []matcher{equal("placeholder", "x")}, "placeholder")
}

// windows returns the longest range that any selector in the expression looks over, and
// the shortest.
func windows(expr parser.Expr) (longest, shortest time.Duration) {
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		switch n := node.(type) {
		case *parser.MatrixSelector:
			longest = max(longest, n.Range)
			if shortest == 0 || n.Range < shortest {
				shortest = n.Range
			}
		case *parser.SubqueryExpr:
			longest = max(longest, n.Range)
		}
		return nil
	})
	return longest, shortest
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

// metricName returns what the rule calls a series of a name and type in the API, and
// whether the rule takes it at all.
func (r *rule) metricName(series string, typ model.MetricType) (string, bool) {
	if r.only != anyType && isCounter(series, typ) != (r.only == countersOnly) {
		return "", false
	}
	called := series
	if !model.LegacyValidation.IsValidMetricName(series) {
		switch {
		case r.byDefault():
			called = model.EscapeName(series, model.UnderscoreEscaping)
		case !r.quotesNames:
			return "", false
		}
	}
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
	at := r.matches.FindStringSubmatchIndex(called)
	if at == nil {
		return "", false
	}
	name := string(r.matches.ExpandString(nil, r.as, called, at))
	return name, name != ""
}
