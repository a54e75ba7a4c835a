package monitors

import (
	"bufio"
	"bytes"
	_ "embed" // pems.yaml
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
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

//go:embed pems.yaml
var pemsYAML []byte

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
	// EnforceNamespaceLabel gives all targets and series the namespace of their monitor,
	// but for monitors of the ExemptNamespaces.
	EnforceNamespaceLabel bool     `json:"enforceNamespaceLabel,omitempty"`
	ExemptNamespaces      []string `json:"exemptNamespaces,omitempty"`
	// IgnoreNamespaceSelectors confines monitors to their own namespace.
	IgnoreNamespaceSelectors bool `json:"ignoreNamespaceSelectors,omitempty"`
	// Shard is the index of the shard to compare, of Shards. Zero Shards mean one.
	Shard  int32 `json:"shard,omitempty"`
	Shards int32 `json:"shards,omitempty"`
}

// settingsGroup is the apiVersion of a document of kind Settings.
const settingsGroup = "monitors.bench/v1"

// document is one object in the form that JSON gives it.
type document = map[string]any

// kind is the objects of one kind in a Cluster.
type kind struct {
	resource schema.GroupResource
	gvk      schema.GroupVersionKind
	add      func(json []byte) error
	all      func() []metav1.Object
}

func kindOf[T any](gvk schema.GroupVersionKind, resource string, to *[]*T) kind {
	return kind{
		resource: schema.GroupResource{Group: gvk.Group, Resource: resource}, gvk: gvk,
		add: func(raw []byte) error {
			obj := new(T)
			d := json.NewDecoder(bytes.NewReader(raw))
			d.DisallowUnknownFields()
			if err := d.Decode(obj); err != nil {
				return fmt.Errorf("decode %s: %w", gvk.Kind, err)
			}
			*to = append(*to, obj)
			return nil
		},
		all: func() []metav1.Object {
			var out []metav1.Object
			for _, obj := range *to {
				if m, ok := any(obj).(metav1.Object); ok { // it is
					out = append(out, m)
				}
			}
			return out
		},
	}
}

func (c *Cluster) kinds() []kind {
	return []kind{
		kindOf(corev1.SchemeGroupVersion.WithKind("Namespace"), "namespaces", &c.Namespaces),
		kindOf(corev1.SchemeGroupVersion.WithKind("Node"), "nodes", &c.Nodes),
		kindOf(corev1.SchemeGroupVersion.WithKind("Secret"), "secrets", &c.Secrets),
		kindOf(corev1.SchemeGroupVersion.WithKind("ConfigMap"), "configmaps", &c.ConfigMaps),
		kindOf(corev1.SchemeGroupVersion.WithKind("Service"), "services", &c.Services),
		kindOf(corev1.SchemeGroupVersion.WithKind("Pod"), "pods", &c.Pods),
		kindOf(discoveryv1.SchemeGroupVersion.WithKind("EndpointSlice"), "endpointslices", &c.EndpointSlices),
		kindOf(monitoringv1.SchemeGroupVersion.WithKind(monitoringv1.ServiceMonitorsKind), monitoringv1.ServiceMonitorName, &c.ServiceMonitors),
		kindOf(monitoringv1.SchemeGroupVersion.WithKind(monitoringv1.PodMonitorsKind), monitoringv1.PodMonitorName, &c.PodMonitors),
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

// fromDocuments makes a Cluster of the objects that documents returns, and does what the
// API server does on admission, as far as anyone here looks.
func fromDocuments(docs []document) (*Cluster, error) {
	c := &Cluster{}
	byKind := map[string]kind{}
	for _, k := range c.kinds() {
		byKind[k.gvk.GroupVersion().String()+" "+k.gvk.Kind] = k
	}
	for i, doc := range docs {
		name := fmt.Sprint(doc["apiVersion"], " ", doc["kind"])
		raw, err := json.Marshal(doc)
		if err != nil {
			return nil, fmt.Errorf("document %d: encode %s: %w", i, name, err)
		}
		if name == settingsGroup+" Settings" {
			if err := json.Unmarshal(raw, &c.Settings); err != nil {
				return nil, fmt.Errorf("document %d: decode settings: %w", i, err)
			}
			continue
		}
		k, ok := byKind[name]
		if !ok {
			return nil, fmt.Errorf("document %d: unknown kind %q", i, name)
		}
		if err := k.add(raw); err != nil {
			return nil, fmt.Errorf("document %d: %w", i, err)
		}
	}
	for _, k := range c.kinds() {
		for _, obj := range k.all() {
			if obj.GetNamespace() == "" && k.gvk.Kind != "Namespace" && k.gvk.Kind != "Node" {
				obj.SetNamespace(metav1.NamespaceDefault)
			}
		}
	}
	for _, s := range c.Secrets {
		for k, v := range s.StringData {
			if s.Data == nil {
				s.Data = map[string][]byte{}
			}
			s.Data[k] = []byte(v)
		}
		s.StringData = nil
	}
	return c, nil
}

// documents returns all objects in a fixed order of kinds.
func (c *Cluster) documents() ([]document, error) {
	var docs []document
	if s := c.Settings; s.FileAccess || s.Shards > 0 || s.MonitorSelector != nil || s.MonitorNamespaceSelector != nil {
		s.TypeMeta = metav1.TypeMeta{APIVersion: settingsGroup, Kind: "Settings"}
		doc, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&s)
		if err != nil {
			return nil, fmt.Errorf("convert settings: %w", err)
		}
		docs = append(docs, doc)
	}
	for _, k := range c.kinds() {
		for _, obj := range k.all() {
			if s, ok := obj.(*corev1.Secret); ok {
				obj = readableSecret(s)
			}
			doc, err := runtime.DefaultUnstructuredConverter.ToUnstructured(obj)
			if err != nil {
				return nil, fmt.Errorf("convert %s: %w", k.gvk.Kind, err)
			}
			doc["apiVersion"], doc["kind"] = k.gvk.GroupVersion().String(), k.gvk.Kind
			docs = append(docs, pruned(doc))
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

// fillPEMs replaces the values of Secrets and ConfigMaps that stand for PEM text.
func (c *Cluster) fillPEMs() error {
	var texts map[string]string
	if err := yaml.UnmarshalStrict(pemsYAML, &texts); err != nil {
		return fmt.Errorf("read pems.yaml: %w", err)
	}
	for _, s := range c.Secrets {
		for k, v := range s.Data {
			if text, ok := texts[string(v)]; ok {
				s.Data[k] = []byte(text)
			}
		}
	}
	for _, m := range c.ConfigMaps {
		for k, v := range m.Data {
			if text, ok := texts[v]; ok {
				m.Data[k] = text
			}
		}
	}
	return nil
}
