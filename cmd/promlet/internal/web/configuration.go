package web

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/promlet/promlet/adapter/rules"
)

// Configuration is the running configuration.
type Configuration struct {
	// File is the path of --config, empty for none.
	File string `json:"file,omitempty"`
	// Rules, ExternalRules and Keep are those in force, Warnings what is odd in them.
	Rules         []rules.Rule `json:"rules"`
	ExternalRules []rules.Rule `json:"externalRules,omitempty"`
	Keep          []string     `json:"keep,omitempty"`
	Warnings      []string     `json:"warnings,omitempty"`
	Flags         []Flag       `json:"flags"`
	// Versions are of promlet and its components.
	Versions []Version `json:"versions"`
}

// Flag is a flag of the command line.
type Flag struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	Set   bool   `json:"set,omitempty"` // on the command line
	Usage string `json:"usage"`
}

// Version is the version of a component.
type Version struct {
	Of string `json:"of"`
	Is string `json:"is"`
}

func (s *Server) configuration(*http.Request) (any, error) { return s.opts.Configuration(), nil }

// Given returns the flags that are set on the command line.
func (c Configuration) Given() (flags []Flag) { return c.flags(true) }

// Defaults returns the flags that are at their defaults.
func (c Configuration) Defaults() (flags []Flag) { return c.flags(false) }

func (c Configuration) flags(set bool) (flags []Flag) {
	for _, f := range c.Flags {
		if f.Set == set {
			flags = append(flags, f)
		}
	}
	return flags
}

// HasDefaults reports whether default rules are in force.
func (c Configuration) HasDefaults() bool {
	return slices.ContainsFunc(c.Rules, func(r rules.Rule) bool { return r.ByDefault() })
}

// shownRule is a rule with the name that errors and Events use, such as rules[3].
type shownRule struct {
	Name string
	Rule rules.Rule
}

// AllRules returns the rules of both APIs with their names. An index counts the rules of the file, without default rules.
func (c Configuration) AllRules() (all []shownRule) {
	byDefault := 0
	for i, r := range c.Rules {
		if r.ByDefault() {
			byDefault++
			all = append(all, shownRule{fmt.Sprintf("default rule %d", byDefault), r})
			continue
		}
		all = append(all, shownRule{fmt.Sprintf("rules[%d]", i-byDefault), r})
	}
	for i, r := range c.ExternalRules {
		all = append(all, shownRule{fmt.Sprintf("externalRules[%d]", i), r})
	}
	return all
}

// ruleYAML returns a rule as an element of a YAML list, with the fields in the order of prometheus-adapter's documentation.
func ruleYAML(rule rules.Rule) (string, error) {
	fields, err := fieldsOf(rule)
	if err != nil {
		return "", err
	}
	var all strings.Builder
	for _, key := range []string{"seriesQuery", "seriesFilters", "resources", "name", "metricsQuery"} {
		if _, ok := fields[key]; !ok {
			continue
		}
		text, err := yaml.Marshal(map[string]any{key: fields[key]})
		if err != nil {
			return "", err
		}
		for line := range strings.Lines(string(text)) {
			indent := "  "
			if all.Len() == 0 {
				indent = "- "
			}
			all.WriteString(indent + line)
		}
	}
	return all.String(), nil
}
