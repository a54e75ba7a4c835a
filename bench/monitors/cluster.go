package monitors

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// Cluster is the objects that both sides are given. Every namespaced object has a
// namespace. Objects are shared by all readers: none is changed once it is in use.
type Cluster struct {
	Settings        Settings
	Namespaces      []*corev1.Namespace
	Nodes           []*corev1.Node
	Services        []*corev1.Service
	EndpointSlices  []*discoveryv1.EndpointSlice
	Pods            []*corev1.Pod
	Secrets         []*corev1.Secret
	ConfigMaps      []*corev1.ConfigMap
	ServiceMonitors []*monitoringv1.ServiceMonitor
	PodMonitors     []*monitoringv1.PodMonitor
}

// Settings are what is not an object: the same fact for promlet's Options and for
// the Prometheus object of the operator. In files it is a document of kind Settings.
type Settings struct {
	metav1.TypeMeta `json:",inline"`
	// FileAccess says whether monitors may name files.
	FileAccess bool `json:"fileAccess,omitempty"`
	// MonitorSelector and MonitorNamespaceSelector say which monitors count, by
	// their labels and by those of their namespaces. nil is every one.
	MonitorSelector          *metav1.LabelSelector `json:"monitorSelector,omitempty"`
	MonitorNamespaceSelector *metav1.LabelSelector `json:"monitorNamespaceSelector,omitempty"`
}

// settingsGroup is the apiVersion of a document of kind Settings.
const settingsGroup = "monitors.bench/v1"

// document is one object in the form that JSON gives it.
type document = map[string]any

// collection is the objects of one kind in a Cluster.
type collection struct {
	apiVersion, kind string
	add              func(json []byte) error
	each             func(func(any) error) error
}

func collectionOf[T any](apiVersion, kind string, to *[]*T) collection {
	return collection{
		apiVersion: apiVersion, kind: kind,
		add: func(raw []byte) error {
			obj := new(T)
			d := json.NewDecoder(bytes.NewReader(raw))
			d.DisallowUnknownFields()
			if err := d.Decode(obj); err != nil {
				return fmt.Errorf("decode %s: %w", kind, err)
			}
			*to = append(*to, obj)
			return nil
		},
		each: func(f func(any) error) error {
			for _, obj := range *to {
				if err := f(obj); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func (c *Cluster) collections() []collection {
	monitoring := monitoringv1.SchemeGroupVersion.String()
	return []collection{
		collectionOf("v1", "Namespace", &c.Namespaces),
		collectionOf("v1", "Node", &c.Nodes),
		collectionOf("v1", "Secret", &c.Secrets),
		collectionOf("v1", "ConfigMap", &c.ConfigMaps),
		collectionOf("v1", "Service", &c.Services),
		collectionOf("v1", "Pod", &c.Pods),
		collectionOf(discoveryv1.SchemeGroupVersion.String(), "EndpointSlice", &c.EndpointSlices),
		collectionOf(monitoring, monitoringv1.ServiceMonitorsKind, &c.ServiceMonitors),
		collectionOf(monitoring, monitoringv1.PodMonitorsKind, &c.PodMonitors),
	}
}

// ReadCluster reads the objects of a YAML stream. A namespaced object without a
// namespace is in "default"; the stringData of a Secret becomes data. Fields that
// do not exist are errors.
func ReadCluster(r io.Reader) (*Cluster, error) {
	var docs []document
	reader := utilyaml.NewYAMLReader(bufio.NewReader(r))
	for {
		text, err := reader.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read document: %w", err)
		}
		var doc document
		if err := yaml.UnmarshalStrict(text, &doc); err != nil {
			return nil, fmt.Errorf("parse document %d: %w", len(docs), err)
		}
		if doc != nil { // nothing but comments
			docs = append(docs, doc)
		}
	}
	return fromDocuments(docs)
}

// fromDocuments makes a Cluster of the objects that documents gives.
func fromDocuments(docs []document) (*Cluster, error) {
	c := &Cluster{}
	byKind := map[string]collection{}
	for _, col := range c.collections() {
		byKind[col.apiVersion+" "+col.kind] = col
	}
	for i, doc := range docs {
		kind := fmt.Sprint(doc["apiVersion"], " ", doc["kind"])
		raw, err := json.Marshal(doc)
		if err != nil {
			return nil, fmt.Errorf("document %d: encode %s: %w", i, kind, err)
		}
		if kind == settingsGroup+" Settings" {
			if err := json.Unmarshal(raw, &c.Settings); err != nil {
				return nil, fmt.Errorf("document %d: decode settings: %w", i, err)
			}
			continue
		}
		col, ok := byKind[kind]
		if !ok {
			return nil, fmt.Errorf("document %d: unknown kind %q", i, kind)
		}
		if err := col.add(raw); err != nil {
			return nil, fmt.Errorf("document %d: %w", i, err)
		}
	}
	c.complete()
	return c, nil
}

// complete does what the API server does on admission, as far as anyone here looks.
func (c *Cluster) complete() {
	namespaced := func(m *metav1.ObjectMeta) {
		if m.Namespace == "" {
			m.Namespace = metav1.NamespaceDefault
		}
	}
	for _, s := range c.Secrets {
		namespaced(&s.ObjectMeta)
		for k, v := range s.StringData {
			if s.Data == nil {
				s.Data = map[string][]byte{}
			}
			s.Data[k] = []byte(v)
		}
		s.StringData = nil
	}
	for _, o := range c.ConfigMaps {
		namespaced(&o.ObjectMeta)
	}
	for _, o := range c.Services {
		namespaced(&o.ObjectMeta)
	}
	for _, o := range c.Pods {
		namespaced(&o.ObjectMeta)
	}
	for _, o := range c.EndpointSlices {
		namespaced(&o.ObjectMeta)
	}
	for _, o := range c.ServiceMonitors {
		namespaced(&o.ObjectMeta)
	}
	for _, o := range c.PodMonitors {
		namespaced(&o.ObjectMeta)
	}
}

// documents gives all objects in a fixed order of kinds.
func (c *Cluster) documents() ([]document, error) {
	var docs []document
	if s := c.Settings; s.FileAccess || s.MonitorSelector != nil || s.MonitorNamespaceSelector != nil {
		s.TypeMeta = metav1.TypeMeta{APIVersion: settingsGroup, Kind: "Settings"}
		doc, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&s)
		if err != nil {
			return nil, fmt.Errorf("convert settings: %w", err)
		}
		docs = append(docs, doc)
	}
	for _, col := range c.collections() {
		err := col.each(func(obj any) error {
			if s, ok := obj.(*corev1.Secret); ok {
				obj = readableSecret(s)
			}
			doc, err := runtime.DefaultUnstructuredConverter.ToUnstructured(obj)
			if err != nil {
				return fmt.Errorf("convert %s: %w", col.kind, err)
			}
			doc["apiVersion"], doc["kind"] = col.apiVersion, col.kind
			docs = append(docs, pruned(doc))
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return docs, nil
}

// readableSecret shows the data as text.
func readableSecret(s *corev1.Secret) *corev1.Secret {
	s = s.DeepCopy()
	for k, v := range s.Data {
		if s.StringData == nil {
			s.StringData = map[string]string{}
		}
		s.StringData[k] = string(v)
	}
	s.Data = nil
	return s
}

// pruned takes away what Go's types put into every object.
func pruned(doc document) document {
	if doc["kind"] != "Pod" {
		delete(doc, "status") // which nobody here reads
	}
	for _, key := range []string{"status", "spec"} {
		if m, ok := doc[key].(document); ok && (len(m) == 0 || len(m) == 1 && m["containers"] == nil && doc["kind"] == "Pod" && key == "spec") {
			delete(doc, key)
		}
	}
	if m, ok := doc["metadata"].(document); ok && m["creationTimestamp"] == nil {
		delete(m, "creationTimestamp")
	}
	return doc
}

// YAML gives the objects as a stream that ReadCluster reads.
func (c *Cluster) YAML() (string, error) {
	docs, err := c.documents()
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, doc := range docs {
		text, err := yaml.Marshal(doc)
		if err != nil {
			return "", fmt.Errorf("print %v: %w", doc["kind"], err)
		}
		b.WriteString("---\n")
		b.Write(text)
	}
	return b.String(), nil
}

// DeepCopy copies all objects.
func (c *Cluster) DeepCopy() *Cluster {
	out := &Cluster{
		Settings:        c.Settings,
		Namespaces:      copies(c.Namespaces),
		Nodes:           copies(c.Nodes),
		Services:        copies(c.Services),
		EndpointSlices:  copies(c.EndpointSlices),
		Pods:            copies(c.Pods),
		Secrets:         copies(c.Secrets),
		ConfigMaps:      copies(c.ConfigMaps),
		ServiceMonitors: copies(c.ServiceMonitors),
		PodMonitors:     copies(c.PodMonitors),
	}
	out.Settings.MonitorSelector = c.Settings.MonitorSelector.DeepCopy()
	out.Settings.MonitorNamespaceSelector = c.Settings.MonitorNamespaceSelector.DeepCopy()
	return out
}

func copies[T interface{ DeepCopy() T }](in []T) []T {
	var out []T
	for _, x := range in {
		out = append(out, x.DeepCopy())
	}
	return out
}
