package monitors

import (
	"fmt"
	"strings"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/relabel"
)

// relabelConfigs converts a monitor's relabelings; path names the list in errors.
func relabelConfigs(path string, rules []monitoringv1.RelabelConfig) ([]*relabel.Config, error) {
	var out []*relabel.Config
	for i := range rules {
		c, err := relabelConfig(&rules[i])
		if err != nil {
			return nil, fmt.Errorf("%s[%d]: %w", path, i, err)
		}
		out = append(out, c)
	}
	return out, nil
}

// relabelConfig converts one rule. A field that is not set has Prometheus's default, and
// actions become lower case.
func relabelConfig(rule *monitoringv1.RelabelConfig) (*relabel.Config, error) {
	c := relabel.DefaultRelabelConfig
	for i, name := range rule.SourceLabels {
		if !model.UTF8Validation.IsValidLabelName(string(name)) {
			return nil, fmt.Errorf("sourceLabels[%d]: %q is not a label name", i, name)
		}
		c.SourceLabels = append(c.SourceLabels, model.LabelName(name))
	}
	if rule.Separator != nil {
		c.Separator = *rule.Separator
	}
	if rule.Replacement != nil {
		c.Replacement = *rule.Replacement
	}
	if rule.Modulus < 0 {
		return nil, fmt.Errorf("modulus: %d is negative", rule.Modulus)
	}
	c.Modulus = uint64(rule.Modulus)
	c.TargetLabel = rule.TargetLabel
	if rule.Action != "" {
		c.Action = relabel.Action(strings.ToLower(rule.Action))
	}
	if !knownAction(c.Action) {
		return nil, fmt.Errorf("action: %q is not known", rule.Action)
	}
	// The default expression must stay the same object: Prometheus knows by its
	// address that none was given.
	if rule.Regex != "" && rule.Regex != relabel.DefaultRelabelConfig.Regex.String() {
		re, err := relabel.NewRegexp(rule.Regex)
		if err != nil {
			return nil, fmt.Errorf("regex: %w", err)
		}
		c.Regex = re
	}
	if err := c.Validate(model.UTF8Validation); err != nil {
		return nil, err
	}
	return &c, nil
}

// knownAction guards the scraper, which panics on an action it does not know.
func knownAction(a relabel.Action) bool {
	switch a {
	case relabel.Replace, relabel.Keep, relabel.Drop, relabel.KeepEqual, relabel.DropEqual,
		relabel.HashMod, relabel.LabelMap, relabel.LabelDrop, relabel.LabelKeep,
		relabel.Lowercase, relabel.Uppercase:
		return true
	}
	return false
}
