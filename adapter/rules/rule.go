package rules

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/promlet/promlet/adapter/internal/boundedtemplate"
	"github.com/promlet/promlet/adapter/objects"
	"github.com/promlet/promlet/tsdb/querycost"
)

// API is one of those that serve metrics.
type API int

const (
	// CustomAPI is custom.metrics.k8s.io.
	CustomAPI API = iota
	// ExternalAPI is external.metrics.k8s.io.
	ExternalAPI
	// ResourceAPI is metrics.k8s.io, whose values resourceRules give.
	ResourceAPI
)

// String is the API's value of the label api.
func (a API) String() string {
	switch a {
	case ExternalAPI:
		return "external"
	case ResourceAPI:
		return "resource"
	}
	return "custom"
}

// Usage returns the metric that stands for what pods or nodes use by resourceRules: CPU and memory, which are read together.
func Usage(of objects.Kind) Metric { return Metric{ResourceAPI, of.Resource} }

// Metric is a metric of one of the APIs.
type Metric struct {
	API  API
	Name string
}

// Compiled is a Rule made ready.
type Compiled struct {
	Config Rule
	API    API
	// Matchers are those of seriesQuery.
	Matchers []*labels.Matcher
	// AllPods: the query is the same for any pods, so it cannot answer for those behind
	// an object. AllNamespaces: likewise, so its series may be of any namespace.
	AllPods, AllNamespaces bool

	windows
	*association // between labels and kinds of objects

	index       int // place in its list of the configuration, or among the default rules, from 0
	filters     []nameFilter
	matches     *regexp.Regexp
	as          string
	query       *boundedtemplate.Template
	quotesNames bool // the query quotes the series name, so that it may be any
}

type nameFilter struct {
	re   *regexp.Regexp
	want bool
}

// String returns the rule's place in the configuration, such as rules[3], or default rule 1.
func (c *Compiled) String() string {
	switch {
	case c.ByDefault():
		return fmt.Sprintf("default rule %d", c.index+1)
	case c.API == ExternalAPI:
		return fmt.Sprintf("externalRules[%d]", c.index)
	}
	return fmt.Sprintf("rules[%d]", c.index)
}

// Origin is String for people who may have no configuration.
func (c *Compiled) Origin() string {
	if c.ByDefault() {
		return "a default rule"
	}
	return c.String()
}

// ByDefault reports whether the rule is one of Defaults.
func (c *Compiled) ByDefault() bool { return c.Config.ByDefault() }

// Namespaced reports whether an external rule asks for the series of one namespace only.
func (c *Compiled) Namespaced() bool {
	return c.Config.Resources.Namespaced == nil || *c.Config.Resources.Namespaced
}

// compile returns the rules without an error, and all errors at once.
func compile(api API, configured []Rule, kinds *objects.Kinds) ([]*Compiled, error) {
	var errs []error
	compiled := make([]*Compiled, 0, len(configured))
	byDefault := 0
	for i, r := range configured {
		c := &Compiled{Config: r, API: api, index: i - byDefault}
		if c.ByDefault() {
			c.index = byDefault
			byDefault++
		}
		if err := c.compile(kinds); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", c, err))
			continue
		}
		compiled = append(compiled, c)
	}
	return compiled, errors.Join(errs...)
}

func (c *Compiled) compile(kinds *objects.Kinds) error {
	p := parser.NewParser(parser.Options{})
	var err error
	if c.Matchers, err = p.ParseMetricSelector(c.Config.SeriesQuery); err != nil {
		return fmt.Errorf("seriesQuery %s is no series selector: %w", quoted(c.Config.SeriesQuery), err)
	}
	if c.filters, err = compileFilters(c.Config.SeriesFilters); err != nil {
		return err
	}
	if c.matches, c.as, err = compileName(c.Config.Name); err != nil {
		return err
	}
	if c.association, err = newAssociation(c.Config.Resources, kinds); err != nil {
		return err
	}
	if c.Config.MetricsQuery == "" {
		return errors.New("metricsQuery is empty: give a template such as sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)")
	}
	if c.query, err = boundedtemplate.Parse("metricsQuery", c.Config.MetricsQuery); err != nil {
		return fmt.Errorf("metricsQuery: %w", err)
	}
	return c.probe(p)
}

// probe expands the template with placeholders. A query that is no PromQL is found now,
// and the rest of Compiled is read from what the placeholders become.
func (c *Compiled) probe(p parser.Parser) error {
	expr, err := c.Placeholder("placeholder")
	if err != nil {
		return err
	}
	parsed, err := p.ParseExpr(expr)
	if err != nil {
		return fmt.Errorf("metricsQuery gives no PromQL: %w (it gave %s)", err, expr)
	}
	if t := parsed.Type(); t != parser.ValueTypeVector && t != parser.ValueTypeScalar {
		return fmt.Errorf("metricsQuery gives a %s, not an instant vector (it gave %s)", t, expr)
	}
	c.read(parsed)
	if err := querycost.Check(parsed, querycost.DefaultMaxSamples); err != nil {
		return fmt.Errorf("metricsQuery: %w", err)
	}
	if c.AllPods, err = c.sameForAll(objects.Pod()); err != nil {
		return err
	}
	if c.AllNamespaces, err = c.sameForAll(objects.Namespace()); err != nil {
		return err
	}
	const name = "place.holder" // must be quoted
	c.quotesNames = true
	if expr, err = c.Placeholder(name); err != nil {
		return err
	}
	parsed, err = p.ParseExpr(expr)
	c.quotesNames = err == nil && slices.ContainsFunc(NameMatchers(parsed), func(on []*labels.Matcher) bool {
		only, ok := OneName(on)
		return ok && only == name
	})
	return nil
}

// sameForAll reports whether the query is the same for all objects of a kind that the
// rule has a label for: its template uses no matcher, nor the value of that label.
func (c *Compiled) sameForAll(k objects.Kind) (bool, error) {
	label := c.Label(k)
	if label == "" {
		return false, nil
	}
	return c.sameForAllValues(label)
}

// sameForAllValues reports whether the query is the same for all values of a label that
// objects are asked for by.
func (c *Compiled) sameForAllValues(label string) (bool, error) {
	x, err := c.Expand("placeholder", []Matcher{Equal(label, "x")}, "placeholder")
	if err != nil {
		return false, err
	}
	y, err := c.Expand("placeholder", []Matcher{Equal(label, "y")}, "placeholder")
	return x == y, err
}

// Placeholder returns the query of the rule for a series and some object.
func (c *Compiled) Placeholder(series string) (string, error) {
	return c.Expand(series, []Matcher{Equal("placeholder", "x")}, "placeholder")
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
	re, err := regexp.Compile(cmp.Or(n.Matches, ".*"))
	if err != nil {
		return nil, "", fmt.Errorf("name.matches: %w", err)
	}
	groups := re.NumSubexp()
	if n.As == "" && groups > 1 {
		return nil, "", fmt.Errorf("name.matches %s has %d groups: say in name.as which make the metric's name", quoted(n.Matches), groups)
	}
	return re, cmp.Or(n.As, fmt.Sprintf("$%d", groups)), nil
}

// MetricName returns the name of the metric that the rule makes of a series of a name and
// type, and whether it takes the series at all.
func (c *Compiled) MetricName(series string, typ model.MetricType) (string, bool) {
	if c.ByDefault() && isCounter(series, typ) != (c.Config.only == countersOnly) {
		return "", false
	}
	called := series
	if !model.LegacyValidation.IsValidMetricName(series) {
		switch {
		case c.ByDefault():
			called = model.EscapeName(series, model.UnderscoreEscaping)
		case !c.quotesNames:
			return "", false
		}
	}
	if !MatchesName(OnName(c.Matchers), series) || !c.passes(series) {
		return "", false
	}
	at := c.matches.FindStringSubmatchIndex(called)
	if at == nil {
		return "", false
	}
	name := string(c.matches.ExpandString(nil, c.as, called, at))
	return name, name != ""
}

// passes reports whether a series name passes seriesFilters.
func (c *Compiled) passes(series string) bool {
	return !slices.ContainsFunc(c.filters, func(f nameFilter) bool { return f.re.MatchString(series) != f.want })
}
