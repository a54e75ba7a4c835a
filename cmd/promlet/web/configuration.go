package web

import (
	"net/http"

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
