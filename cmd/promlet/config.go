package main

import (
	"errors"
	"fmt"
	"os"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"github.com/promlet/promlet/adapter/rules"
)

// fileConfig is the file given by --config: prometheus-adapter's keys, and
// promlet's own beside them.
type fileConfig struct {
	rules.Config `json:",inline"`
	// ServiceMonitors count as if they were in the cluster.
	ServiceMonitors []*monitoringv1.ServiceMonitor `json:"serviceMonitors,omitempty"`
	// PodMonitors count as if they were in the cluster.
	PodMonitors []*monitoringv1.PodMonitor `json:"podMonitors,omitempty"`
	// Keep are regular expressions, anchored, of series names that are stored
	// whether anybody reads them or not.
	Keep []string `json:"keep,omitempty"`
}

// configMap is a ConfigMap that holds the file, as it is applied to a cluster.
type configMap struct {
	Kind string            `json:"kind"`
	Data map[string]string `json:"data"`
}

// readConfig reads the file, nil for no file.
func readConfig(path string) ([]byte, error) {
	if path == "" {
		return nil, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("--config=%s: %w", path, err)
	}
	return data, nil
}

// loadConfig reads the file, or gives an empty configuration for no file; and the
// file as it is.
func loadConfig(path string) (fileConfig, []byte, error) {
	data, err := readConfig(path)
	if err != nil {
		return fileConfig{}, nil, err
	}
	cfg, err := parseConfig(data)
	if err != nil {
		return fileConfig{}, nil, fmt.Errorf("--config=%s: %w", path, err)
	}
	return cfg, data, nil
}

// parseConfig refuses unknown keys, so that a misspelt one does not silently
// change what is served. Errors name the key by its path.
func parseConfig(data []byte) (fileConfig, error) {
	asJSON, err := unwrap(data)
	if err != nil {
		return fileConfig{}, err
	}
	var cfg fileConfig
	unknown, err := json.UnmarshalStrict(asJSON, &cfg)
	if err := errors.Join(append(unknown, err)...); err != nil {
		return fileConfig{}, err
	}
	for i, m := range cfg.ServiceMonitors {
		if m == nil || m.Name == "" {
			return fileConfig{}, fmt.Errorf("serviceMonitors[%d]: give it a metadata.name", i)
		}
	}
	for i, m := range cfg.PodMonitors {
		if m == nil || m.Name == "" {
			return fileConfig{}, fmt.Errorf("podMonitors[%d]: give it a metadata.name", i)
		}
	}
	return cfg, nil
}

// unwrap gives the configuration as JSON, also out of a ConfigMap's manifest.
func unwrap(data []byte) ([]byte, error) {
	asJSON, err := yaml.YAMLToJSONStrict(data)
	if err != nil {
		return nil, err
	}
	var outer configMap
	if err := json.UnmarshalCaseSensitivePreserveInts(asJSON, &outer); err != nil || outer.Kind != "ConfigMap" {
		return asJSON, nil // what is wrong with it is told with its path later
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

// rules are what the adapter goes by.
func (c fileConfig) rules(o *options) rules.Set {
	set := rules.Set{Custom: c.Rules, External: c.ExternalRules, Keep: c.Keep}
	if set.Custom == nil {
		set.Custom = rules.Defaults(o.rateWindow)
	}
	return set
}

// notServed tells of what loads, for prometheus-adapter's sake, and has no effect.
func (c fileConfig) notServed() []string {
	if len(c.ResourceRules) == 0 {
		return nil
	}
	return []string{"resourceRules: they are not served: metrics.k8s.io is metrics-server's"}
}
