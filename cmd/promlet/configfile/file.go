// Package configfile reads the file of --config, and reports what is wrong or odd in it without a cluster.
package configfile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"github.com/promlet/promlet/adapter/rules"
	"github.com/promlet/promlet/tsdb/remotewrite"
)

// File has prometheus-adapter's keys, and promlet's own beside them.
type File struct {
	rules.Config `json:",inline"`
	// ServiceMonitors count as if they were in the cluster.
	ServiceMonitors []*monitoringv1.ServiceMonitor `json:"serviceMonitors,omitempty"`
	// PodMonitors count as if they were in the cluster.
	PodMonitors []*monitoringv1.PodMonitor `json:"podMonitors,omitempty"`
	// Keep are regular expressions, anchored, of series names that are stored
	// whether anybody reads them or not.
	Keep []string `json:"keep,omitempty"`
	// RemoteWrite has the keys of Prometheus's remote_write section. All stored samples are sent there.
	RemoteWrite []map[string]any `json:"remoteWrite,omitempty"`
	// ExternalLabels are added to the series that RemoteWrite sends, unless they have these labels. They are
	// external_labels of Prometheus's global section.
	ExternalLabels map[string]string `json:"externalLabels,omitempty"`
	// Query is a Prometheus, Thanos, Mimir or VictoriaMetrics to query, in place of --prometheus-url. It has a url and
	// the settings of Prometheus's HTTP clients, such as basic_auth, authorization, tls_config, http_headers and
	// proxy_url. A change is applied at once; adding or removing it needs a restart.
	Query *Query `json:"query,omitempty"`

	withDefaults bool // whether the default rules precede Rules
}

// Load returns the file and its bytes. An empty path is an empty file.
func Load(path string) (File, []byte, error) {
	if path == "" {
		return File{}, nil, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return File{}, nil, err
	}
	file, err := Parse(data)
	return file, data, err
}

// Parse reads a configuration, alone or in the manifest of a ConfigMap. rules can be a map, as in the values of
// prometheus-adapter's Helm chart; the chart's other values are then ignored. It rejects unknown keys, so that a misspelt
// key does not silently change what is served. Errors name the path of the key.
func Parse(data []byte) (File, error) {
	asJSON, err := unwrap(data)
	if err != nil {
		return File{}, err
	}
	helmRules, asJSON := splitHelmRules(asJSON)
	var file File
	unknown, err := json.UnmarshalStrict(asJSON, &file)
	if err := errors.Join(append(unknown, plainTypeError(err))...); err != nil {
		return File{}, err
	}
	if helmRules != nil {
		if err := file.addHelmRules(helmRules); err != nil {
			return File{}, err
		}
	}
	for i, m := range file.ServiceMonitors {
		if m == nil || m.Name == "" {
			return File{}, fmt.Errorf("serviceMonitors[%d]: give it a metadata.name", i)
		}
	}
	for i, m := range file.PodMonitors {
		if m == nil || m.Name == "" {
			return File{}, fmt.Errorf("podMonitors[%d]: give it a metadata.name", i)
		}
	}
	_, err = file.Queues("")
	return file, err
}

// Queues returns the queues of remoteWrite. File names in it are relative to the file at path.
func (f File) Queues(path string) (remotewrite.Config, error) {
	return remotewrite.Parse(f.RemoteWrite, f.ExternalLabels, filepath.Dir(path))
}

// unwrap returns the configuration as JSON, taken out of the manifest of a ConfigMap if
// it is inside one.
func unwrap(data []byte) ([]byte, error) {
	asJSON, err := yaml.YAMLToJSONStrict(data)
	if err != nil {
		return nil, err
	}
	var outer corev1.ConfigMap
	if err := json.UnmarshalCaseSensitivePreserveInts(asJSON, &outer); err != nil || outer.Kind != "ConfigMap" {
		return asJSON, nil // Parse reports what is wrong with it, with the key's path
	}
	if len(outer.Data) != 1 {
		return nil, fmt.Errorf("the ConfigMap has %d keys in data, not one", len(outer.Data))
	}
	for key, inner := range outer.Data {
		if asJSON, err = yaml.YAMLToJSONStrict([]byte(inner)); err != nil {
			return nil, fmt.Errorf("data[%s] of the ConfigMap: %w", key, err)
		}
	}
	return asJSON, nil
}

// AdapterRules returns the file's rules. Without any, they are the default rules with
// rates over rateWindow.
func (f File) AdapterRules(rateWindow time.Duration) rules.Set {
	set := rules.Set{Custom: f.Rules, External: f.ExternalRules, Resource: f.ResourceRules, Keep: f.Keep}
	if f.HasDefaults() {
		set.Custom = append(rules.Defaults(rateWindow), f.Rules...)
	}
	return set
}

// HasDefaults reports whether the default rules are among AdapterRules.
func (f File) HasDefaults() bool { return f.Rules == nil || f.withDefaults }
