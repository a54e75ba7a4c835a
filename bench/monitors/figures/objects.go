package main

import (
	_ "embed" // objects.yaml
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

const (
	namespace   = "production"
	services    = 100 // with a ServiceMonitor each
	nodes       = 40
	portMetrics = 9090
)

//go:embed objects.yaml
var objectsYAML string

// templates are the objects of objects.yaml, by kind, as JSON.
type templates map[string]string

func newTemplates() (templates, error) {
	t := templates{}
	for document := range strings.SplitSeq(objectsYAML, "\n---\n") {
		raw, err := yaml.YAMLToJSON([]byte(document))
		if err != nil {
			return nil, fmt.Errorf("read objects.yaml: %w", err)
		}
		var of metav1.TypeMeta
		if err := json.Unmarshal(raw, &of); err != nil {
			return nil, fmt.Errorf("read objects.yaml: %w", err)
		}
		t[of.Kind] = string(raw)
	}
	return t, nil
}

// filled makes the n-th object of a kind that belongs to a service, with more values for
// the names in its template.
func filled[T any](t templates, service, n int, values ...string) *T {
	kind := reflect.TypeFor[T]().Name()
	values = append([]string{
		"$APP", fmt.Sprintf("app-%03d", service), "$UID", uid(kind, n), "$SERVICE_UID", uid("Service", service), "$RS_UID", uid("ReplicaSet", service),
		"$NODE", fmt.Sprintf("node-%02d", n%nodes),
	}, values...)
	object := new(T)
	// A test has read all templates.
	_ = json.Unmarshal([]byte(strings.NewReplacer(values...).Replace(t[kind])), object)
	return object
}

func uid(kind string, n int) string {
	sum := 0
	for _, c := range kind {
		sum = sum*31 + int(c)
	}
	return fmt.Sprintf("%08x-1f2e-4d3c-8b5a-%012x", uint32(sum), n) //nolint:gosec // any part of it does
}

// newPod makes the n-th pod, ready, of a service.
func (t templates) newPod(service, n int) *corev1.Pod {
	return filled[corev1.Pod](t, service, n,
		"$NUMBER", fmt.Sprintf("%05d", n), "$IP", fmt.Sprintf("10.244.%d.%d", n/250, 1+n%250),
		"$HOST_IP", fmt.Sprintf("192.168.1.%d", 1+n%nodes),
		"$CONTAINER0", fmt.Sprintf("%064x", 2*n), "$CONTAINER1", fmt.Sprintf("%064x", 2*n+1))
}

// setReady makes the pod ready or not; it changes the pod it is given.
func setReady(pod *corev1.Pod, ready bool) {
	state := corev1.ConditionFalse
	if ready {
		state = corev1.ConditionTrue
	}
	for i := range pod.Status.Conditions {
		if c := &pod.Status.Conditions[i]; c.Type == corev1.PodReady || c.Type == corev1.ContainersReady {
			c.Status, c.LastTransitionTime = state, metav1.Now()
		}
	}
	pod.Status.ContainerStatuses[0].Ready = ready
}

func (t templates) newService(n int) *corev1.Service {
	return filled[corev1.Service](t, n, n, "$CLUSTER_IP", fmt.Sprintf("10.96.0.%d", n+1))
}

// newSlice makes the EndpointSlice of a service, with pods.
func (t templates) newSlice(service int, pods []*corev1.Pod) *discoveryv1.EndpointSlice {
	slice := filled[discoveryv1.EndpointSlice](t, service, service)
	for _, pod := range pods {
		ready := pod.Status.ContainerStatuses[0].Ready
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{
			Addresses:  []string{pod.Status.PodIP},
			Conditions: discoveryv1.EndpointConditions{Ready: new(ready), Serving: new(ready), Terminating: new(false)},
			NodeName:   new(pod.Spec.NodeName),
			TargetRef:  &corev1.ObjectReference{Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID},
		})
	}
	return slice
}

// newMonitor makes the ServiceMonitor of a service. Every second one has a
// relabeling, about as many as among published monitors, and the commonest one.
func (t templates) newMonitor(n int, interval string) *monitoringv1.ServiceMonitor {
	monitor := filled[monitoringv1.ServiceMonitor](t, n, n, "$INTERVAL", interval)
	if n%2 == 0 {
		monitor.Spec.Endpoints[0].RelabelConfigs = nil
	}
	return monitor
}
