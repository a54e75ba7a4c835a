package embedded

import (
	"fmt"
	"net"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/prometheus/prometheus/model/labels"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// addExporter adds two replicas, in a namespace of their own, that both tell of all
// running pods.
func (c *topology) addExporter() {
	const ns = "monitoring"
	c.namespaces = append(c.namespaces, ns)
	c.store(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}})
	var about []*registry
	var series []exposed
	for _, p := range c.pods {
		if p.Status.Phase != corev1.PodRunning || p.dies {
			continue
		}
		of := labels.FromStrings("namespace", p.Namespace, "pod", p.Name, "container", "app")
		e := exposed{name: topologyAbout, labels: of, value: float64(c.IntN(1000))}
		series = append(series, e)
		about = append(about, &registry{namespace: p.Namespace, pod: p.Name, container: "app", series: []exposed{e}})
	}
	for n := range 2 {
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: fmt.Sprint("exporter-", n), Labels: map[string]string{"app": "exporter"}},
			Spec:       corev1.PodSpec{NodeName: "n1"},
			Status:     corev1.PodStatus{PodIP: fmt.Sprint("10.1.0.", n), Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}},
		}
		one := containerTemplate{Container: corev1.Container{Name: "exporter"}}
		one.declare(9191, "metrics")
		pod.Spec.Containers = []corev1.Container{one.Container}
		r := &registry{namespace: ns, pod: pod.Name, container: "exporter", series: series, about: about}
		c.listen(r, net.JoinHostPort(pod.Status.PodIP, "9191"))
		c.pods = append(c.pods, &topologyPod{Pod: pod, registries: []*registry{r}})
		c.store(pod)
	}
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "exporter", Labels: map[string]string{"app": "exporter"}}}
	s.Spec.Selector = map[string]string{"app": "exporter"}
	s.Spec.Ports = []corev1.ServicePort{{Name: "metrics", Port: 80, TargetPort: intstr.FromString("metrics"), Protocol: corev1.ProtocolTCP}}
	c.services = append(c.services, s)
	c.store(s)
	m := &monitoringv1.ServiceMonitor{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "exporter"}}
	m.Spec.Selector.MatchLabels = s.Labels
	m.Spec.Endpoints = []monitoringv1.Endpoint{{Port: "metrics", HonorLabels: true, Interval: pick(c, monitoringv1.Duration("15s"), "60s")}}
	c.addMonitor(m, m.Spec)
}
