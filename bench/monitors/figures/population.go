package main

import (
	"slices"
	"time"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	corev1 "k8s.io/api/core/v1"
)

// never is a scrape interval within which nothing is scraped, save by a chance of one
// in a million a second.
const never = "30d"

// population is the cluster: the pods of the services, and what changes about them. It
// tells the API server; it is for one goroutine.
type population struct {
	templates
	api      *apiServer
	monitors []*monitoringv1.ServiceMonitor
	pods     [services][]*corev1.Pod
	made     int // pods so far
	// podFirst is the time between the news of a pod and that of its EndpointSlice, which
	// another controller writes. Prometheus reads the pod when it hears of the slice, and
	// hears of either through a connection of its own.
	podFirst time.Duration
}

// populate fills an API server with pods, as many to each service, and everything that
// belongs to them. The monitor of service 0 has the given interval; others scrape never.
func populate(api *apiServer, pods int, interval string) (*population, error) {
	t, err := newTemplates()
	if err != nil {
		return nil, err
	}
	p := &population{templates: t, api: api, podFirst: 20 * time.Millisecond}
	api.put(kindNamespaces, filled[corev1.Namespace](t, 0, 0))
	for n := range nodes {
		api.put(kindNodes, filled[corev1.Node](t, 0, n))
	}
	for n := range services {
		every := never
		if n == 0 {
			every = interval
		}
		p.monitors = append(p.monitors, t.newMonitor(n, every))
		api.put(kindMonitors, p.monitors[n])
		api.put(kindServices, t.newService(n))
		for range pods / services {
			p.create(n)
		}
		p.putSlice(n)
	}
	return p, nil
}

// create makes a pod of a service, and does not tell the service's slice.
func (p *population) create(service int) *corev1.Pod {
	pod := p.newPod(service, p.made)
	p.made++
	p.pods[service] = append(p.pods[service], pod)
	p.api.put(kindPods, pod)
	return pod
}

func (p *population) putSlice(service int) {
	p.api.put(kindSlices, p.newSlice(service, p.pods[service]))
}

// flip changes the readiness of the i-th pod, going round the services: an event of
// the pod, and one of its slice.
func (p *population) flip(i int) {
	service := i % services
	at := i / services % len(p.pods[service])
	pod := p.pods[service][at].DeepCopy()
	setReady(pod, !pod.Status.ContainerStatuses[0].Ready)
	p.pods[service][at] = pod
	p.api.put(kindPods, pod)
	time.Sleep(p.podFirst)
	p.putSlice(service)
}

// replace puts a new pod in the place of the oldest of the i-th service, going round:
// the new pod, the slice, and the old pod's end.
func (p *population) replace(i int) {
	service := i % services
	old := p.pods[service][0]
	p.create(service)
	time.Sleep(p.podFirst)
	p.pods[service] = slices.Delete(p.pods[service], 0, 1)
	p.putSlice(service)
	p.api.remove(kindPods, old)
}

// add makes new pods of a service and returns the addresses of their metrics. It calls
// then just before the slice has them.
func (p *population) add(service, n int, then func(addresses []string)) {
	var addresses []string
	for range n {
		addresses = append(addresses, metricsAddress(p.create(service)))
	}
	time.Sleep(p.podFirst)
	then(addresses)
	p.putSlice(service)
}

// targets are the addresses that are to be scraped, sorted.
func (p *population) targets() []string {
	var all []string
	for _, pods := range p.pods {
		for _, pod := range pods {
			all = append(all, metricsAddress(pod))
		}
	}
	slices.Sort(all)
	return all
}
