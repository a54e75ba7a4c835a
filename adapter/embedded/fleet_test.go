package embedded

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	config_util "github.com/prometheus/common/config"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/test/bufconn"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/promlet/promlet/discovery/objects"
)

// fleet is the pods of one application, whose true rates are known, behind Services and
// monitors that reach them in several ways.
type fleet struct {
	*rand.Rand
	t       *testing.T
	objects *objects.Store
	// spread: a steady load of all pods is spread over those that there are, so that each
	// has less when there are more. Otherwise each exporter has its own.
	spread   bool
	services int
	interval time.Duration
	// troubled: promlet is killed, its data is damaged, and its clock is set.
	troubled bool

	mu   sync.Mutex // of what the exporters serve
	pods []*fleetPod
	made int
	gone []*fleetExporter
}

type fleetPod struct {
	*corev1.Pod
	exporters []*fleetExporter
}

// fleetExporter serves one counter and one gauge at a port of a pod.
type fleetExporter struct {
	address string
	pod     string
	rate    float64 // per second, steady
	depth   float64
	stamps  time.Duration // its samples have times of their own, multiples of this; 0: they have none

	base       float64
	since      time.Time // when it had base
	joined     time.Time // when it became a target
	left       time.Time
	restarted  time.Time
	failUntil  time.Time
	failedFrom time.Time
}

const (
	fleetPorts = 2
	// spreadLoad is that of all pods together, if it is spread.
	spreadLoad = 600
)

func newFleet(t *testing.T, seed uint64) *fleet {
	f := &fleet{Rand: rand.New(rand.NewPCG(seed, 7)), t: t, objects: objects.NewStore()} //nolint:gosec // It is to be repeatable.
	f.spread = f.IntN(4) == 0
	f.troubled = f.IntN(3) == 0
	f.services = 1 + f.IntN(3)
	f.interval = []time.Duration{10 * time.Second, 15 * time.Second, 30 * time.Second}[f.IntN(3)]
	f.store(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}})
	for i := range f.services {
		f.store(&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: fmt.Sprint("s", i), Labels: map[string]string{"app": "shop", "n": fmt.Sprint(i)}}})
	}
	for range 1 + f.IntN(4) {
		f.join()
	}
	f.addMonitors()
	f.settle()
	return f
}

// addMonitors adds some that reach each pod once, and some that do so again.
func (f *fleet) addMonitors() {
	interval := monitoringv1.Duration(f.interval.String())
	endpoints := []monitoringv1.Endpoint{{Port: "p0", Interval: interval}}
	if !f.spread && f.IntN(2) == 0 {
		endpoints = append(endpoints, monitoringv1.Endpoint{Port: "p1", Interval: interval})
	}
	for i := range 1 + f.IntN(2) {
		f.store(&monitoringv1.ServiceMonitor{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: fmt.Sprint("sm", i)},
			Spec:       monitoringv1.ServiceMonitorSpec{Selector: metav1.LabelSelector{MatchLabels: map[string]string{"app": "shop"}}, Endpoints: endpoints},
		})
	}
	if f.IntN(3) == 0 {
		port := "p0"
		f.store(&monitoringv1.PodMonitor{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "pm"},
			Spec: monitoringv1.PodMonitorSpec{
				Selector:            metav1.LabelSelector{MatchLabels: map[string]string{"app": "shop"}},
				PodMetricsEndpoints: []monitoringv1.PodMetricsEndpoint{{Port: &port, Interval: interval}},
			},
		})
	}
}

func (f *fleet) store(object runtime.Object) {
	f.t.Helper()
	var kind schema.GroupResource
	switch object.(type) {
	case *corev1.Namespace:
		kind = corev1.Resource("namespaces")
	case *corev1.Service:
		kind = corev1.Resource("services")
	case *corev1.Pod:
		kind = corev1.Resource("pods")
	case *discoveryv1.EndpointSlice:
		kind = discoveryv1.Resource("endpointslices")
	case *monitoringv1.ServiceMonitor:
		kind = monitoringv1.Resource("servicemonitors")
	case *monitoringv1.PodMonitor:
		kind = monitoringv1.Resource("podmonitors")
	}
	indexer, ok := f.objects.Indexer(kind)
	require.True(f.t, ok, kind)
	require.NoError(f.t, indexer.Update(object))
}

// join adds a pod.
func (f *fleet) join() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.account()
	defer f.share()
	f.made++
	name := fmt.Sprint("w-", f.made)
	ip := fmt.Sprintf("10.0.%d.%d", f.made/250, 1+f.made%250)
	p := &fleetPod{Pod: &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: name, Labels: map[string]string{"app": "shop", "pod-template-hash": "6d4cf56db6"}, CreationTimestamp: metav1.Now(),
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "w-6d4cf56db6"}},
		},
		Status: corev1.PodStatus{PodIP: ip, Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}},
	}}
	c := corev1.Container{Name: "app"}
	for i := range fleetPorts {
		c.Ports = append(c.Ports, corev1.ContainerPort{Name: fmt.Sprint("p", i), ContainerPort: int32(8000 + i)})
		e := &fleetExporter{
			address: fmt.Sprintf("%s:%d", ip, 8000+i), pod: name, joined: time.Now(), since: time.Now(),
			rate: math.Exp(f.Float64()*8 - 2), depth: float64(f.IntN(100)), base: float64(f.IntN(2)) * f.Float64() * 1e6,
		}
		// On a clock that is not promlet's, stamps would be too old, or in the future.
		if !f.spread && !f.troubled && f.IntN(6) == 0 {
			e.stamps, e.base = time.Duration(1+f.IntN(3))*10*time.Second, 1e6
		}
		p.exporters = append(p.exporters, e)
	}
	p.Spec.Containers = []corev1.Container{c}
	f.pods = append(f.pods, p)
	f.store(p.Pod)
}

// account moves each counter to now; f.mu is held, as for share.
func (f *fleet) account() {
	for _, p := range f.pods {
		for _, e := range p.exporters {
			e.base, e.since = e.value(time.Now()), time.Now()
		}
	}
}

// share spreads the load over the pods that there are, from now on.
func (f *fleet) share() {
	if !f.spread {
		return
	}
	for _, p := range f.pods {
		p.exporters[0].rate = spreadLoad / float64(len(f.pods))
	}
}

// leave takes a pod away.
func (f *fleet) leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.account()
	defer f.share()
	i := f.IntN(len(f.pods))
	p := f.pods[i]
	f.pods = append(f.pods[:i], f.pods[i+1:]...)
	for _, e := range p.exporters {
		e.left = time.Now()
		f.gone = append(f.gone, e)
	}
	indexer, _ := f.objects.Indexer(corev1.Resource("pods"))
	require.NoError(f.t, indexer.Delete(p.Pod))
}

// settle makes the slices of the Services those of the pods.
func (f *fleet) settle() {
	for i := range f.services {
		slice := &discoveryv1.EndpointSlice{
			ObjectMeta:  metav1.ObjectMeta{Namespace: "shop", Name: fmt.Sprint("s", i, "-x"), Labels: map[string]string{discoveryv1.LabelServiceName: fmt.Sprint("s", i), "app": "shop"}},
			AddressType: discoveryv1.AddressTypeIPv4,
		}
		for n := range fleetPorts {
			name, number, protocol := fmt.Sprint("p", n), int32(8000+n), corev1.ProtocolTCP
			slice.Ports = append(slice.Ports, discoveryv1.EndpointPort{Name: &name, Port: &number, Protocol: &protocol})
		}
		for _, p := range f.pods {
			ready := true
			slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{
				Addresses: []string{p.Status.PodIP}, Conditions: discoveryv1.EndpointConditions{Ready: &ready},
				TargetRef: &corev1.ObjectReference{Kind: "Pod", Namespace: "shop", Name: p.Name},
			})
		}
		f.store(slice)
		service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: fmt.Sprint("s", i), Labels: map[string]string{"app": "shop"}}}
		for n := range fleetPorts {
			service.Spec.Ports = append(service.Spec.Ports, corev1.ServicePort{Name: fmt.Sprint("p", n), Port: int32(8000 + n), TargetPort: intstr.FromInt32(int32(8000 + n)), Protocol: corev1.ProtocolTCP})
		}
		service.Spec.Selector = map[string]string{"app": "shop"}
		f.store(service)
	}
}

// value is that of the counter at a time.
func (e *fleetExporter) value(at time.Time) float64 { return e.base + e.rate*at.Sub(e.since).Seconds() }

// ServeHTTP answers for the exporter at the address that was asked.
func (f *fleet) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	for _, p := range f.pods {
		for _, e := range p.exporters {
			switch {
			case e.address != r.Host:
			case now.Before(e.failUntil):
				http.Error(w, "not now", http.StatusServiceUnavailable)
				return
			default:
				e.expose(w, now)
				return
			}
		}
	}
	http.Error(w, "nobody is there", http.StatusNotFound)
}

func (e *fleetExporter) expose(w http.ResponseWriter, now time.Time) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	at, stamp := now, ""
	if e.stamps > 0 {
		// What it had at a full multiple, a while ago.
		at = now.Add(-e.stamps / 2).Truncate(e.stamps)
		stamp = fmt.Sprint(" ", at.UnixMilli())
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# TYPE http_requests_total counter\nhttp_requests_total %g%s\n", max(0, e.value(at)), stamp)
	fmt.Fprintf(&b, "# TYPE queue_depth gauge\nqueue_depth %g%s\n", e.depth, stamp)
	fmt.Fprintf(&b, "# TYPE other gauge\nother %g\n", e.depth)
	_, _ = w.Write([]byte(b.String()))
}

// serve answers on a network in memory until the test ends: a clock does not stand still for a real one.
func (f *fleet) serve() (dial config_util.HTTPClientOption, stop func()) {
	network := bufconn.Listen(1 << 20)
	srv := &http.Server{Handler: f} //nolint:gosec // No timeouts: no network.
	served := make(chan error)
	go func() { served <- srv.Serve(network) }()
	dial = config_util.WithDialContextFunc(func(ctx context.Context, _, _ string) (net.Conn, error) { return network.DialContext(ctx) })
	return dial, func() {
		require.NoError(f.t, srv.Close())
		require.ErrorIs(f.t, <-served, http.ErrServerClosed)
	}
}
