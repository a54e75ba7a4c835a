package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/promlet/promlet/adapter/rules"
)

// Configuration is what promlet goes by.
type Configuration struct {
	// File is that of --config, empty for none.
	File string `json:"file,omitempty"`
	// Rules, ExternalRules and Keep are those in force, Warnings what is odd about them.
	Rules         []rules.Rule `json:"rules"`
	ExternalRules []rules.Rule `json:"externalRules,omitempty"`
	Keep          []string     `json:"keep,omitempty"`
	Warnings      []string     `json:"warnings,omitempty"`
	Flags         []Flag       `json:"flags"`
	// Versions are of promlet and what it is built of.
	Versions []Version `json:"versions"`
}

// Flag is a flag of the command line.
type Flag struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	Set   bool   `json:"set,omitempty"` // it was given
	Usage string `json:"usage"`
}

// Version is that of a component.
type Version struct {
	Of string `json:"of"`
	Is string `json:"is"`
}

// shownRule is a rule for the page.
type shownRule struct {
	Name   string // such as rules[3]
	Fields []field
}

type field struct{ Key, Value string }

type configurationData struct {
	Configuration
	Shown []shownRule `json:"-"`
}

func (s *Server) configuration(*http.Request) (any, error) {
	data := &configurationData{Configuration: s.opts.Configuration()}
	for _, list := range []struct {
		key   string
		rules []rules.Rule
	}{{"rules", data.Rules}, {"externalRules", data.ExternalRules}} {
		for i := range list.rules {
			shown, err := showRule(fmt.Sprintf("%s[%d]", list.key, i), &list.rules[i])
			if err != nil {
				return nil, err
			}
			data.Shown = append(data.Shown, shown)
		}
	}
	return data, nil
}

// showRule leaves out what a rule does not say. What is not a text is JSON, which is YAML as well.
func showRule(name string, r *rules.Rule) (shownRule, error) {
	shown := shownRule{Name: name, Fields: []field{{"seriesQuery", r.SeriesQuery}}}
	for _, part := range []struct {
		key   string
		value any
		there bool
	}{
		{"seriesFilters", r.SeriesFilters, len(r.SeriesFilters) > 0},
		{"resources", r.Resources, true},
		{"name", r.Name, r.Name != rules.Name{}},
	} {
		if !part.there {
			continue
		}
		text, err := plainJSON(part.value)
		if err != nil {
			return shown, fmt.Errorf("%s.%s: %w", name, part.key, err)
		}
		shown.Fields = append(shown.Fields, field{part.key, text})
	}
	shown.Fields = append(shown.Fields, field{"metricsQuery", r.MetricsQuery})
	return shown, nil
}

// plainJSON is JSON for reading: without what HTML would need escaped.
func plainJSON(v any) (string, error) {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return strings.TrimSpace(b.String()), err
}
