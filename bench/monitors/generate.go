package monitors

import (
	"fmt"
	"hash/fnv"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Generate makes the cluster and monitors that belong to a seed.
func Generate(seed uint64) (*Cluster, error) { return generate(seeded(seed)) }

// GenerateFrom makes the cluster and monitors that bytes stand for: each is one
// choice, and where they end they are the seed for the rest.
func GenerateFrom(data []byte) (*Cluster, error) {
	h := fnv.New64a()
	_, _ = h.Write(data) // does not fail
	r := seeded(h.Sum64())
	r.data = data
	return generate(r)
}

// generate makes one of two sorts of clusters: a monitor with its surroundings, or
// objects and monitors that know nothing of each other but a few words, in states
// that no controller would leave behind.
func generate(r *choices) (*Cluster, error) {
	g := &generator{choices: r, cluster: &Cluster{}}
	if r.one(3) {
		return g.surrounded()
	}
	g.wild()
	for i := range 2 {
		g.cluster.ServiceMonitors = append(g.cluster.ServiceMonitors, g.serviceMonitor(numbered("m", i), false))
		g.cluster.PodMonitors = append(g.cluster.PodMonitors, g.podMonitor(numbered("m", i)))
	}
	g.cluster.Settings.FileAccess = r.one(2)
	if r.one(8) {
		g.cluster.Settings.MonitorSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"team": "a"}}
	}
	if r.one(8) {
		g.cluster.Settings.MonitorNamespaceSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"team": "a"}}
	}
	g.credentials()
	return g.cluster, nil
}

type generator struct {
	*choices
	cluster    *Cluster
	containers int
}

func (g *generator) surrounded() (*Cluster, error) {
	if g.one(2) {
		return surround(g.podMonitor("m"), g.choices)
	}
	return surround(g.serviceMonitor("m", true), g.choices)
}

func (g *generator) namespace() string { return pick(g.choices, "default", "ns1", "ns2") }

// wild makes objects of all kinds.
func (g *generator) wild() {
	c := g.cluster
	for _, ns := range []string{"default", "ns1", "ns2"} {
		c.Namespaces = append(c.Namespaces, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
			Name: ns, Labels: map[string]string{"team": pick(g.choices, "a", "b")},
		}})
	}
	for i := range 3 {
		c.Nodes = append(c.Nodes, &corev1.Node{ObjectMeta: metav1.ObjectMeta{
			Name: numbered("n", i), Labels: g.labels(), Annotations: g.annotations(),
		}})
	}
	for i := range 4 {
		c.Pods = append(c.Pods, g.pod(i))
	}
	for i := range 3 {
		s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{
			Name: numbered("s", i), Namespace: g.namespace(), Labels: g.labels(), Annotations: g.annotations(),
		}}
		if g.one(4) {
			s.Spec.IPFamilyPolicy = new(pick(g.choices, corev1.IPFamilyPolicyPreferDualStack,
				corev1.IPFamilyPolicyRequireDualStack, corev1.IPFamilyPolicySingleStack))
			s.Spec.IPFamilies = pick(g.choices, []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol},
				[]corev1.IPFamily{corev1.IPv6Protocol, corev1.IPv4Protocol}, []corev1.IPFamily{corev1.IPv4Protocol})
		}
		c.Services = append(c.Services, s)
	}
	for i := range 4 {
		c.EndpointSlices = append(c.EndpointSlices, g.slice(i))
	}
}

func (g *generator) labels() map[string]string {
	m := map[string]string{}
	for _, key := range []string{
		"app", "tier", "app.kubernetes.io/name", "app_kubernetes_io_name", "job", "endpoint", "pod", "instance", "version",
	} {
		if g.one(3) {
			m[key] = pick(g.choices, "a", "b", "a.b", "a-b", "", "web")
		}
	}
	// Which of two labels of one sanitized name wins is up to Go's maps in
	// Prometheus.
	if _, both := m["app_kubernetes_io_name"]; both {
		delete(m, "app.kubernetes.io/name")
	}
	return m
}

func (g *generator) annotations() map[string]string {
	m := map[string]string{}
	for _, key := range []string{"prometheus.io/scrape", "x/y"} {
		if g.one(3) {
			m[key] = pick(g.choices, "true", "z w", "")
		}
	}
	return m
}

func (g *generator) container() corev1.Container {
	g.containers++
	c := corev1.Container{Name: numbered("c", g.containers), Image: pick(g.choices, "i:1", "i:2")}
	for range g.intn(3) {
		c.Ports = append(c.Ports, corev1.ContainerPort{
			Name:          pick(g.choices, "", "http", "metrics", "web"),
			ContainerPort: pick[int32](g.choices, 80, 8080, 9090, 9091),
			Protocol:      pick(g.choices, corev1.ProtocolTCP, corev1.ProtocolUDP),
		})
	}
	return c
}

func (g *generator) pod(i int) *corev1.Pod {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Name: numbered("p", i), Namespace: g.namespace(), Labels: g.labels(), Annotations: g.annotations(), UID: "u",
	}}
	pod.Spec.NodeName = pick(g.choices, "n0", "n1", "n2", "n9", "")
	v4 := fmt.Sprintf("10.0.0.%d", i)
	pod.Status.PodIP = pick(g.choices, v4, v4, fmt.Sprintf("fd00::%d", i), "")
	pod.Status.HostIP = "192.0.2.1"
	pod.Status.Phase = pick(g.choices, corev1.PodRunning, corev1.PodRunning, corev1.PodPending, corev1.PodFailed, corev1.PodSucceeded)
	if g.one(2) {
		pod.Status.Conditions = []corev1.PodCondition{{
			Type: corev1.PodReady, Status: pick(g.choices, corev1.ConditionTrue, corev1.ConditionFalse, corev1.ConditionUnknown),
		}}
	}
	if g.one(2) {
		pod.OwnerReferences = []metav1.OwnerReference{{
			Kind: pick(g.choices, "ReplicaSet", "Job", ""), Name: pick(g.choices, "rs", ""), Controller: maybe(g.choices, true, false),
		}}
	}
	for range g.intn(3) {
		c := g.container()
		pod.Spec.Containers = append(pod.Spec.Containers, c)
		pod.Status.ContainerStatuses = append(pod.Status.ContainerStatuses, corev1.ContainerStatus{Name: c.Name, ContainerID: "id" + c.Name})
	}
	if g.one(3) {
		pod.Spec.InitContainers = append(pod.Spec.InitContainers, g.container())
	}
	return pod
}

func (g *generator) slice(i int) *discoveryv1.EndpointSlice {
	service := pick(g.choices, g.cluster.Services...)
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Name: numbered("sl", i), Namespace: service.Namespace, Labels: merged(service.Labels), Annotations: g.annotations(),
		},
		AddressType: pick(g.choices, discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv6, discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeFQDN),
	}
	if g.one(6) {
		slice.Labels = g.labels()
	}
	switch g.intn(8) {
	case 0: // nobody's
	case 1:
		slice.Labels[discoveryv1.LabelServiceName] = "gone"
	default:
		slice.Labels[discoveryv1.LabelServiceName] = service.Name
	}
	for range 1 + g.intn(2) {
		slice.Ports = append(slice.Ports, discoveryv1.EndpointPort{
			Name:        pick(g.choices, nil, new("http"), new("metrics"), new("")),
			Port:        pick(g.choices, new(int32(80)), new(int32(8080)), new(int32(9090)), nil),
			Protocol:    maybe(g.choices, corev1.ProtocolTCP),
			AppProtocol: maybe(g.choices, "h2"),
		})
	}
	for range g.intn(5) {
		slice.Endpoints = append(slice.Endpoints, g.endpoint(service.Namespace))
	}
	return slice
}

func (g *generator) endpoint(namespace string) discoveryv1.Endpoint {
	pod := pick(g.choices, g.cluster.Pods...)
	address := pick(g.choices, pod.Status.PodIP, pod.Status.PodIP, "10.9.9.9", "fd00::9", "db.example.com")
	if address == "" {
		address = "10.8.8.8"
	}
	ep := discoveryv1.Endpoint{Addresses: []string{address}, NodeName: maybe(g.choices, "n0", "n7"), Zone: maybe(g.choices, "z"), Hostname: maybe(g.choices, "h")}
	itsPod := &corev1.ObjectReference{Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name}
	ep.TargetRef = pick(g.choices, itsPod, itsPod, itsPod,
		&corev1.ObjectReference{Kind: "Pod", Namespace: namespace, Name: "gone"}, nil,
		&corev1.ObjectReference{Kind: "Node", Name: pick(g.choices, "n1", "n8")},
		&corev1.ObjectReference{Kind: "Thing", Name: "t"})
	ep.Conditions = discoveryv1.EndpointConditions{
		Ready: maybe(g.choices, true, false), Serving: maybe(g.choices, true, false), Terminating: maybe(g.choices, true, false),
	}
	if g.one(6) {
		ep.DeprecatedTopology = map[string]string{"topology.kubernetes.io/region": "r"}
	}
	return ep
}

// credentials makes the Secrets and ConfigMaps that generated monitors refer to.
func (g *generator) credentials() {
	for _, ns := range []string{"default", "ns1", "ns2"} {
		g.cluster.Secrets = append(g.cluster.Secrets,
			secret(ns, "creds", map[string]string{
				"user": "u-" + ns, "password": "p:" + ns + "\n%", "token": pick(g.choices, "t1", "t2", "öÄ "), "empty": "",
			}),
			secret(ns, "tls", map[string]string{
				"ca": caCert, "cert": clientCert, "key": clientKey, "other-key": caKey, "empty": "", "junk": "junk",
			}))
		m := &corev1.ConfigMap{Data: map[string]string{"ca": caCert + clientCert, "id": "client-" + ns, "empty": ""}}
		m.Namespace, m.Name = ns, "settings"
		g.cluster.ConfigMaps = append(g.cluster.ConfigMaps, m)
	}
}

// words are names that monitors copy or read.
func (g *generator) names() []string {
	var out []string
	for range g.intn(3) {
		out = append(out, pick(g.choices, "app", "tier", "app.kubernetes.io/name", "app_kubernetes_io_name",
			"job", "endpoint", "pod", "instance", "nope", "version", "namespace", "service", "container"))
	}
	if g.one(120) {
		out = append(out, pick(g.choices, "", "1a", "aäpp", "__address__", "__scheme__"))
	}
	return out
}

func (g *generator) selector() metav1.LabelSelector {
	s := metav1.LabelSelector{}
	if g.one(4) {
		s.MatchLabels = map[string]string{pick(g.choices, "app", "tier", "app_kubernetes_io_name"): pick(g.choices, "a", "a.b", "", "web")}
	}
	for range g.intn(2) {
		e := metav1.LabelSelectorRequirement{
			Key: pick(g.choices, "app", "tier", "app.kubernetes.io/name", "app-kubernetes-io-name"),
			Operator: pick(g.choices, metav1.LabelSelectorOpIn, metav1.LabelSelectorOpNotIn,
				metav1.LabelSelectorOpExists, metav1.LabelSelectorOpDoesNotExist),
		}
		if e.Operator == metav1.LabelSelectorOpIn || e.Operator == metav1.LabelSelectorOpNotIn {
			e.Values = pick(g.choices, []string{"a"}, []string{"a.b", "b"}, []string{""})
		}
		s.MatchExpressions = append(s.MatchExpressions, e)
	}
	if g.one(100) {
		s.MatchExpressions = append(s.MatchExpressions, metav1.LabelSelectorRequirement{
			Key: pick(g.choices, "app", "-", ""), Operator: pick[metav1.LabelSelectorOperator](g.choices, "Is", "In", "Exists"),
			Values: pick(g.choices, nil, []string{"a|b"}, []string{"a"}),
		})
	}
	return s
}

func (g *generator) namespaceSelector() monitoringv1.NamespaceSelector {
	return pick(g.choices,
		monitoringv1.NamespaceSelector{},
		monitoringv1.NamespaceSelector{Any: true},
		monitoringv1.NamespaceSelector{Any: true},
		monitoringv1.NamespaceSelector{Any: true, MatchNames: []string{"ns1"}},
		monitoringv1.NamespaceSelector{MatchNames: []string{"ns1", "default"}},
		monitoringv1.NamespaceSelector{MatchNames: []string{"ns2", "ns2"}})
}
