package embedded

import (
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apilabels "k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/promlet/promlet/discovery/objects"
	"github.com/promlet/promlet/tsdb"
)

// topology is a random cluster, and what its containers serve.
type topology struct {
	*rand.Rand
	t          *testing.T
	objects    *objects.Store
	namespaces []string
	small      bool                   // little of everything, so that many things are scraped once
	names      map[string]int         // how many were given, by namespace and prefix
	ownJob     bool                   // what containers serve has a job label of its own
	honors     bool                   // some monitors honor labels
	sources    map[uint64]tsdb.Source // by hash of the series' labels
	writer     map[uint64]string      // address of the target whose series they are, by hash of its labels
	honoring   map[string]bool        // the job labels of their targets
	pods       []*topologyPod
	services   []*corev1.Service
	external   map[string][]string // the addresses of Services without pods, by namespace/name
	// listening are the containers behind addresses.
	listening map[string]*registry
	monitors  []metav1.Object
	described []string // the same, for people
}

type topologyPod struct {
	*corev1.Pod
	registries []*registry
	dies       bool // shortly before the questions
	silent     bool // has not been scraped for two intervals and more
}

// registry is what a container serves on all its ports, or a machine that is no pod.
type registry struct {
	namespace, pod, container string
	listens                   []string
	series                    []exposed
	// about are the containers of other pods that an exporter tells of: what they come
	// to where its labels are honored.
	about []*registry
}

// exposed is a series without the labels of its target: a gauge, or a counter with its
// increase per second.
type exposed struct {
	name   string
	labels labels.Labels
	value  float64
}

const (
	topologyCounter = "http_requests_total"
	topologyGauge   = "queue_depth"
	// topologyAbout is of other pods than the one that exposes it.
	topologyAbout = "pod_backlog"
)

func pick[T any](c *topology, from ...T) T { return from[c.IntN(len(from))] }

// oneIn is true once in n times.
func (c *topology) oneIn(n int) bool { return c.IntN(n) == 0 }

// some gives each of the values every other time.
func some[T any](c *topology, from ...T) (out []T) {
	for _, v := range from {
		if c.oneIn(2) {
			out = append(out, v)
		}
	}
	return out
}

func newTopology(t *testing.T, seed uint64) *topology {
	c := &topology{
		Rand: rand.New(rand.NewPCG(seed, 11)), t: t, objects: objects.NewStore(),
		names: map[string]int{}, sources: map[uint64]tsdb.Source{}, writer: map[uint64]string{}, honoring: map[string]bool{}, listening: map[string]*registry{}, external: map[string][]string{},
	}
	c.small = c.oneIn(2)
	c.namespaces = []string{"shop", "blue", "green"}[:1+c.IntN(min(3, c.many()))]
	c.ownJob = c.oneIn(4)
	c.honors = !c.ownJob && c.oneIn(2)
	for _, ns := range c.namespaces {
		c.store(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}})
	}
	for _, node := range []string{"n1", "n2"} {
		c.store(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: node, Labels: map[string]string{"zone": "zone-" + node}}})
	}
	for i := range c.many() {
		c.addWorkload(i)
	}
	for range c.many() {
		c.addService()
	}
	if c.oneIn(3) {
		c.addExternal()
	}
	if c.oneIn(4) {
		c.addExporter()
	}
	c.settleSlices()
	c.addMonitors()
	return c
}

// many is 1 or 2 in a small cluster, and up to 5 in others.
func (c *topology) many() int {
	if c.small {
		return 1 + c.IntN(2)
	}
	return 2 + c.IntN(4)
}

// newName is one that an object of another namespace may have too.
func (c *topology) newName(ns, prefix string) string {
	n := c.names[ns+prefix]
	c.names[ns+prefix]++
	return fmt.Sprint(prefix, n)
}

func (c *topology) store(obj metav1.Object) {
	require.NoError(c.t, c.indexer(obj).Add(obj))
}

func (c *topology) indexer(obj metav1.Object) interface {
	Add(any) error
	Delete(any) error
} {
	indexer, ok := c.objects.Indexer(resourceOf(obj))
	require.True(c.t, ok)
	return indexer
}

func resourceOf(obj metav1.Object) schema.GroupResource {
	switch obj.(type) {
	case *corev1.Namespace:
		return corev1.Resource("namespaces")
	case *corev1.Node:
		return corev1.Resource("nodes")
	case *corev1.Pod:
		return corev1.Resource("pods")
	case *corev1.Service:
		return corev1.Resource("services")
	case *discoveryv1.EndpointSlice:
		return discoveryv1.Resource("endpointslices")
	default:
		return monitorResource(obj)
	}
}

// addWorkload adds the pods of a Deployment, a StatefulSet, a Job, a DaemonSet, or some
// that nothing owns.
func (c *topology) addWorkload(i int) {
	ns := pick(c, c.namespaces...)
	name := c.newName(ns, "w")
	set := map[string]string{"app": pick(c, "a", "b", "c"), "tier": pick(c, "front", "back"), "version": pick(c, "v1", "v2")}
	var owners []metav1.OwnerReference
	owner := func(apiVersion, kind, name string) {
		owners = []metav1.OwnerReference{{APIVersion: apiVersion, Kind: kind, Name: name}}
	}
	switch c.IntN(5) {
	case 0:
		set["pod-template-hash"] = "6d4cf56db6"
		owner("apps/v1", "ReplicaSet", name+"-6d4cf56db6")
	case 1:
		owner("apps/v1", "StatefulSet", name)
	case 2:
		owner("batch/v1", "Job", name)
	case 3:
		owner("apps/v1", "DaemonSet", name)
	}
	template := c.declaredContainers
	if c.oneIn(3) {
		template = c.undeclaredContainers
	}
	containers := template()
	for n := range 1 + c.IntN(4) {
		c.addPod(&corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: fmt.Sprint(name, "-", n), Labels: set, OwnerReferences: owners},
			Spec:       corev1.PodSpec{NodeName: pick(c, "n1", "n2")},
			Status: corev1.PodStatus{
				PodIP: fmt.Sprintf("10.0.%d.%d", i, n), Phase: corev1.PodRunning,
				Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: pick(c, corev1.ConditionTrue, corev1.ConditionTrue, corev1.ConditionFalse)}},
			},
		}, containers)
	}
}

// containerTemplate is a container as the pods of a workload have it.
type containerTemplate struct {
	corev1.Container
	sidecar bool    // an init container that goes on
	listens []int32 // ports that serve its metrics
}

// declaredContainers are up to three that declare all their ports, of which some, or
// all, serve nothing.
func (c *topology) declaredContainers() (out []containerTemplate) {
	ports := []int32{3000, 8080, 9090, 9100, 9102, 9113}
	c.Shuffle(len(ports), func(i, j int) { ports[i], ports[j] = ports[j], ports[i] })
	for _, name := range []string{"app", "sidecar", "proxy"}[:1+c.IntN(3)] {
		one := containerTemplate{Container: corev1.Container{Name: name}, sidecar: name != "app" && c.oneIn(5)}
		silent := c.oneIn(5)
		for range 1 + c.IntN(2) {
			one.declare(ports[0], c.portName(&one))
			if !silent && !c.oneIn(4) {
				one.listens = append(one.listens, ports[0])
			}
			ports = ports[1:]
		}
		out = append(out, one)
	}
	return out
}

// undeclaredContainers are one that serves metrics on ports of which it does not
// declare all, and one that serves none: a port that is not declared does not tell
// whose it is.
func (c *topology) undeclaredContainers() []containerTemplate {
	ports := []int32{80, 3000, 8080, 9090, 9100}
	c.Shuffle(len(ports), func(i, j int) { ports[i], ports[j] = ports[j], ports[i] })
	app := containerTemplate{Container: corev1.Container{Name: "app"}, listens: ports[:1+c.IntN(3)]}
	for _, port := range app.listens[1:] {
		if c.oneIn(2) {
			app.declare(port, c.portName(&app))
		}
	}
	if c.oneIn(2) {
		return []containerTemplate{app}
	}
	helper := containerTemplate{Container: corev1.Container{Name: "helper"}}
	helper.declare(9113, c.portName(&helper))
	return []containerTemplate{helper, app}
}

func (one *containerTemplate) declare(port int32, name string) {
	one.Ports = append(one.Ports, corev1.ContainerPort{Name: name, ContainerPort: port, Protocol: corev1.ProtocolTCP})
}

// portName is one that the container does not have yet.
func (c *topology) portName(of *containerTemplate) string {
	name := pick(c, "", "http", "metrics", "web")
	if slices.ContainsFunc(of.Ports, func(p corev1.ContainerPort) bool { return p.Name == name }) {
		return ""
	}
	return name
}

func (c *topology) addPod(pod *corev1.Pod, containers []containerTemplate) {
	p := &topologyPod{Pod: pod, dies: c.oneIn(8), silent: c.oneIn(10)}
	switch c.IntN(12) {
	case 0:
		pod.Status.PodIP, pod.Status.Phase = "", corev1.PodPending
	case 1:
		pod.Status.Phase = pick(c, corev1.PodFailed, corev1.PodSucceeded)
	}
	for i := range containers {
		one := &containers[i]
		if one.sidecar {
			pod.Spec.InitContainers = append(pod.Spec.InitContainers, one.Container)
		} else {
			pod.Spec.Containers = append(pod.Spec.Containers, one.Container)
		}
		if len(one.listens) == 0 {
			continue
		}
		r := &registry{namespace: pod.Namespace, pod: pod.Name, container: one.Name, series: c.exposition()}
		p.registries = append(p.registries, r)
		if pod.Status.PodIP == "" || pod.Status.Phase != corev1.PodRunning {
			continue
		}
		for _, port := range one.listens {
			c.listen(r, net.JoinHostPort(pod.Status.PodIP, strconv.Itoa(int(port))))
			if port == 80 {
				c.listen(r, pod.Status.PodIP)
			}
		}
	}
	c.pods = append(c.pods, p)
	c.store(pod)
}

func (c *topology) listen(r *registry, address string) {
	require.NotContains(c.t, c.listening, address)
	c.listening[address] = r
	r.listens = append(r.listens, address)
}

// exposition makes a few series of a counter, of a gauge, or of both.
func (c *topology) exposition() (out []exposed) {
	names := pick(c, []string{topologyCounter}, []string{topologyGauge}, []string{topologyCounter, topologyGauge}, []string{topologyCounter, topologyGauge})
	var sets []labels.Labels
	switch c.IntN(3) {
	case 0:
		sets = append(sets, labels.EmptyLabels())
	case 1:
		sets = append(sets, labels.FromStrings("code", "200"), labels.FromStrings("code", "500"))
	case 2:
		sets = append(sets, labels.FromStrings("code", "200", "method", "GET"), labels.FromStrings("code", "200", "method", "PUT"), labels.FromStrings("code", "404", "method", "GET"))
	}
	for _, name := range names {
		for i, set := range sets {
			if c.ownJob {
				set = labels.NewBuilder(set).Set("job", fmt.Sprint("batch-", i)).Labels()
			}
			value := float64(c.IntN(100_000)) / 8
			if c.oneIn(20) {
				value = 0
			}
			if name == topologyGauge && c.oneIn(10) {
				value = -value
			}
			out = append(out, exposed{name: name, labels: set, value: value})
		}
	}
	return out
}

// addService selects pods of its namespace, maybe some that others select too.
func (c *topology) addService() {
	ns := pick(c, c.namespaces...)
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{
		Namespace: ns, Name: c.newName(ns, "s"),
		Labels: map[string]string{"app": pick(c, "a", "b"), "team": pick(c, "red", "gold")},
	}}
	s.Spec.Selector = pick(c,
		map[string]string{"app": pick(c, "a", "b", "c")}, map[string]string{"tier": pick(c, "front", "back")},
		map[string]string{"app": pick(c, "a", "b"), "tier": pick(c, "front", "back")})
	names := []string{"http", "metrics", "web"}
	c.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	for _, name := range names[:1+c.IntN(3)] {
		target := intstr.FromInt32(pick[int32](c, 80, 3000, 8080, 9090, 9100, 9102))
		if c.oneIn(3) {
			target = intstr.FromString(pick(c, "http", "metrics", "web"))
		}
		s.Spec.Ports = append(s.Spec.Ports, corev1.ServicePort{Name: name, Port: 80, TargetPort: target, Protocol: corev1.ProtocolTCP})
	}
	if len(s.Spec.Ports) == 1 && c.oneIn(4) {
		s.Spec.Ports[0].Name = ""
	}
	c.services = append(c.services, s)
	c.store(s)
}

// addExternal adds a Service of machines that are no pods.
func (c *topology) addExternal() {
	ns := pick(c, c.namespaces...)
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "external", Labels: map[string]string{"app": "a", "team": "gold"}}}
	s.Spec.Ports = []corev1.ServicePort{{Name: "metrics", Port: 80, TargetPort: intstr.FromInt32(9090), Protocol: corev1.ProtocolTCP}}
	for i := range 1 + c.IntN(2) {
		ip := fmt.Sprint("192.0.2.", i)
		c.external[ns+"/external"] = append(c.external[ns+"/external"], ip)
		c.listen(&registry{namespace: ns, series: c.exposition()}, net.JoinHostPort(ip, "9090"))
	}
	c.services = append(c.services, s)
	c.store(s)
}

// selected are the pods of a Service that may be its endpoints.
func (c *topology) selected(s *corev1.Service) (pods []*topologyPod) {
	if len(s.Spec.Selector) == 0 {
		return nil
	}
	for _, p := range c.pods {
		if p.Namespace == s.Namespace && p.Status.Phase == corev1.PodRunning && apilabels.SelectorFromSet(s.Spec.Selector).Matches(apilabels.Set(p.Labels)) {
			pods = append(pods, p)
		}
	}
	return pods
}
