package main

import (
	"errors"
	"fmt"
	"os"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"github.com/promlet/promlet/adapter"
)

// fileConfig is the file given by --config: prometheus-adapter's keys, and
// promlet's own beside them.
type fileConfig struct {
	adapter.Config `json:",inline"`
	// ServiceMonitors and PodMonitors count as if they were in the cluster.
	ServiceMonitors []*monitoringv1.ServiceMonitor `json:"serviceMonitors,omitempty"`
	PodMonitors     []*monitoringv1.PodMonitor     `json:"podMonitors,omitempty"`
	// Keep are regular expressions, anchored, of series names that are stored
	// whether anybody reads them or not.
	Keep []string `json:"keep,omitempty"`
}

// loadConfig reads the file, or gives an empty configuration for no file.
func loadConfig(path string) (fileConfig, error) {
	if path == "" {
		return fileConfig{}, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return fileConfig{}, fmt.Errorf("--config=%s: %w", path, err)
	}
	cfg, err := parseConfig(data)
	if err != nil {
		return fileConfig{}, fmt.Errorf("--config=%s: %w", path, err)
	}
	return cfg, nil
}

// parseConfig refuses unknown keys, so that a misspelt one does not silently
// change what is served. Errors name the key by its path.
func parseConfig(data []byte) (fileConfig, error) {
	asJSON, err := yaml.YAMLToJSONStrict(data)
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

// notServed names the keys that load, for prometheus-adapter's sake, and have
// no effect.
func (c fileConfig) notServed() []string {
	var keys []string
	if len(c.ResourceRules) > 0 {
		keys = append(keys, "resourceRules")
	}
	if len(c.ExternalRules) > 0 {
		keys = append(keys, "externalRules")
	}
	return keys
}
