package discovery

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	promkube "github.com/prometheus/prometheus/discovery/kubernetes"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
	"github.com/prometheus/prometheus/scrape"
	"github.com/stretchr/testify/require"
	yamlv3 "go.yaml.in/yaml/v3"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// TestAgainstPrometheus compares the targets of random monitors in random clusters
// with those that Prometheus comes to in its own way: its service discovery expands
// every endpoint, and relabelings in the order of prometheus-operator 0.93 then
// keep, drop and label them.
func TestAgainstPrometheus(t *testing.T) {
	clusters := 60
	if testing.Short() {
		clusters = 10
	}
	targets := 0
	for seed := range clusters {
		o := randomCluster(rand.New(rand.NewPCG(uint64(seed), 0)))
		d := New(o, Options{})
		configs, groups := resolve(t, d)
		for _, status := range d.Monitors() {
			require.NoError(t, status.Err, "seed %d", seed)
		}
		theirs := expandAll(t, o)
		for job, cfg := range configs {
			var want []string
			if m := get[monitoringv1.ServiceMonitor](o.serviceMonitors, monitorOf(job, "serviceMonitor/")); m != nil {
				want = expandServiceMonitor(t, m, cfg, theirs)
			} else {
				want = expandPodMonitor(t, get[monitoringv1.PodMonitor](o.podMonitors, monitorOf(job, "podMonitor/")), cfg, theirs)
			}
			require.Equal(t, want, final(cfg, groups[job]), "seed %d, job %s", seed, job)
			targets += len(want)
		}
	}
	require.Greater(t, targets, clusters, "the monitors select something")
}

// monitorOf returns the "namespace/name" in a job's name.
func monitorOf(job, prefix string) string {
	key, ok := strings.CutPrefix(job, prefix)
	if !ok {
		return ""
	}
	return key[:strings.LastIndex(key, "/")]
}

// expanded are Prometheus's targets before relabeling.
type expanded struct {
	slices, slicesWithNodes, pods, podsWithNodes []*targetgroup.Group
}

func expandAll(t *testing.T, o *Objects) *expanded {
	t.Helper()
	return &expanded{
		slices:          prometheusGroups(t, o, promkube.RoleEndpointSlice, false),
		slicesWithNodes: prometheusGroups(t, o, promkube.RoleEndpointSlice, true),
		pods:            prometheusGroups(t, o, promkube.RolePod, false),
		podsWithNodes:   prometheusGroups(t, o, promkube.RolePod, true),
	}
}

// final relabels targets as the scraper does, and writes those that are left.
func final(cfg *config.ScrapeConfig, groups []*targetgroup.Group) []string {
	builder := labels.NewBuilder(labels.EmptyLabels())
	out := []string{}
	for _, g := range groups {
		for _, target := range g.Targets {
			ls, err := scrape.PopulateLabels(builder, cfg, target, g.Labels)
			if err != nil {
				out = append(out, err.Error())
				continue
			}
			if ls.IsEmpty() {
				continue
			}
			line := ""
			ls.Range(func(l labels.Label) {
				if !strings.HasPrefix(l.Name, "__tmp_") {
					line += fmt.Sprintf("%s=%q ", l.Name, l.Value)
				}
			})
			out = append(out, line)
		}
	}
	slices.Sort(out)
	return slices.Compact(out) // the scraper takes equal targets for one
}

// withRules returns a job's configuration with other relabelings.
func withRules(t *testing.T, cfg *config.ScrapeConfig, rules string, user []monitoringv1.RelabelConfig) *config.ScrapeConfig {
	t.Helper()
	var parsed []*relabel.Config
	require.NoError(t, yamlv3.Unmarshal([]byte(rules), &parsed), rules)
	own, err := relabelConfigs("relabelings", user)
	require.NoError(t, err)
	out := *cfg
	out.RelabelConfigs = slices.Concat(parsed, own)
	for _, c := range out.RelabelConfigs {
		require.NoError(t, c.Validate(model.UTF8Validation))
	}
	return &out
}

// in keeps the groups of the namespaces that a monitor looks into.
func in(groups []*targetgroup.Group, sel monitoringv1.NamespaceSelector, own string) []*targetgroup.Group {
	names := monitorNamespaces(sel, own)
	if names == nil {
		return groups
	}
	var out []*targetgroup.Group
	for _, g := range groups {
		if slices.Contains(names, string(g.Labels["__meta_kubernetes_namespace"])) {
			out = append(out, g)
		}
	}
	return out
}

// selectorRules are the keep and drop rules of a selector.
func selectorRules(object string, sel metav1.LabelSelector) string {
	out := ""
	rule := func(action, key, regex string) {
		l := sanitize(key)
		out += fmt.Sprintf("- {action: %s, source_labels: [__meta_kubernetes_%s_label_%s, __meta_kubernetes_%s_labelpresent_%s], regex: %q}\n",
			action, object, l, object, l, regex)
	}
	for key, value := range sel.MatchLabels {
		rule("keep", key, "("+value+");true")
	}
	for _, e := range sel.MatchExpressions {
		switch e.Operator {
		case metav1.LabelSelectorOpIn:
			rule("keep", e.Key, "("+strings.Join(e.Values, "|")+");true")
		case metav1.LabelSelectorOpNotIn:
			rule("drop", e.Key, "("+strings.Join(e.Values, "|")+");true")
		case metav1.LabelSelectorOpExists:
			rule("keep", e.Key, ".*;true")
		case metav1.LabelSelectorOpDoesNotExist:
			rule("drop", e.Key, ".*;true")
		}
	}
	return out
}

func keepRule(label, regex string) string {
	return fmt.Sprintf("- {action: keep, source_labels: [%s], regex: %q}\n", label, regex)
}

func copyRule(from, to string) string {
	return fmt.Sprintf("- {source_labels: [%s], target_label: %s, regex: (.+), replacement: '${1}'}\n", from, to)
}

func targetPortRule(p *intstr.IntOrString) string {
	switch {
	case p == nil:
	case p.StrVal != "":
		return keepRule("__meta_kubernetes_pod_container_port_name", p.StrVal)
	case p.IntVal != 0:
		return keepRule("__meta_kubernetes_pod_container_port_number", p.String())
	}
	return ""
}

func endpointRule(port string, target *intstr.IntOrString) string {
	if port == "" && target != nil {
		port = target.String()
	}
	if port == "" {
		return ""
	}
	return fmt.Sprintf("- {target_label: endpoint, replacement: %q}\n", port)
}

const (
	jobNameRule = "- {source_labels: [job], target_label: __tmp_prometheus_job_name}\n"
	runningRule = "- {action: drop, source_labels: [__meta_kubernetes_pod_phase], regex: (Failed|Succeeded)}\n"
)

// expandServiceMonitor is what a job of a ServiceMonitor has in Prometheus.
func expandServiceMonitor(t *testing.T, m *monitoringv1.ServiceMonitor, cfg *config.ScrapeConfig, all *expanded) []string {
	t.Helper()
	var i int
	_, err := fmt.Sscanf(cfg.JobName[strings.LastIndex(cfg.JobName, "/")+1:], "%d", &i)
	require.NoError(t, err)
	ep := &m.Spec.Endpoints[i]
	rules := jobNameRule + selectorRules("service", m.Spec.Selector)
	if ep.Port != "" {
		rules += keepRule("__meta_kubernetes_endpointslice_port_name", ep.Port)
	} else {
		rules += targetPortRule(ep.TargetPort)
	}
	rules += `
- {source_labels: [__meta_kubernetes_endpointslice_address_target_kind, __meta_kubernetes_endpointslice_address_target_name], regex: Node;(.*), replacement: '${1}', target_label: node}
- {source_labels: [__meta_kubernetes_endpointslice_address_target_kind, __meta_kubernetes_endpointslice_address_target_name], regex: Pod;(.*), replacement: '${1}', target_label: pod}
- {source_labels: [__meta_kubernetes_namespace], target_label: namespace}
- {source_labels: [__meta_kubernetes_service_name], target_label: service}
- {source_labels: [__meta_kubernetes_pod_name], target_label: pod}
- {source_labels: [__meta_kubernetes_pod_container_name], target_label: container}
`
	if ep.FilterRunning == nil || *ep.FilterRunning {
		rules += runningRule
	}
	for _, l := range m.Spec.TargetLabels {
		rules += copyRule("__meta_kubernetes_service_label_"+sanitize(l), sanitize(l))
	}
	for _, l := range m.Spec.PodTargetLabels {
		rules += copyRule("__meta_kubernetes_pod_label_"+sanitize(l), sanitize(l))
	}
	rules += "- {source_labels: [__meta_kubernetes_service_name], target_label: job, replacement: '${1}'}\n"
	if m.Spec.JobLabel != "" {
		rules += copyRule("__meta_kubernetes_service_label_"+sanitize(m.Spec.JobLabel), "job")
	}
	rules += endpointRule(ep.Port, ep.TargetPort)
	groups := all.slices
	if attachNode(m.Spec.AttachMetadata) {
		groups = all.slicesWithNodes
	}
	return final(withRules(t, cfg, rules, ep.RelabelConfigs), in(groups, m.Spec.NamespaceSelector, m.Namespace))
}

// expandPodMonitor is what a job of a PodMonitor has in Prometheus.
func expandPodMonitor(t *testing.T, m *monitoringv1.PodMonitor, cfg *config.ScrapeConfig, all *expanded) []string {
	t.Helper()
	require.NotNil(t, m, cfg.JobName)
	var i int
	_, err := fmt.Sscanf(cfg.JobName[strings.LastIndex(cfg.JobName, "/")+1:], "%d", &i)
	require.NoError(t, err)
	ep := &m.Spec.PodMetricsEndpoints[i]
	target := ep.TargetPort //nolint:staticcheck // deprecated, and in wide use
	rules := jobNameRule
	if ep.FilterRunning == nil || *ep.FilterRunning {
		rules += runningRule
	}
	rules += selectorRules("pod", m.Spec.Selector)
	switch {
	case deref(ep.Port) != "":
		rules += keepRule("__meta_kubernetes_pod_container_port_name", *ep.Port)
	case deref(ep.PortNumber) != 0:
		rules += keepRule("__meta_kubernetes_pod_container_port_number", fmt.Sprint(*ep.PortNumber))
	default:
		rules += targetPortRule(target)
	}
	rules += `
- {source_labels: [__meta_kubernetes_namespace], target_label: namespace}
- {source_labels: [__meta_kubernetes_pod_container_name], target_label: container}
- {source_labels: [__meta_kubernetes_pod_name], target_label: pod}
`
	for _, l := range m.Spec.PodTargetLabels {
		rules += copyRule("__meta_kubernetes_pod_label_"+sanitize(l), sanitize(l))
	}
	rules += fmt.Sprintf("- {target_label: job, replacement: %s/%s}\n", m.Namespace, m.Name)
	if m.Spec.JobLabel != "" {
		rules += copyRule("__meta_kubernetes_pod_label_"+sanitize(m.Spec.JobLabel), "job")
	}
	rules += endpointRule(deref(ep.Port), target)
	groups := all.pods
	if attachNode(m.Spec.AttachMetadata) {
		groups = all.podsWithNodes
	}
	return final(withRules(t, cfg, rules, ep.RelabelConfigs), in(groups, m.Spec.NamespaceSelector, m.Namespace))
}

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
func randomCluster(rnd *rand.Rand) *Objects {
	r := random{rnd}
	o := NewObjects()
	r.addObjects(o)
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
		_ = o.serviceMonitors.Add(m)
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
		_ = o.podMonitors.Add(m)
	}
	return o
}

// addObjects adds nodes, pods, Services and EndpointSlices.
func (r random) addObjects(o *Objects) {
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
	store := func(text string) {
		objects, errs := parseManifest("random.yaml", []byte(text), nil)
		if len(errs) > 0 {
			panic(fmt.Sprint(errs[0].line, errs[0].err, "\n", text))
		}
		set, _ := assemble([]*manifestFile{{objects: objects}})
		for kind, indexer := range map[string]interface{ Add(any) error }{"Node": o.nodes, "Pod": o.pods, "Service": o.services, "EndpointSlice": o.slices} {
			for _, obj := range set[kind] {
				_ = indexer.Add(obj)
			}
		}
	}
	store(text())
	store(r.endpointSlices(o))
}

// endpointSlices writes slices of the Services there are.
func (r random) endpointSlices(o *Objects) string {
	var b strings.Builder
	services, pods := slices.Sorted(slices.Values(o.services.ListKeys())), slices.Sorted(slices.Values(o.pods.ListKeys()))
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
