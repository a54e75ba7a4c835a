package main

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strconv"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// shipped are the files that promlet is shown as a user would apply them.
var shipped = [...]string{"service.yaml", "servicemonitor.yaml", "hpa.yaml"}

// example is what the demo must know of the manifests.
type example struct {
	service corev1.Service
	hpa     autoscalingv2.HorizontalPodAutoscaler
	pods    []string // names, in the order of the applications
}

// readExample reads the shipped manifests.
func readExample(dir string) (*example, error) {
	e := &example{}
	err := errors.Join(
		read(filepath.Join(dir, "service.yaml"), "Service", &e.service, &e.service.TypeMeta),
		read(filepath.Join(dir, "hpa.yaml"), "HorizontalPodAutoscaler", &e.hpa, &e.hpa.TypeMeta),
	)
	if err != nil {
		return nil, err
	}
	if len(e.service.Spec.Ports) == 0 || len(e.service.Spec.Selector) == 0 {
		return nil, fmt.Errorf("%s: the Service needs a port and a selector", filepath.Join(dir, "service.yaml"))
	}
	if e.hpa.Namespace != e.service.Namespace || e.hpa.Namespace == "" {
		return nil, fmt.Errorf("%s: the HorizontalPodAutoscaler and the Service must name the same namespace", dir)
	}
	return e, nil
}

// read decodes one object strictly and checks its kind.
func read(path, kind string, into any, meta *metav1.TypeMeta) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := yaml.UnmarshalStrict(b, into); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if meta.Kind != kind {
		return fmt.Errorf("%s: is a %q, not a %s", path, meta.Kind, kind)
	}
	return nil
}

// write puts into dir the shipped manifests and what a cluster would add to them: a Pod and an EndpointSlice for
// each application. All applications have one IP address and differ in the port, which is
// why each needs a slice of its own.
func (e *example) write(dir, from string, applications []string) error {
	for _, name := range shipped {
		b, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			return err
		}
	}
	for i, address := range applications {
		name := fmt.Sprintf("%s-%d", e.service.Name, i+1)
		objects, err := e.behind(name, address)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name+".yaml"), objects, 0o600); err != nil {
			return err
		}
		e.pods = append(e.pods, name)
	}
	return nil
}

// podMeta is that of a pod of the Deployment that the HPA scales.
func (e *example) podMeta(name string) metav1.ObjectMeta {
	const hash = "demo"
	labels := maps.Clone(e.service.Spec.Selector)
	labels["pod-template-hash"] = hash
	return metav1.ObjectMeta{
		Name: name, Namespace: e.service.Namespace, Labels: labels,
		OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: e.hpa.Spec.ScaleTargetRef.Name + "-" + hash, UID: hash}},
	}
}

// behind renders the Pod and the EndpointSlice of an application.
func (e *example) behind(name, address string) ([]byte, error) {
	ip, p, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	number, err := strconv.ParseInt(p, 10, 32)
	if err != nil {
		return nil, err
	}
	port, ready, portName := int32(number), true, e.service.Spec.Ports[0].Name
	pod := corev1.Pod{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: e.podMeta(name),
		Spec: corev1.PodSpec{Containers: []corev1.Container{{
			Name: e.service.Name, Image: e.service.Name + ":dev",
			Ports: []corev1.ContainerPort{{Name: portName, ContainerPort: port}},
		}}},
		Status: corev1.PodStatus{
			Phase: corev1.PodRunning, PodIP: ip, PodIPs: []corev1.PodIP{{IP: ip}},
			Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
		},
	}
	slice := discoveryv1.EndpointSlice{
		TypeMeta: metav1.TypeMeta{APIVersion: "discovery.k8s.io/v1", Kind: "EndpointSlice"},
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Namespace: e.service.Namespace,
			Labels: map[string]string{discoveryv1.LabelServiceName: e.service.Name},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints: []discoveryv1.Endpoint{{
			Addresses: []string{ip}, Conditions: discoveryv1.EndpointConditions{Ready: &ready},
			TargetRef: &corev1.ObjectReference{Kind: "Pod", Name: name, Namespace: e.service.Namespace},
		}},
		Ports: []discoveryv1.EndpointPort{{Name: &portName, Port: &port}},
	}
	podYAML, err := yaml.Marshal(pod)
	if err != nil {
		return nil, err
	}
	sliceYAML, err := yaml.Marshal(slice)
	return append(append(podYAML, "---\n"...), sliceYAML...), err
}
