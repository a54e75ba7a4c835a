package configfile

import (
	"encoding/json"
	"errors"

	strictjson "sigs.k8s.io/json"

	"github.com/promlet/promlet/adapter/rules"
)

// helmValues has the rules among the values of prometheus-adapter's Helm chart.
type helmValues struct {
	// Default adds the default rules before Custom. nil means true, as in the chart.
	Default  *bool          `json:"default,omitempty"`
	Custom   []rules.Rule   `json:"custom,omitempty"`
	Existing *string        `json:"existing,omitempty"`
	External []rules.Rule   `json:"external,omitempty"`
	Resource map[string]any `json:"resource,omitempty"`
}

// isHelmValues reports whether JSON has Helm values: their rules are a map.
func isHelmValues(asJSON []byte) bool {
	var outer struct {
		Rules map[string]any `json:"rules"`
	}
	return json.Unmarshal(asJSON, &outer) == nil && outer.Rules != nil
}

// parseHelmValues returns the configuration that prometheus-adapter's chart makes of its
// values. It ignores all values but rules.
func parseHelmValues(asJSON []byte) (File, error) {
	var outer struct {
		Rules json.RawMessage `json:"rules"`
	}
	if err := json.Unmarshal(asJSON, &outer); err != nil {
		return File{}, err
	}
	var values struct {
		Rules helmValues `json:"rules"`
	}
	asJSON, err := json.Marshal(map[string]any{"rules": outer.Rules})
	if err != nil {
		return File{}, err
	}
	unknown, err := strictjson.UnmarshalStrict(asJSON, &values)
	if err := errors.Join(append(unknown, err)...); err != nil {
		return File{}, err
	}
	v := values.Rules
	if v.Existing != nil && *v.Existing != "" {
		return File{}, errors.New("rules.existing: the rules are in the ConfigMap " + *v.Existing + ": use that ConfigMap")
	}
	file := File{withDefaults: v.Default == nil || *v.Default}
	file.Rules, file.ExternalRules, file.ResourceRules = v.Custom, v.External, v.Resource
	if file.Rules == nil && !file.withDefaults {
		file.Rules = []rules.Rule{}
	}
	return file, nil
}
