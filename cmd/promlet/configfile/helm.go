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

// chartKeys are the other values of prometheus-adapter's Helm chart. They are about its objects, not its configuration.
var chartKeys = []string{
	"affinity", "certManager", "customAnnotations", "customLabels", "deploymentAnnotations", "dnsConfig", "dnsPolicy", "env", "extraArguments",
	"extraContainers", "extraManifests", "extraVolumeMounts", "extraVolumes", "fullnameOverride", "global", "hostNetwork", "image",
	"listenPort", "livenessProbe", "logLevel", "metricsRelistInterval", "nameOverride", "namespaceOverride", "nodeSelector", "podAnnotations",
	"podDisruptionBudget", "podLabels", "podSecurityContext", "priorityClassName", "prometheus", "psp", "rbac", "readinessProbe", "replicas",
	"resources", "revisionHistoryLimit", "securityContext", "service", "serviceAccount", "startupProbe", "strategy", "tls", "tolerations",
	"topologySpreadConstraints",
}

// splitHelmRules returns the key rules of a configuration if it is a map, as in the values of prometheus-adapter's Helm
// chart, and the configuration without it and without the chart's other values. Otherwise rules is nil.
func splitHelmRules(asJSON []byte) (rules, others json.RawMessage) {
	var outer map[string]json.RawMessage
	if json.Unmarshal(asJSON, &outer) != nil || !bytes.HasPrefix(outer["rules"], []byte("{")) {
		return nil, asJSON
	}
	rules = outer["rules"]
	delete(outer, "rules")
	for _, key := range chartKeys {
		delete(outer, key)
	}
	others, err := json.Marshal(outer)
	if err != nil {
		return nil, asJSON // it was JSON before
	}
	return rules, others
}

// addHelmRules adds the configuration that prometheus-adapter's chart makes from the value rules.
func (f *File) addHelmRules(asJSON json.RawMessage) error {
	var values struct {
		Rules helmValues `json:"rules"`
	}
	unknown, err := strictjson.UnmarshalStrict(fmt.Appendf(nil, `{"rules":%s}`, asJSON), &values)
	if err := errors.Join(append(unknown, plainTypeError(err))...); err != nil {
		return err
	}
	v := values.Rules
	switch {
	case v.Existing != nil && *v.Existing != "":
		return errors.New("rules.existing: the rules are in the ConfigMap " + *v.Existing + ": use that ConfigMap")
	case v.External != nil && f.ExternalRules != nil:
		return errors.New("externalRules: rules.external has external rules too: keep one of the two")
	case v.Resource != nil && f.ResourceRules != nil:
		return errors.New("resourceRules: rules.resource is set too: keep one of the two")
	}
	f.Rules, f.withDefaults = v.Custom, v.Default == nil || *v.Default
	if v.External != nil {
		f.ExternalRules = v.External
	}
	if v.Resource != nil {
		f.ResourceRules = v.Resource
	}
	if f.Rules == nil && !f.withDefaults {
		f.Rules = []rules.Rule{}
	}
	return nil
}
