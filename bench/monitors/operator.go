package monitors

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/prometheus-operator/prometheus-operator/pkg/assets"
	"github.com/prometheus-operator/prometheus-operator/pkg/operator"
	operatorprom "github.com/prometheus-operator/prometheus-operator/pkg/prometheus"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/config"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/cache"
)

// The Prometheus object that the operator is given. Its interval is promlet's
// default too.
const (
	prometheusName      = "oracle"
	prometheusNamespace = "default"
	scrapeInterval      = "30s"
)

// operatorView is what the operator makes of the monitors of a Cluster.
type operatorView struct {
	cluster *Cluster
	logger  *slog.Logger

	prometheus *monitoringv1.Prometheus
	generator  *operatorprom.ConfigGenerator
	store      *assets.StoreBuilder
	assets     *assetFiles // once monitors have been selected

	configs  []*config.ScrapeConfig
	rejected map[string]string // as in Result
	guessed  map[string]bool   // by job: its role, see forRole
}

// render gives the scrape configurations of all monitors that count, as Prometheus
// loads them, and the monitors that are rejected.
func (c *Cluster) render(ctx context.Context) (*operatorView, error) {
	var credentials []runtime.Object
	for _, s := range c.Secrets {
		credentials = append(credentials, s)
	}
	for _, m := range c.ConfigMaps {
		credentials = append(credentials, m)
	}
	client := fake.NewClientset(credentials...).CoreV1()
	o := &operatorView{
		cluster: c, logger: slog.New(slog.DiscardHandler), prometheus: c.Settings.prometheus(),
		store:    assets.NewStoreBuilder(client, client),
		rejected: map[string]string{}, guessed: map[string]bool{},
	}
	var err error
	o.generator, err = operatorprom.NewConfigGenerator(o.logger, o.prometheus, operatorprom.WithEndpointSliceSupport())
	if err != nil {
		return nil, fmt.Errorf("make config generator: %w", err)
	}
	selector, err := o.selector()
	if err != nil {
		return nil, err
	}
	services, err := selector.SelectServiceMonitors(ctx, lister(c.ServiceMonitors))
	if err != nil {
		return nil, fmt.Errorf("select service monitors: %w", err)
	}
	pods, err := selector.SelectPodMonitors(ctx, lister(c.PodMonitors))
	if err != nil {
		return nil, fmt.Errorf("select pod monitors: %w", err)
	}
	o.assets = &assetFiles{files: o.store.TLSAssets(), secrets: c.Secrets}
	for _, key := range sortedKeys(services) {
		m := services[key]
		sm, guessed := forRole(m.Resource())
		loaded := o.load(monitorKey(monitoringv1.ServiceMonitorsKind, sm.Namespace, sm.Name), m.Conditions()[0], refusedServiceMonitor(sm),
			map[string]*monitoringv1.ServiceMonitor{key: sm}, nil)
		for _, cfg := range loaded {
			o.guessed[cfg.JobName] = guessed
		}
	}
	for _, key := range sortedKeys(pods) {
		m := pods[key]
		pm := m.Resource()
		o.load(monitorKey(monitoringv1.PodMonitorsKind, pm.Namespace, pm.Name), m.Conditions()[0], refusedPodMonitor(pm),
			nil, map[string]*monitoringv1.PodMonitor{key: pm})
	}
	return o, nil
}

// selector is what checks monitors.
func (o *operatorView) selector() (*operatorprom.ResourceSelector, error) {
	known := map[string]*corev1.Namespace{}
	for _, ns := range o.cluster.Namespaces {
		known[ns.Name] = ns
	}
	// No object is in a namespace that does not exist.
	add := func(m *metav1.ObjectMeta) {
		if known[m.Namespace] == nil {
			known[m.Namespace] = &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: m.Namespace}}
		}
	}
	for _, m := range o.cluster.ServiceMonitors {
		add(&m.ObjectMeta)
	}
	for _, m := range o.cluster.PodMonitors {
		add(&m.ObjectMeta)
	}
	var all []*corev1.Namespace
	for _, ns := range known {
		all = append(all, ns)
	}
	namespaces, err := inNamespace(all, "", labels.Everything())
	if err != nil {
		return nil, err
	}
	// The recorder blocks when it is full.
	recorder := operator.NewFakeRecorder(len(o.cluster.ServiceMonitors)+len(o.cluster.PodMonitors)+1, o.prometheus)
	s, err := operatorprom.NewResourceSelector(o.logger, o.prometheus, o.store, namespaces,
		operator.NewMetrics(prometheus.NewRegistry()), recorder)
	if err != nil {
		return nil, fmt.Errorf("make resource selector: %w", err)
	}
	return s, nil
}

// prometheus is the Prometheus object that says the same as the Settings.
func (s *Settings) prometheus() *monitoringv1.Prometheus {
	p := &monitoringv1.Prometheus{ObjectMeta: metav1.ObjectMeta{Name: prometheusName, Namespace: prometheusNamespace}}
	p.Spec.Version = operator.DefaultPrometheusVersion
	p.Spec.ScrapeInterval = scrapeInterval
	p.Spec.EvaluationInterval = scrapeInterval
	role := monitoringv1.EndpointSliceRole
	p.Spec.ServiceDiscoveryRole = &role
	p.Spec.ArbitraryFSAccessThroughSMs.Deny = !s.FileAccess
	orAll := func(sel *metav1.LabelSelector) *metav1.LabelSelector {
		if sel == nil {
			return &metav1.LabelSelector{}
		}
		return sel.DeepCopy()
	}
	p.Spec.ServiceMonitorSelector, p.Spec.PodMonitorSelector = orAll(s.MonitorSelector), orAll(s.MonitorSelector)
	p.Spec.ServiceMonitorNamespaceSelector = orAll(s.MonitorNamespaceSelector)
	p.Spec.PodMonitorNamespaceSelector = orAll(s.MonitorNamespaceSelector)
	p.Spec.IgnoreNamespaceSelectors = s.IgnoreNamespaceSelectors
	if s.Shards > 0 {
		p.Spec.Shards = &s.Shards
	}
	if s.EnforceNamespaceLabel {
		p.Spec.EnforcedNamespaceLabel = "namespace"
	}
	for _, namespace := range s.ExemptNamespaces {
		for _, resource := range []string{monitoringv1.ServiceMonitorName, monitoringv1.PodMonitorName} {
			p.Spec.ExcludedFromEnforcement = append(p.Spec.ExcludedFromEnforcement,
				monitoringv1.ObjectReference{Group: monitoringv1.SchemeGroupVersion.Group, Resource: resource, Namespace: namespace})
		}
	}
	return p
}

// lister lists as the operator's informers do.
func lister[T metav1.Object](monitors []T) operatorprom.ListAllByNamespaceFn {
	return func(namespace string, selector labels.Selector, add cache.AppendFunc) error {
		for _, m := range monitors {
			if m.GetNamespace() == namespace && selector.Matches(labels.Set(m.GetLabels())) {
				add(m)
			}
		}
		return nil
	}
}

// load renders one monitor alone, for one that Prometheus refuses would take all
// others with it. refused is why the API server does not let the monitor in, if so.
func (o *operatorView) load(
	name string, accepted monitoringv1.ConfigResourceCondition, refused error,
	services map[string]*monitoringv1.ServiceMonitor, pods map[string]*monitoringv1.PodMonitor,
) []*config.ScrapeConfig {
	if accepted.Status != monitoringv1.ConditionTrue {
		o.rejected[name] = "operator: " + accepted.Message
		return nil
	}
	if refused != nil {
		o.rejected[name] = "API server: " + refused.Error()
		return nil
	}
	configs, err := o.scrapeConfigs(services, pods)
	if err != nil {
		o.rejected[name] = "Prometheus: " + err.Error()
		return nil
	}
	o.configs = append(o.configs, configs...)
	return configs
}

func (o *operatorView) scrapeConfigs(
	services map[string]*monitoringv1.ServiceMonitor, pods map[string]*monitoringv1.PodMonitor,
) ([]*config.ScrapeConfig, error) {
	text, err := o.generator.GenerateServerConfiguration(o.prometheus, services, pods, nil, nil, o.store, nil, nil, nil, nil)
	if err != nil {
		return nil, fmt.Errorf("generate configuration: %w", err)
	}
	// The configuration reloader puts the shard's number in.
	cfg, err := config.Load(strings.ReplaceAll(string(text), "$(SHARD)", fmt.Sprint(o.cluster.Settings.Shard)), o.logger)
	if err != nil {
		return nil, fmt.Errorf("load configuration: %w", err)
	}
	for _, sc := range cfg.ScrapeConfigs {
		if err := inlineAssets(&sc.HTTPClientConfig, o.assets); err != nil {
			return nil, err
		}
		if err := clientError(sc.HTTPClientConfig); err != nil {
			return nil, err
		}
	}
	return cfg.ScrapeConfigs, nil
}
