package adapter

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/promlet/promlet/adapter/autoscalers"
	"github.com/promlet/promlet/adapter/catalog"
	"github.com/promlet/promlet/adapter/demand"
	"github.com/promlet/promlet/adapter/engine"
	"github.com/promlet/promlet/adapter/explain"
	"github.com/promlet/promlet/adapter/objects"
	"github.com/promlet/promlet/adapter/resourcemetrics"
	"github.com/promlet/promlet/adapter/resourcemetrics/queried"
	"github.com/promlet/promlet/adapter/rules"
	"github.com/promlet/promlet/adapter/values"
	"github.com/promlet/promlet/tsdb"
)

// Options of a Provider.
type Options struct {
	// DB holds the series. Required without Engine.
	DB Database
	// Engine is an engine behind a URL. It answers requests for metrics without series in DB; without DB it answers
	// all. The caller calls its Run. It may be nil.
	Engine *engine.Engine
	// Objects gives the current objects. Required: values are for objects that exist.
	Objects objects.Lister
	// Mapper resolves resources; nil is objects.BuiltinMapper. One that can be reset is
	// reset, at most every half minute, when a resource is unknown.
	Mapper meta.RESTMapper
	// Rules map series to metrics; SetRules replaces them.
	Rules rules.Set
	// ResourceMetrics says that metrics.k8s.io is served, so that Rules.Resource have an effect. False: they are only
	// checked.
	ResourceMetrics bool
	// KubeletsJob is the name of the job that scrapes /metrics/resource of kubelets. The caller stores the series that
	// Demand.OfKubelets reports. Empty: there is no such job.
	KubeletsJob string
	// Exposed returns the series names that targets expose, and a version that changes
	// with them; nil names when the version is still the known one. Their metrics are
	// listed, and can be asked for, before anything of them is stored. It may be nil.
	Exposed func(known uint64) (names []catalog.Exposed, version uint64)
	// Resources gives what pods and nodes use as kubelets report it. Nil: kubelets are not scraped.
	Resources resourcemetrics.Source
	// Explain is for explanations of what is missing.
	Explain explain.Options
	// Demand is about who reads what; see Provider.Demand.
	Demand demand.Options
	// Targets returns what is scraped, and a version that changes when any comes or goes;
	// nil when the version is still the known one, which is never 0. It may be nil.
	Targets func(known uint64) (targets []values.Target, version uint64)
	// Source returns where a stored series comes from, as scraping knows; false where it
	// does not. Nil: it is not known of any.
	Source func(series labels.Labels) (tsdb.Source, bool)
	// Ready returns why no value can be right yet, such as before the first scrapes: then none is
	// given, and the error says why. Nil: values are given always.
	Ready func() error
	// Collecting reports whether some targets that expose a series name have not been scraped
	// since it has been wanted: sums of it have no value until they have, for some seconds at
	// most. Nil: that is never so.
	Collecting func(series string) bool
	// Reuse is how old the result of a query on DB may be that answers an equal one. 0: only queries that are asked at
	// the same time share an evaluation.
	Reuse time.Duration
	// Interval is how often series whose source is not known get a sample. One without a
	// sample for two intervals has no value. 0 is 30s.
	Interval time.Duration
	// Logger; nil is silent.
	Logger *slog.Logger
	// Registerer receives the Provider's own metrics, promlet_api_*, promlet_rule* and
	// promlet_demand, until Close. Nil: none are exported. Two Providers need two.
	Registerer prometheus.Registerer
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Database is the interface through which a Provider reads series. *tsdb.DB implements it.
type Database interface {
	storage.Queryable
	values.Querier
}

const defaultInterval = 30 * time.Second

// Provider serves metrics from a tsdb.DB, from an engine behind a URL, or from both.
type Provider struct {
	// Demand knows who reads which series.
	Demand *demand.Tracker
	// Explainer explains answers.
	Explainer *explain.Explainer
	// Autoscalers shows what HPAs are told.
	Autoscalers *autoscalers.Autoscalers
	// Resources gives what pods and nodes use: by Usage if there are resourceRules, otherwise as kubelets report it. Nil:
	// promlet does not serve metrics.k8s.io.
	Resources resourcemetrics.Source
	// Usage gives what pods and nodes use by resourceRules. Without Options.ResourceMetrics it has no queries.
	Usage *queried.Source

	values  *values.Evaluator       // that of DB precedes that of Engine
	engine  *engine.Engine          // nil for none
	rules   atomic.Pointer[ruleSet] // in force
	metrics *metrics

	registerer prometheus.Registerer // nil for none

	resourceMetrics bool // resourceRules have an effect
}

// ruleSet is a configuration of rules in force.
type ruleSet struct {
	rules.Set
	odd []string // warnings about the rules
}

var _ provider.MetricsProvider = (*Provider)(nil)

// NewProvider compiles the rules. The error names every rule that is wrong.
func NewProvider(opts Options) (*Provider, error) {
	if opts.DB == nil && opts.Engine == nil || opts.Objects == nil {
		return nil, errors.New("new provider: Objects, and DB or Engine, are required")
	}
	opts = opts.withDefaults()
	p := &Provider{metrics: newMetrics(), engine: opts.Engine, registerer: opts.Registerer, resourceMetrics: opts.ResourceMetrics}
	p.values = p.evaluators(opts)
	p.Demand = p.values.Demand
	p.Usage = queried.New(p.values, opts.KubeletsJob)
	switch {
	case opts.Resources != nil:
		p.Resources = p.Usage.Or(opts.Resources)
	case opts.ResourceMetrics:
		p.Resources = p.Usage
	}
	opts.Explain.Resources = p.Resources
	p.Explainer = explain.New(opts.Explain, p.values)
	p.Autoscalers = autoscalers.New(p.values, p.Explainer, p.Resources, opts.Logger)
	if err := p.SetRules(opts.Rules); err != nil {
		return nil, err
	}
	if err := p.register(); err != nil {
		return nil, fmt.Errorf("new provider: %w", err)
	}
	return p, nil
}

// Close unregisters the Provider's metrics. The Provider still answers requests. Close twice is fine.
func (p *Provider) Close() {
	if p.registerer != nil {
		p.registerer.Unregister(p.metrics.all)
	}
}

func (opts Options) withDefaults() Options {
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Interval <= 0 {
		opts.Interval = defaultInterval
	}
	if opts.Source == nil {
		opts.Source = func(labels.Labels) (tsdb.Source, bool) { return tsdb.Source{}, false }
	}
	if opts.Ready == nil {
		opts.Ready = func() error { return nil }
	}
	if opts.Collecting == nil {
		opts.Collecting = func(string) bool { return false }
	}
	return opts
}

// evaluators returns the first Evaluator: that of Options.DB, followed by that of Options.Engine, or the only one.
func (p *Provider) evaluators(opts Options) *values.Evaluator {
	common := values.Evaluator{
		Source: opts.Source, Logger: opts.Logger, Now: opts.Now, Ready: opts.Ready, Collecting: opts.Collecting,
		Objects: objects.Reader{Lister: opts.Objects}, Kinds: objects.NewKinds(opts.Mapper, opts.Now), Evaluated: p.metrics.evaluated,
	}
	var remote *values.Evaluator
	if e := opts.Engine; e != nil {
		v := common
		v.Querier, v.Engine = e, e.Name
		v.Catalog = catalog.New(e, e.Exposed, opts.Now)
		v.Targets = &values.Targets{Interval: opts.Interval}
		v.Collecting = func(string) bool { return false }
		v.Ready = func() error { return cmp.Or(opts.Ready(), e.Listed()) }
		v.Demand = demand.New(demand.Options{}, v.Catalog, v.Objects, opts.Logger, opts.Now)
		remote = &v
	}
	if opts.DB == nil {
		return remote
	}
	v := common
	v.Querier, v.DB, v.Next = opts.DB, opts.DB, remote
	v.Shared = &values.Shared{Keep: opts.Reuse, Now: opts.Now}
	v.Catalog = catalog.New(catalog.Stored{Queryable: opts.DB, Now: opts.Now}, opts.Exposed, opts.Now)
	v.Targets = &values.Targets{List: opts.Targets, Interval: opts.Interval}
	v.Demand = demand.New(opts.Demand, v.Catalog, v.Objects, opts.Logger, opts.Now)
	return &v
}

// SetRules replaces the rules; what has been collected stays. The error names every rule
// that is wrong, and then the rules in force stay.
func (p *Provider) SetRules(set rules.Set) error {
	if set.Custom == nil {
		set.Custom = rules.Defaults(rules.DefaultRateWindow)
	}
	compiled, keep, err := set.Compile(p.values.Kinds)
	usage, usageErr := set.Resource.Compile(p.values.Kinds)
	if err := errors.Join(err, usageErr); err != nil {
		return err
	}
	odd := append(rules.Oddities(compiled), set.Resource.Oddities(usage)...)
	if usage != nil && !p.resourceMetrics {
		usage = nil
		odd = append(odd, "resourceRules have no effect: metrics.k8s.io is not served")
	}
	for _, warning := range odd {
		p.values.Logger.Warn("rules", "warning", warning)
	}
	for v := p.values; v != nil; v = v.Next {
		v.Catalog.SetRules(compiled)
	}
	if p.engine != nil {
		p.engine.SetRules(compiled)
	}
	p.Demand.SetKeep(keep)
	p.Usage.SetQueries(usage)
	p.rules.Store(&ruleSet{Set: set, odd: odd})
	return nil
}

// Rules returns those in force. They are shared: read only.
func (p *Provider) Rules() rules.Set { return p.rules.Load().Set }

// Oddities returns warnings about the rules in force.
func (p *Provider) Oddities() []string { return p.rules.Load().odd }
