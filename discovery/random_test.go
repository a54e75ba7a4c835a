package discovery

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/promlet/promlet/discovery/internal/storetest"
	"github.com/promlet/promlet/discovery/objects"
)

// random picks at random.
type random struct{ *rand.Rand }

func pick[T any](r random, from ...T) T { return from[r.IntN(len(from))] }

// labels gives each label a value or leaves it out.
func (r random) labels(names ...string) map[string]string {
	out := map[string]string{}
	for _, name := range names {
		if r.IntN(2) == 0 {
			out[name] = pick(r, "a", "b", "a.b", "a-b", "", "web")
		}
	}
	return out
}

// labelNames are those that objects have; some are names that targets use.
func (random) labelNames() []string {
	return []string{"app", "tier", "app.kubernetes.io/name", "job", "endpoint", "pod", "instance"}
}

func (r random) list(from ...string) []string {
	var out []string
	for range r.IntN(3) {
		out = append(out, pick(r, from...))
	}
	return out
}

func (r random) selector() metav1.LabelSelector {
	var s metav1.LabelSelector
	if r.IntN(3) == 0 {
		s.MatchLabels = map[string]string{pick(r, "app", "tier", "app_kubernetes_io_name"): pick(r, "a", "a.b", "", "web")}
	}
	for range r.IntN(2) {
		e := metav1.LabelSelectorRequirement{
			Key: pick(r, "app", "tier", "app.kubernetes.io/name"),
			Operator: pick(r, metav1.LabelSelectorOpIn, metav1.LabelSelectorOpNotIn,
				metav1.LabelSelectorOpExists, metav1.LabelSelectorOpDoesNotExist),
		}
		if e.Operator == metav1.LabelSelectorOpIn || e.Operator == metav1.LabelSelectorOpNotIn {
			e.Values = pick(r, []string{"a"}, []string{"a.b", "b"}, []string{""})
		}
		s.MatchExpressions = append(s.MatchExpressions, e)
	}
	return s
}

func (r random) namespaces() monitoringv1.NamespaceSelector {
	return pick(r, monitoringv1.NamespaceSelector{}, monitoringv1.NamespaceSelector{Any: true}, monitoringv1.NamespaceSelector{Any: true},
		monitoringv1.NamespaceSelector{MatchNames: []string{"shop", "default", "shop"}})
}

func (r random) relabelings() []monitoringv1.RelabelConfig {
	text := func(s string) *string { return &s }
	names := func(l ...monitoringv1.LabelName) []monitoringv1.LabelName { return l }
	var out []monitoringv1.RelabelConfig
	for range r.IntN(3) {
		out = append(out, pick(r,
			monitoringv1.RelabelConfig{Action: "LabelMap", Regex: "__meta_kubernetes_(endpointslice|pod|service|node|namespace)(.*)", Replacement: text("z$1$2")},
			monitoringv1.RelabelConfig{SourceLabels: names("__meta_kubernetes_pod_node_name"), TargetLabel: "node"},
			monitoringv1.RelabelConfig{SourceLabels: names("__tmp_prometheus_job_name", "service", "endpoint", "pod"), Separator: text("/"), TargetLabel: "all"},
			monitoringv1.RelabelConfig{SourceLabels: names("__address__", "__scheme__", "__metrics_path__", "__param_z"), TargetLabel: "url", Action: "replace"},
			monitoringv1.RelabelConfig{SourceLabels: names("container"), Regex: "c.*", Action: "Keep"},
			monitoringv1.RelabelConfig{SourceLabels: names("__meta_kubernetes_pod_ip"), Regex: "(.+)", TargetLabel: "__address__", Replacement: text("$1:99")},
			monitoringv1.RelabelConfig{Regex: "pod|service", Action: "labeldrop"},
			monitoringv1.RelabelConfig{SourceLabels: names("pod"), TargetLabel: "job", Action: "uppercase"},
			monitoringv1.RelabelConfig{TargetLabel: "container", Replacement: text("")},
		))
	}
	return out
}

func (r random) targetPort() *intstr.IntOrString {
	number, name, zero := intstr.FromInt32(9090), intstr.FromString("metrics"), intstr.FromInt32(0)
	return pick(r, nil, &number, &name, &zero)
}

func (r random) attach() *monitoringv1.AttachMetadata {
	yes := true
	return pick(r, nil, &monitoringv1.AttachMetadata{}, &monitoringv1.AttachMetadata{Node: &yes})
}

func (r random) filter() *bool {
	yes, no := true, false
	return pick(r, nil, &yes, &no)
}

// randomCluster makes objects that refer to one another, mostly.
func randomCluster(t *testing.T, rnd *rand.Rand) *objects.Store {
	r := random{rnd}
	o := objects.NewStore()
	t.Helper()
	r.addObjects(t, o)
	for i := range 2 {
		m := &monitoringv1.ServiceMonitor{ObjectMeta: metav1.ObjectMeta{Namespace: pick(r, "default", "shop"), Name: fmt.Sprint("m", i)}}
		role := monitoringv1.EndpointSliceRole
		m.Spec = monitoringv1.ServiceMonitorSpec{
			Selector: r.selector(), NamespaceSelector: r.namespaces(), AttachMetadata: r.attach(),
			JobLabel:             pick(r, "", "app", "app_kubernetes_io_name"),
			TargetLabels:         r.list(append(r.labelNames(), "nope", "app_kubernetes_io_name")...),
			PodTargetLabels:      r.list(append(r.labelNames(), "nope")...),
			ServiceDiscoveryRole: &role,
		}
		for range r.IntN(2) + 1 {
			m.Spec.Endpoints = append(m.Spec.Endpoints, monitoringv1.Endpoint{
				Port: pick(r, "", "http", "metrics", "m.*"), TargetPort: r.targetPort(), FilterRunning: r.filter(),
				RelabelConfigs: r.relabelings(), Params: map[string][]string{"z": {"1", "2"}},
			})
		}
		_ = storetest.ServiceMonitors(o).Add(m)
	}
	for i := range 2 {
		m := &monitoringv1.PodMonitor{ObjectMeta: metav1.ObjectMeta{Namespace: pick(r, "default", "shop"), Name: fmt.Sprint("m", i)}}
		m.Spec = monitoringv1.PodMonitorSpec{
			Selector: r.selector(), NamespaceSelector: r.namespaces(), AttachMetadata: r.attach(),
			JobLabel: pick(r, "", "app", "app_kubernetes_io_name"), PodTargetLabels: r.list(append(r.labelNames(), "nope")...),
		}
		name, number := pick(r, "http", "metrics", "m.*", ""), int32(9090)
		for range r.IntN(2) + 1 {
			m.Spec.PodMetricsEndpoints = append(m.Spec.PodMetricsEndpoints, monitoringv1.PodMetricsEndpoint{
				Port: pick(r, nil, &name), PortNumber: pick(r, nil, nil, &number), FilterRunning: r.filter(), RelabelConfigs: r.relabelings(),
				TargetPort: r.targetPort(), //nolint:staticcheck // deprecated, and in wide use
			})
		}
		_ = storetest.PodMonitors(o).Add(m)
	}
	return o
}

// addObjects adds nodes, pods, Services and EndpointSlices.
func (r random) addObjects(t *testing.T, o *objects.Store) {
	text := func() string {
		var b strings.Builder
		for i := range 3 {
			fmt.Fprintf(&b, "---\n{apiVersion: v1, kind: Node, metadata: {name: n%d, labels: %s}}\n", i, flow(r.labels("zone", "rack")))
		}
		containers := 0
		container := func() string {
			containers++
			ports := []string{}
			for range r.IntN(3) {
				ports = append(ports, fmt.Sprintf("{name: %q, containerPort: %d, protocol: %s}",
					pick(r, "", "http", "metrics", "web"), pick(r, 80, 8080, 9090), pick(r, "TCP", "UDP")))
			}
			return fmt.Sprintf("{name: c%d, image: i, ports: [%s]}", containers, strings.Join(ports, ", "))
		}
		for i := range 5 {
			fmt.Fprintf(&b, "---\n{apiVersion: v1, kind: Pod, metadata: {name: p%d, namespace: %s, labels: %s}, spec: {nodeName: %q, containers: [%s, %s], initContainers: [%s]}, status: {podIP: %q, phase: %s}}\n",
				i, pick(r, "default", "shop"), flow(r.labels(r.labelNames()...)), pick(r, "n0", "n1", "gone", ""), container(), container(), container(),
				pick(r, fmt.Sprint("10.0.0.", i), fmt.Sprint("fd00::", i), ""), pick(r, "Running", "Running", "Pending", "Failed", "Succeeded"))
		}
		for i := range 3 {
			fmt.Fprintf(&b, "---\n{apiVersion: v1, kind: Service, metadata: {name: s%d, namespace: %s, labels: %s}, spec: {%s}}\n",
				i, pick(r, "default", "shop"), flow(r.labels(r.labelNames()...)), pick(r, "", "", "ipFamilyPolicy: PreferDualStack, ipFamilies: [IPv4, IPv6]"))
		}
		return b.String()
	}
	base := text()
	storetest.Fill(t, o, base)
	storetest.Fill(t, o, base, r.endpointSlices(o))
}

func (r random) endpointSlices(o *objects.Store) string {
	var b strings.Builder
	services, pods := slices.Sorted(slices.Values(storetest.Services(o).ListKeys())), slices.Sorted(slices.Values(storetest.Pods(o).ListKeys()))
	for i := range 4 {
		ns, name, _ := strings.Cut(pick(r, services...), "/")
		fmt.Fprintf(&b, "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: e%d, namespace: %s, labels: {%s: %s}}\naddressType: %s\nports:\n",
			i, ns, discoveryv1.LabelServiceName, name, pick(r, "IPv4", "IPv6"))
		for range r.IntN(3) + 1 {
			fmt.Fprintf(&b, "- {name: %q, port: %d}\n", pick(r, "", "http", "metrics"), pick(r, 80, 8080, 9090))
		}
		b.WriteString("endpoints:\n")
		for range r.IntN(4) {
			pod := pick(r, pods...)
			for strings.Split(pod, "/")[0] != ns && r.IntN(20) > 0 { // references across namespaces do not occur
				pod = pick(r, pods...)
			}
			podNS, podName, _ := strings.Cut(pod, "/")
			if podNS != ns {
				podName = "gone"
			}
			fmt.Fprintf(&b, "- {addresses: [%q], conditions: {%s}%s%s}\n", pick(r, "10.9.9.9", "fd00::9"), pick(r, "", "ready: true", "ready: false, terminating: true"),
				pick(r, "", ", nodeName: n0", ", nodeName: gone"),
				pick(r, "", ", targetRef: {kind: Node, name: n1}", ", targetRef: {kind: Pod, name: "+podName+"}", ", targetRef: {kind: Pod, name: "+podName+"}"))
		}
	}
	return b.String()
}

// flow writes labels as a YAML flow mapping.
func flow(m map[string]string) string {
	var out []string
	for _, key := range slices.Sorted(maps.Keys(m)) {
		out = append(out, fmt.Sprintf("%s: %q", key, m[key]))
	}
	return "{" + strings.Join(out, ", ") + "}"
}
