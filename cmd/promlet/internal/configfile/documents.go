package configfile

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	corev1 "k8s.io/api/core/v1"
	yamlstream "k8s.io/apimachinery/pkg/util/yaml"
	strictjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// Found is a configuration in a file.
type Found struct {
	// In is its place in the file, such as ConfigMap monitoring/adapter. It is empty if the file
	// has no other content.
	In   string
	File File
}

// Find returns the configurations in a file. The file has one configuration, or manifests as
// kubectl and helm template print them. Each ConfigMap with a configuration gives one, and all
// monitors together give another one. Find ignores other objects.
func Find(data []byte) ([]Found, error) {
	documents, err := split(data)
	if err != nil {
		return nil, err
	}
	if len(documents) == 1 && !isList(documents[0]) {
		file, err := Parse(documents[0])
		if err == nil {
			return []Found{{File: file}}, nil
		}
		if kindOf(documents[0]) == "" || kindOf(documents[0]) == "ConfigMap" {
			return nil, err
		}
	}
	var m manifests
	for i, document := range documents {
		if err := m.add(document); err != nil {
			return nil, fmt.Errorf("document %d: %w", i+1, err)
		}
	}
	if len(m.monitors.ServiceMonitors)+len(m.monitors.PodMonitors) > 0 {
		m.found = append(m.found, Found{In: "monitors", File: m.monitors})
	}
	if len(m.found) == 0 {
		return nil, errors.New("it has no configuration: give a file for --config, a ConfigMap that holds one, or monitors")
	}
	return m.found, nil
}

// split returns the documents of YAML as JSON, without empty ones.
func split(data []byte) (documents [][]byte, err error) {
	reader := yamlstream.NewYAMLReader(bufio.NewReader(bytes.NewReader(data)))
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return documents, nil
		}
		if err != nil {
			return nil, err
		}
		asJSON, err := yaml.YAMLToJSONStrict(document)
		if err != nil {
			return nil, err
		}
		if string(asJSON) != "null" {
			documents = append(documents, asJSON)
		}
	}
}

// head has the fields that identify an object.
type head struct {
	Kind     string `json:"kind"`
	Metadata struct {
		Namespace, Name string
	} `json:"metadata"`
	Items []json.RawMessage `json:"items"`
}

func headOf(document []byte) (h head) {
	_ = json.Unmarshal(document, &h) // a document that is not an object has no kind
	return h
}

func kindOf(document []byte) string { return headOf(document).Kind }

func isList(document []byte) bool { return headOf(document).Items != nil }

// manifests collects the configurations and the monitors among objects.
type manifests struct {
	found    []Found
	monitors File
}

func (m *manifests) add(document []byte) error {
	h := headOf(document)
	name := h.Metadata.Name
	if h.Metadata.Namespace != "" {
		name = h.Metadata.Namespace + "/" + name
	}
	switch {
	case h.Items != nil:
		for i, item := range h.Items {
			if err := m.add(item); err != nil {
				return fmt.Errorf("items[%d]: %w", i, err)
			}
		}
	case h.Kind == "":
		file, err := Parse(document)
		if err != nil {
			return err
		}
		m.found = append(m.found, Found{File: file})
	case h.Kind == "ConfigMap":
		return m.addConfigMap(name, document)
	case h.Kind == monitoringv1.ServiceMonitorsKind:
		monitor, err := strict[monitoringv1.ServiceMonitor](document)
		if err != nil {
			return fmt.Errorf("%s %s: %w", h.Kind, name, err)
		}
		m.monitors.ServiceMonitors = append(m.monitors.ServiceMonitors, monitor)
	case h.Kind == monitoringv1.PodMonitorsKind:
		monitor, err := strict[monitoringv1.PodMonitor](document)
		if err != nil {
			return fmt.Errorf("%s %s: %w", h.Kind, name, err)
		}
		m.monitors.PodMonitors = append(m.monitors.PodMonitors, monitor)
	}
	return nil
}

// addConfigMap adds the configurations in a ConfigMap, and ignores its other data.
func (m *manifests) addConfigMap(name string, document []byte) error {
	configMap, err := strict[corev1.ConfigMap](document)
	if err != nil {
		return fmt.Errorf("ConfigMap %s: %w", name, err)
	}
	for _, key := range slices.Sorted(maps.Keys(configMap.Data)) {
		asJSON, err := yaml.YAMLToJSON([]byte(configMap.Data[key]))
		if err != nil || !looksLikeConfig(asJSON) {
			continue
		}
		in := fmt.Sprintf("ConfigMap %s, data[%s]", name, key)
		file, err := Parse([]byte(configMap.Data[key]))
		if err != nil {
			return fmt.Errorf("%s: %w", in, err)
		}
		m.found = append(m.found, Found{In: in, File: file})
	}
	return nil
}

// looksLikeConfig reports whether JSON has a key of prometheus-adapter's configuration.
func looksLikeConfig(asJSON []byte) bool {
	var keys map[string]json.RawMessage
	if json.Unmarshal(asJSON, &keys) != nil {
		return false
	}
	for _, key := range []string{"rules", "externalRules", "resourceRules"} {
		if _, ok := keys[key]; ok {
			return true
		}
	}
	return false
}

func strict[T any](document []byte) (*T, error) {
	into := new(T)
	unknown, err := strictjson.UnmarshalStrict(document, into)
	return into, errors.Join(append(unknown, plainTypeError(err))...)
}
