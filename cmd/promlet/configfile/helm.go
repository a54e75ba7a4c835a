package configfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	strictjson "sigs.k8s.io/json"

	"github.com/promlet/promlet/adapter/rules"
)

// helmValues has the rules among the values of prometheus-adapter's Helm chart.
type helmValues struct {
	// Default adds the default rules before Custom. nil means true, as in the chart.
	Default  *bool                `json:"default,omitempty"`
	Custom   []rules.Rule         `json:"custom,omitempty"`
	Existing *string              `json:"existing,omitempty"`
	External []rules.Rule         `json:"external,omitempty"`
	Resource *rules.ResourceRules `json:"resource,omitempty"`
}

// helmRules returns the value of rules in the values of prometheus-adapter's Helm chart, where
// it is a map. It returns nil for other JSON.
func helmRules(asJSON []byte) json.RawMessage {
	var outer struct {
		Rules json.RawMessage `json:"rules"`
	}
	if json.Unmarshal(asJSON, &outer) != nil || !bytes.HasPrefix(outer.Rules, []byte("{")) {
		return nil
	}
	return outer.Rules
}

// parseHelmRules returns the configuration that prometheus-adapter's chart makes of rules in
// its values.
func parseHelmRules(asJSON json.RawMessage) (File, error) {
	var values struct {
		Rules helmValues `json:"rules"`
	}
	unknown, err := strictjson.UnmarshalStrict(fmt.Appendf(nil, `{"rules":%s}`, asJSON), &values)
	if err := errors.Join(append(unknown, plainTypeError(err))...); err != nil {
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
