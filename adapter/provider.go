package adapter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apilabels "k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/metrics/pkg/apis/custom_metrics"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/promlet/promlet/tsdb"
)

// Options of a Provider.
type Options struct {
	// DB holds the series. Required.
	DB *tsdb.DB
	// Objects gives the current objects. Required: values are for objects
	// that exist.
	Objects Lister
	// Mapper resolves resources; nil is BuiltinMapper. One that can be reset
	// is reset, at most every half minute, when a resource is unknown.
	Mapper meta.RESTMapper
	// Rules map series to metrics; SetRules replaces them.
	Rules Rules
	// Exposed returns the series names that targets expose, and a version that
	// changes with them; nil names when the version is still the known one. Their
	// metrics are listed, and can be asked for, before anything of them is stored.
	// It may be nil.
	Exposed func(known uint64) (names []Exposed, version uint64)
	// Explaining is for explanations of what is missing.
	Explaining Explaining
	// Demand is about who reads what; see Provider.RunDemand.
	Demand DemandOptions
	// Targets returns what is scraped, and a version that changes when any comes or
	// goes; nil when the version is still the known one, which is never 0. It may be
	// nil.
	Targets func(known uint64) (targets []Target, version uint64)
	// Source returns where a stored series comes from, as scraping knows; false where
	// it does not. Nil: it is not known of any.
	Source func(series labels.Labels) (tsdb.Source, bool)
	// Interval is that of series whose source is not known: how often they get a
	// sample. One without a sample for two intervals has no value. 0 is 30s.
	Interval time.Duration
	// Logger gets what nobody else is told; nil is silent.
	Logger *slog.Logger
	// Registerer receives the Provider's own metrics, promlet_api_*, promlet_rule*
	// and promlet_demand, for good. Nil: none are exported. Two Providers need two.
	Registerer prometheus.Registerer
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// DefaultRateWindow smooths over a load's bursts and still follows it within
// the two minutes in which an HPA should have acted.
const DefaultRateWindow = 2 * time.Minute

const defaultInterval = 30 * time.Second

// Provider serves custom metrics out of a tsdb.DB. It implements
// provider.CustomMetricsProvider of custom-metrics-apiserver and is safe for
// concurrent use.
type Provider struct {
	db      *tsdb.DB
	catalog *catalog
	objects objects
	kinds   *kinds
	demand  *demand
	scrapes *scrapes
	source  func(series labels.Labels) (tsdb.Source, bool)
	history history
	rules   atomic.Pointer[Rules] // in force
	logger  *slog.Logger
	now     func() time.Time
	metrics *metrics

	explaining Explaining
}

var _ provider.CustomMetricsProvider = (*Provider)(nil)

// NewProvider compiles the rules. The error names every rule that is wrong.
func NewProvider(opts Options) (*Provider, error) {
	if opts.DB == nil || opts.Objects == nil {
		return nil, errors.New("new provider: DB and Objects are required")
	}
	p := &Provider{
		db:      opts.DB,
		objects: objects{lister: opts.Objects},
		logger:  opts.Logger,
		now:     opts.Now,

		explaining: opts.Explaining,
	}
	if p.logger == nil {
		p.logger = slog.New(slog.DiscardHandler)
	}
	if p.now == nil {
		p.now = time.Now
	}
	if opts.Interval <= 0 {
		opts.Interval = defaultInterval
	}
	p.scrapes = &scrapes{list: opts.Targets, interval: opts.Interval}
	if p.source = opts.Source; p.source == nil {
		p.source = func(labels.Labels) (tsdb.Source, bool) { return tsdb.Source{}, false }
	}
	if opts.Mapper == nil {
		opts.Mapper = BuiltinMapper()
	}
	p.kinds = &kinds{mapper: opts.Mapper, now: p.now}
	p.catalog = &catalog{queryable: opts.DB, exposed: opts.Exposed, now: p.now}
	p.demand = newDemand(opts.Demand, p.logger, p.now)
	if err := p.SetRules(opts.Rules); err != nil {
		return nil, err
	}
	var err error
	if p.metrics, err = newMetrics(opts.Registerer, p); err != nil {
		return nil, fmt.Errorf("new provider: %w", err)
	}
	return p, nil
}

// GetMetricByName returns the value of a metric for one object: 404 with the
// reason when there is none, 500 when it cannot be computed.
func (p *Provider) GetMetricByName(ctx context.Context, name types.NamespacedName, info provider.CustomMetricInfo, sel apilabels.Selector) (*custom_metrics.MetricValue, error) {
	object := fmt.Sprintf("%s %s", info.GroupResource, name.Name)
	start := time.Now()
	value, err := p.byName(ctx, name, info, sel)
	p.metrics.answered(customAPI, start, answerOf(err))
	if err != nil {
		return nil, apiStatus(err, info.Metric, object)
	}
	p.metrics.valueOf(customAPI, p.now().Sub(value.Timestamp.Time))
	return value, nil
}

func (p *Provider) byName(ctx context.Context, name types.NamespacedName, info provider.CustomMetricInfo, sel apilabels.Selector) (*custom_metrics.MetricValue, error) {
	req, err := p.request(info, name.Namespace, sel)
	if err != nil {
		return nil, err
	}
	if err := req.own(name.Name); err != nil {
		return nil, err
	}
	gone, err := p.objects.missing(req.kind, req.namespace, name.Name)
	if err != nil {
		return nil, err
	}
	req.names = []string{name.Name}
	if gone {
		return nil, p.why(ctx, req, name.Name, absentAs(answerNoObject, "there is no such object%s", inNamespace(req.namespace)))
	}
	values, err := p.evaluate(ctx, req)
	if err != nil {
		return nil, p.why(ctx, req, name.Name, err)
	}
	v, ok := values[name.Name]
	if !ok {
		return nil, absentAs(answerNoSamples, "no value")
	}
	if v.err != nil {
		return nil, absentAs(answerNotANumber, "%v", v.err)
	}
	return req.answer(name.Name, v), nil
}

// GetMetricBySelector returns the values of a metric for the objects that a
// selector picks: those that have one. Picking no object is 404; picking some
// of which none has a value is an empty list.
func (p *Provider) GetMetricBySelector(ctx context.Context, namespace string, selector apilabels.Selector, info provider.CustomMetricInfo, sel apilabels.Selector) (*custom_metrics.MetricValueList, error) {
	start := time.Now()
	list, none, err := p.bySelector(ctx, namespace, selector, info, sel)
	p.metrics.answered(customAPI, start, answerOf(errors.Join(none, err)))
	if err != nil {
		return nil, apiStatus(err, info.Metric, info.GroupResource.String())
	}
	for i := range list.Items {
		p.metrics.valueOf(customAPI, p.now().Sub(list.Items[i].Timestamp.Time))
	}
	return list, nil
}

// bySelector also says why a list is empty: that is no error.
func (p *Provider) bySelector(ctx context.Context, namespace string, selector apilabels.Selector, info provider.CustomMetricInfo, sel apilabels.Selector) (list *custom_metrics.MetricValueList, none, err error) {
	req, err := p.request(info, namespace, sel)
	if err != nil {
		return nil, nil, err
	}
	if req.names, err = p.picked(req, selector); err != nil {
		return nil, nil, err
	}
	if len(req.names) == 0 {
		return nil, nil, absentAs(answerNoObject, "the selector %q matches no %s%s", selector, req.kind.GroupResource, inNamespace(req.namespace))
	}
	list = &custom_metrics.MetricValueList{Items: make([]custom_metrics.MetricValue, 0, len(req.names))}
	values, err := p.evaluate(ctx, req)
	var gone *absence
	if err != nil && (!errors.As(err, &gone) || gone.unknownMetric || gone.starting) {
		all := req.names
		req.names = all[:1]
		return nil, nil, p.why(ctx, req, all[0], err)
	}
	if none = err; none == nil {
		none = absentAs(answerNotANumber, "no value")
	}
	for _, name := range req.names {
		switch v, ok := values[name]; {
		case !ok:
		case v.err != nil:
			p.logger.Debug("no value", "metric", info.Metric, "resource", req.kind.GroupResource, "name", name, "reason", v.err)
		default:
			list.Items = append(list.Items, *req.answer(name, v))
		}
	}
	if len(list.Items) > 0 {
		none = nil
	}
	return list, none, nil
}

// ListAllMetrics returns every metric that a request could ask for now. It
// never fails: what cannot be read anew is answered as it was last.
func (p *Provider) ListAllMetrics() []provider.CustomMetricInfo {
	return p.list().custom
}

func (p *Provider) list() *listing {
	listed, err := p.catalog.list()
	if err != nil {
		p.logger.Warn("answering discovery from the last list of metrics", "err", err)
	}
	return listed
}

// Shadowed tells of metrics that several rules make for the same objects out of series
// that there are: only one of them answers.
func (p *Provider) Shadowed() []string { return p.list().shadows }

// request is what is asked, with its resource resolved.
type request struct {
	kind      kind
	namespace string // "" for a cluster-scoped kind
	through   string // the namespace that it was asked for in, "" for none
	names     []string
	metric    metricKey
	matchers  []matcher
	selector  *metav1.LabelSelector // as asked for, nil when empty
}

func (p *Provider) request(info provider.CustomMetricInfo, namespace string, sel apilabels.Selector) (request, error) {
	k, err := p.kinds.resolve(info.GroupResource)
	if err != nil {
		return request{}, err
	}
	if k.Namespaced && namespace == "" {
		return request{}, absentAs(answerRefused, "%s are namespaced: ask under namespaces/NAMESPACE/%s", k.GroupResource, k.GroupResource)
	}
	req := request{kind: k, namespace: namespace, through: namespace, metric: metricKey{customAPI, info.Metric}}
	if !k.Namespaced {
		// The HPA asks for nodes through its own namespace.
		req.namespace = ""
	}
	if req.matchers, err = selectorMatchers(sel); err != nil {
		return request{}, err
	}
	req.selector = labelSelector(sel)
	return req, nil
}

// own refuses what is about another namespace than the one asked in: whoever may ask
// there need not know of it.
func (r request) own(name string) error {
	if r.kind.GroupResource == namespaceResource && r.through != "" && r.through != name {
		return absentAs(answerRefused, "namespace %s tells nothing about others: ask under namespaces/%s/metrics", r.through, name)
	}
	return nil
}

// picked returns the names of the objects that a selector picks.
func (p *Provider) picked(req request, selector apilabels.Selector) ([]string, error) {
	names, err := p.objects.names(req.kind, req.namespace, selector)
	return slices.DeleteFunc(names, func(name string) bool { return req.own(name) != nil }), err
}

func (r request) answer(name string, v value) *custom_metrics.MetricValue {
	apiVersion, kindName := r.kind.GVK.ToAPIVersionAndKind()
	return &custom_metrics.MetricValue{
		DescribedObject: custom_metrics.ObjectReference{
			APIVersion: apiVersion,
			Kind:       kindName,
			Namespace:  r.namespace,
			Name:       name,
		},
		Metric:        custom_metrics.MetricIdentifier{Name: r.metric.name, Selector: r.selector},
		Timestamp:     metav1.NewTime(v.last),
		WindowSeconds: v.windowSeconds(),
		Value:         v.quantity,
	}
}

func inNamespace(namespace string) string {
	if namespace == "" {
		return ""
	}
	return " in namespace " + namespace
}
