package reach_test

import (
	"fmt"
	"strings"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/promlet/promlet/discovery"
	"github.com/promlet/promlet/discovery/internal/runtest"
	"github.com/promlet/promlet/discovery/internal/samples"
	"github.com/promlet/promlet/discovery/internal/storetest"
	"github.com/promlet/promlet/discovery/objects"
	"github.com/promlet/promlet/discovery/reach"
)

func parseSelector(t *testing.T, s string) labels.Selector {
	t.Helper()
	sel, err := labels.Parse(s)
	require.NoError(t, err)
	return sel
}

// TestMissReason is about one monitor that does not select the Service.
func TestMissReason(t *testing.T) {
	const service = `
apiVersion: v1
kind: Service
metadata: {name: m, labels: {app: sample-metric-app, tier: web, app.kubernetes.io/name: shop, empty: ""}}`
	f := func(want, spec string) {
		t.Helper()
		for _, mechanism := range []string{"RelabelConfig", "RoleSelector"} {
			r := reachService(t, discovery.Options{}, "m", service, samples.ServiceMonitor(strings.Replace(spec, "{", "{selectorMechanism: "+mechanism+", ", 1)))
			require.Empty(t, r.Monitors)
			require.NotNil(t, r.Nearest)
			require.Equal(t, reach.Miss{Kind: "ServiceMonitor", Namespace: "default", Name: "m", Reason: want}, *r.Nearest, mechanism)
		}
	}
	f(`it wants the label app=sample-metrics-app, the Service has app=sample-metric-app`, `{selector: {matchLabels: {app: sample-metrics-app}}}`)
	f(`it wants the label run=x, which the Service has not`, `{selector: {matchLabels: {run: x}}}`)
	f(`it wants the label layer=web, which the Service has not (it has tier=web)`, `{selector: {matchLabels: {layer: web}}}`)
	f(`it wants the label tiers=x, which the Service has not (it has tier=web)`, `{selector: {matchLabels: {tiers: x}}}`)
	f(`it wants the label empty=x, the Service has empty=""`, `{selector: {matchLabels: {empty: x}}}`)
	f(`it wants the label tier="", the Service has tier=web`, `{selector: {matchLabels: {tier: ""}}}`)
	f(`it wants the label tier in (back, front), the Service has tier=web`, `{selector: {matchExpressions: [{key: tier, operator: In, values: [front, back]}]}}`)
	f(`it wants the label tier=front, the Service has tier=web`, `{selector: {matchExpressions: [{key: tier, operator: In, values: [front]}]}}`)
	f(`it wants the label tier!=web, the Service has tier=web`, `{selector: {matchExpressions: [{key: tier, operator: NotIn, values: [web]}]}}`)
	f(`it wants the label tier not in (a, web), the Service has tier=web`, `{selector: {matchExpressions: [{key: tier, operator: NotIn, values: [web, a]}]}}`)
	f(`it wants a label run, which the Service has not`, `{selector: {matchExpressions: [{key: run, operator: Exists}]}}`)
	f(`it wants a label tire, which the Service has not (it has tier=web)`, `{selector: {matchExpressions: [{key: tire, operator: Exists}]}}`)
	f(`it wants no label tier, the Service has tier=web`, `{selector: {matchExpressions: [{key: tier, operator: DoesNotExist}]}}`)
	f(`it wants the label app=x, the Service has app=sample-metric-app; it wants the label tier=v, the Service has tier=web`,
		`{selector: {matchLabels: {tier: v, app: x}}}`)
	f(`it wants the label a1=1, which the Service has not; it wants the label b2=1, which the Service has not; it wants the label c3=1, which the Service has not; and 2 more`,
		`{selector: {matchLabels: {a1: "1", b2: "1", c3: "1", d4: "1", e5: "1"}}}`)
	f(`its namespaceSelector leaves out namespace default (it names team-a)`, `{namespaceSelector: {matchNames: [team-a]}, selector: {}}`)
	f(`its namespaceSelector leaves out namespace default (it names a, b, c, d, e and 1 more); it wants the label tier=x, the Service has tier=web`,
		`{namespaceSelector: {matchNames: [f, e, d, c, b, a, b]}, selector: {matchLabels: {tier: x}}}`)
	f(`it is rejected: spec.selector: `+selectorError(t, "-"), `{selector: {matchLabels: {"-": x}}}`)

	// By relabelings, names and dots are taken loosely.
	r := reachService(t, discovery.Options{}, "m", service, samples.ServiceMonitor(`{selector: {matchLabels: {app_kubernetes_io_name: sh.p.x}}}`))
	require.Equal(t, `it wants the label app_kubernetes_io_name=sh.p.x, the Service has app_kubernetes_io_name=shop`, r.Nearest.Reason)
}

func selectorError(t *testing.T, key string) string {
	t.Helper()
	_, err := metav1.LabelSelectorAsSelector(&metav1.LabelSelector{MatchLabels: map[string]string{key: "x"}})
	require.Error(t, err)
	return err.Error()
}

// TestNearest is about which of several monitors is told of.
func TestNearest(t *testing.T) {
	const service = `{apiVersion: v1, kind: Service, metadata: {name: checkout, labels: {app: checkout, tier: web}}}`
	wants := func(name, labels string) string {
		return samples.Named("ServiceMonitor", "default", "checkout-"+name, `{selector: {matchLabels: {`+labels+`}}}`)
	}
	f := func(want string, monitors ...string) {
		t.Helper()
		r := reachService(t, discovery.Options{MonitorSelector: parseSelector(t, "team!=blue")}, "checkout", append(monitors, service)...)
		require.Empty(t, r.Monitors)
		if want == "" {
			require.Nil(t, r.Nearest)
			return
		}
		require.NotNil(t, r.Nearest)
		require.Equal(t, "checkout-"+want, r.Nearest.Name, "all of them are called almost like the Service")
	}
	out := func(name, labels string) string {
		return strings.Replace(wants(name, labels), "namespace:", "labels: {team: blue}, namespace:", 1)
	}
	f("")
	f("", samples.Named("ServiceMonitor", "other", "a", `{selector: {matchLabels: {app: checkout}}}`),
		samples.Named("ServiceMonitor", "other", "any", `{namespaceSelector: {any: true}, selector: {matchLabels: {app: chekout}}}`),
		samples.Named("PodMonitor", "default", "pods", `{selector: {matchLabels: {app: chekout}}}`))
	f("b", wants("a", "app: x, tier: v"), wants("b", "app: quite-another-one"))
	f("b", wants("a", "app: search"), wants("b", "app: check-out"), wants("c", "app: cart"))
	f("a", wants("b", "app: cart"), wants("a", "app: cart"))
	f("b", wants("a", "run: checkout"), wants("b", "aps: checkout"))
	f("ns", wants("a", "app: checkou"), samples.Named("ServiceMonitor", "default", "checkout-ns", `{namespaceSelector: {matchNames: [x]}, selector: {}}`))
	f("a", wants("a", "app: another"), samples.Named("ServiceMonitor", "default", "checkout-ns", `{namespaceSelector: {matchNames: [x]}, selector: {matchLabels: {tier: wep}}}`))
	f("b", wants("b", "app: another"), wants("a", "-: x"))
	f("a", wants("b", "app: x, tier: v"), wants("a", "-: x"))
	f("a", out("a", "app: checkout"), wants("b", "app: x"))
	f("b", out("a", "app: checkouts"), wants("b", "app: x"))
	f("a", out("a", "app: checkout"), out("b", "app: chekout"))

	// Of several values the nearest counts.
	f("b", samples.Named("ServiceMonitor", "default", "checkout-a", `{selector: {matchExpressions: [{key: app, operator: In, values: [a, b]}]}}`),
		samples.Named("ServiceMonitor", "default", "checkout-b", `{selector: {matchExpressions: [{key: app, operator: In, values: [a, check]}]}}`))
}

func TestMissOfMonitorsLeftOut(t *testing.T) {
	const service = `
{apiVersion: v1, kind: Namespace, metadata: {name: default, labels: {env: test}}}
---
{apiVersion: v1, kind: Service, metadata: {name: m, labels: {app: x}}}
---
{apiVersion: v1, kind: Pod, metadata: {name: m-a, labels: {app: x}}}`
	fits := samples.ServiceMonitor(`{selector: {matchLabels: {app: x}}}`)
	byLabels := discovery.Options{MonitorSelector: parseSelector(t, "team=blue")}
	r := reachService(t, byLabels, "m", service, fits)
	require.Equal(t, reach.Report{Nearest: &reach.Miss{Kind: "ServiceMonitor", Namespace: "default", Name: "m",
		Reason: "it is not among those that --monitor-selector=team=blue chooses"}}, r)
	r = reachPod(t, byLabels, "m-a", service, samples.PodMonitor(`{selector: {matchLabels: {app: v}}}`))
	require.Equal(t, reach.Report{Nearest: &reach.Miss{Kind: "PodMonitor", Namespace: "default", Name: "m",
		Reason: "it is not among those that --monitor-selector=team=blue chooses; it wants the label app=v, the pod has app=x"}}, r)

	r = reachService(t, discovery.Options{MonitorNamespaceSelector: parseSelector(t, "env in (prod,stage)")}, "m", service, fits)
	require.Equal(t, "its namespace is not among those that --monitor-namespace-selector=env in (prod,stage) chooses", r.Nearest.Reason)

	// Inline monitors always count.
	opts := byLabels
	opts.ServiceMonitors = []*monitoringv1.ServiceMonitor{storetest.Monitor(t, samples.ServiceMonitor(`{selector: {matchLabels: {app: z}}}`))}
	r = reachService(t, opts, "m", service, strings.Replace(samples.ServiceMonitor(`{selector: {matchLabels: {app: v}}}`), "name: m", "name: other", 1))
	require.Equal(t, reach.Report{Counted: 1, Nearest: &reach.Miss{Kind: "ServiceMonitor", Namespace: "default", Name: "m",
		Reason: "it wants the label app=z, the Service has app=x"}}, r)
}

// TestMissOfUndecodableMonitor: nobody knows what it selects, so it selects nothing.
func TestMissOfUndecodableMonitor(t *testing.T) {
	o := storetest.Load(t, samples.Web, samples.Apps)
	for _, namespace := range []string{"default", "other"} {
		require.NoError(t, storetest.PodMonitors(o).Add(&monitoringv1.PodMonitor{ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: "broken", Annotations: map[string]string{objects.UndecodableAnnotation: "decode: no way"},
		}}))
	}
	d := discovery.New(o, discovery.Options{})
	runtest.Resolve(t, d)
	require.Equal(t, reach.Report{Counted: 1, Nearest: &reach.Miss{Kind: "PodMonitor", Namespace: "default", Name: "broken", Reason: "it is rejected: decode: no way"}},
		d.ReachPod("default", "a"))
}

// TestNotNear: a monitor that has nothing in common with the Service is not named.
func TestNotNear(t *testing.T) {
	const service = `{apiVersion: v1, kind: Service, metadata: {name: worker, labels: {app: worker, tier: web}}}`
	f := func(near bool, name, spec string) {
		t.Helper()
		r := reachService(t, discovery.Options{}, "worker", service, samples.Named("ServiceMonitor", "default", name, spec))
		if near {
			require.NotNil(t, r.Nearest)
			require.Empty(t, r.Labels)
			return
		}
		require.Equal(t, reach.Report{Counted: 1, Labels: "app=worker, tier=web"}, r)
	}
	f(false, "orders", `{selector: {matchLabels: {app: orders}}}`)
	f(false, "orders", `{selector: {matchLabels: {run: orders}}}`)
	f(true, "orders", `{selector: {matchLabels: {app: workers}}}`)
	f(true, "orders", `{selector: {matchLabels: {run: worker}}}`)
	f(true, "orders", `{selector: {matchLabels: {app: orders, tier: web}}}`)
	f(true, "workers", `{selector: {matchLabels: {app: orders}}}`)
}

// TestNearestAmongMany: what comes after the bound on letters compared still has a say
// by its number of differences.
func TestNearestAmongMany(t *testing.T) {
	texts := []string{`{apiVersion: v1, kind: Service, metadata: {name: s, labels: {app: checkout}}}`}
	for i := range reach.MaxMeasured + 10 {
		texts = append(texts, samples.Named("ServiceMonitor", "default", fmt.Sprintf("m%03d", i), `{selector: {matchLabels: {app: chekout, tier: x}}}`))
	}
	r := reachService(t, discovery.Options{}, "s", texts...)
	require.Equal(t, "m000", r.Nearest.Name)
	r = reachService(t, discovery.Options{}, "s", append(texts, samples.Named("ServiceMonitor", "default", "z", `{selector: {matchLabels: {app: chekout}}}`))...)
	require.Equal(t, "z", r.Nearest.Name)
}
