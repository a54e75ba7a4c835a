package configfile

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/prometheus/common/config"
	"go.yaml.in/yaml/v2"
	"sigs.k8s.io/json"
)

// Query is a Prometheus-compatible engine to query: its URL, and the settings of Prometheus's HTTP clients, such as
// basic_auth, authorization, tls_config, http_headers and proxy_url.
type Query struct {
	URL  string                  `yaml:"url"`
	HTTP config.HTTPClientConfig `yaml:",inline"`

	text string // the JSON; equal for equal configurations
}

// UnmarshalJSON reads the settings as Prometheus does, and rejects unknown keys.
func (q *Query) UnmarshalJSON(data []byte) error {
	*q = Query{HTTP: config.DefaultHTTPClientConfig, text: string(data)}
	type plain Query
	if err := yaml.UnmarshalStrict(data, (*plain)(q)); err != nil { // JSON is YAML
		return unknownKeys(data, err)
	}
	if q.URL == "" {
		return errors.New("query.url: give the engine's URL, such as http://prometheus.monitoring.svc:9090")
	}
	if err := q.HTTP.Validate(); err != nil {
		return fmt.Errorf("query: %w", err)
	}
	return nil
}

// Same reports whether two Queries are equal. Both may be nil.
func (q *Query) Same(other *Query) bool {
	if q == nil || other == nil {
		return q == other
	}
	return q.text == other.text
}

// unknownField finds the key in an error of yaml.
var unknownField = regexp.MustCompile(`field (\S+) not found in type`)

// unknownKeys returns an error with the paths of unknown keys. It removes the line numbers from other errors, because they
// are not those of the user's file.
func unknownKeys(data []byte, err error) error {
	of, ok := errors.AsType[*yaml.TypeError](err)
	if !ok {
		return fmt.Errorf("query: %w", err)
	}
	var tree any
	if err := json.UnmarshalCaseSensitivePreserveInts(data, &tree); err != nil {
		return fmt.Errorf("query: %w", err)
	}
	var errs []error
	for _, line := range of.Errors {
		if m := unknownField.FindStringSubmatch(line); m != nil {
			errs = append(errs, fmt.Errorf("unknown field %q", "query."+pathOf(tree, m[1])))
			continue
		}
		_, text, _ := strings.Cut(line, ": ")
		errs = append(errs, fmt.Errorf("query: %s", text))
	}
	return errors.Join(errs...)
}

// pathOf returns the path of a key in a tree, or the key if the tree does not have it.
func pathOf(tree any, key string) string {
	of, ok := tree.(map[string]any)
	if !ok {
		return key
	}
	if _, ok := of[key]; ok {
		return key
	}
	for name, below := range of {
		if path := pathOf(below, key); path != key || hasKey(below, key) {
			return name + "." + path
		}
	}
	return key
}

func hasKey(tree any, key string) bool {
	of, ok := tree.(map[string]any)
	if !ok {
		return false
	}
	_, ok = of[key]
	return ok
}
