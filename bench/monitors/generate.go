package monitors

import (
	_ "embed" // grammar.yaml
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/util/strutil"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"
)

//go:embed grammar.yaml
var grammarYAML []byte

// Generator makes random clusters by the rules of grammar.yaml.
type Generator struct {
	rules map[string]any
	names *regexp.Regexp // of values within text
}

// NewGenerator reads the rules.
func NewGenerator() (*Generator, error) {
	g := &Generator{names: regexp.MustCompile(`\{[a-z][\w.]*\}`)}
	if err := yaml.UnmarshalStrict(grammarYAML, &g.rules); err != nil {
		return nil, fmt.Errorf("read grammar.yaml: %w", err)
	}
	return g, nil
}

// Generate makes the cluster and monitors that belong to a seed.
func (g *Generator) Generate(seed uint64) (*Cluster, error) { return g.generate(seeded(seed)) }

// GenerateFrom makes the cluster and monitors that bytes stand for: each is one
// choice, and where they end they are the seed for the rest.
func (g *Generator) GenerateFrom(data []byte) (*Cluster, error) {
	h := fnv.New64a()
	_, _ = h.Write(data) // does not fail
	r := seeded(h.Sum64())
	r.data = data
	return g.generate(r)
}

// generate makes one of two sorts of clusters: a monitor with its surroundings, or
// objects and monitors that know nothing of each other.
func (g *Generator) generate(r *choices) (*Cluster, error) {
	e := &expansion{Generator: g, choices: r, values: map[string]any{}}
	rule := "=wild"
	surrounded := r.one(3)
	if surrounded {
		rule = pick(r, "=surroundedServiceMonitor", "=surroundedPodMonitor")
	}
	c, err := fromDocuments(documentsIn(e.expand(rule)))
	if err := errors.Join(e.err, err); err != nil {
		return nil, fmt.Errorf("generate: %w", err)
	}
	if !surrounded {
		return c, c.fillPEMs()
	}
	var monitor runtime.Object
	for _, m := range c.ServiceMonitors {
		monitor = m
	}
	for _, m := range c.PodMonitors {
		monitor = m
	}
	return g.surround(monitor, r)
}

// documentsIn are the objects in lists of lists.
func documentsIn(v any) (docs []document) {
	switch v := v.(type) {
	case document:
		docs = []document{v}
	case []any:
		for _, x := range v {
			docs = append(docs, documentsIn(x)...)
		}
	}
	return docs
}

// expansion applies the rules once.
type expansion struct {
	*Generator
	*choices
	values map[string]any // by the names that let and each give them; a func() any is called
	err    error
}

// expand makes of a node of the grammar what it stands for; nil is nothing.
func (e *expansion) expand(node any) any {
	switch node := node.(type) {
	case string:
		if name, ok := strings.CutPrefix(node, "="); ok {
			return e.named(name)
		}
		return e.names.ReplaceAllStringFunc(node, func(name string) string {
			if v := e.value(strings.Trim(name, "{}")); v != nil {
				return fmt.Sprint(v)
			}
			return name
		})
	case []any:
		out := []any{}
		for _, x := range node {
			if x = e.expand(x); x != nil {
				out = append(out, x)
			}
		}
		return out
	case document:
		return e.expandMap(node)
	}
	return node
}

func (e *expansion) expandMap(node document) any {
	switch {
	case node["pick"] != nil:
		return e.pick(node["pick"])
	case node["maybe"] != nil:
		if e.intn(2) == 0 {
			return nil
		}
		return e.pick(node["maybe"])
	case node["one"] != nil:
		return e.either(e.one(number(node["one"])), node)
	case node["if"] != nil:
		v := e.value(fmt.Sprint(node["if"]))
		return e.either(v != nil && v != false, node)
	case node["merge"] != nil:
		return mergedNodes(e.list(node["merge"]))
	case node["times"] != nil:
		out := []any{}
		for n := range number(node["least"]) + e.intn(number(node["times"])) {
			out = append(out, e.with("n", n, node["of"]))
		}
		return out
	case node["each"] != nil:
		out := []any{}
		for _, x := range e.list(node["each"]) {
			out = append(out, e.with(fmt.Sprint(node["as"]), x, node["of"]))
		}
		return out
	case node["let"] != nil:
		before := maps.Clone(e.values)
		for _, binding := range node["let"].([]any) {
			for name, x := range binding.(document) {
				e.values[name] = e.expand(x)
			}
		}
		out := e.expand(node["in"])
		e.values = before
		return out
	}
	out := document{}
	for _, key := range slices.Sorted(maps.Keys(node)) {
		if x := e.expand(node[key]); x != nil {
			out[fmt.Sprint(e.expand(key))] = x
		}
	}
	return out
}

func (e *expansion) either(first bool, node document) any {
	if first {
		return e.expand(node["of"])
	}
	return e.expand(node["else"])
}

// with expands a node with a name given to a value.
func (e *expansion) with(name string, value, node any) any {
	before := maps.Clone(e.values)
	e.values[name] = value
	out := e.expand(node)
	e.values = before
	return out
}

// pick expands one of the nodes, which may be those of a name.
func (e *expansion) pick(nodes any) any {
	if name, ok := nodes.(string); ok {
		nodes = e.expand(name)
	}
	all, _ := nodes.([]any)
	return e.expand(pick(e.choices, all...))
}

// list expands what must be a list.
func (e *expansion) list(node any) []any {
	all, ok := e.expand(node).([]any)
	if !ok {
		e.err = errors.Join(e.err, fmt.Errorf("%v is not a list", node))
	}
	return all
}

// named is a value, or what a rule gives.
func (e *expansion) named(name string) any {
	first, _, _ := strings.Cut(name, ".")
	if _, ok := e.values[first]; ok {
		v := e.value(name)
		if choose, ok := v.(func() any); ok {
			return choose()
		}
		return v
	}
	rule, ok := e.rules[name]
	if !ok {
		e.err = errors.Join(e.err, fmt.Errorf("there is no rule %q", name))
	}
	return e.expand(rule)
}

// value is what a path leads to, from a name.
func (e *expansion) value(path string) any { return at(e.values, strings.Split(path, ".")) }

func number(node any) int {
	n, _ := node.(float64)
	return int(n)
}

// mergedNodes puts maps or lists together; later keys win. Of keys that are one to
// Prometheus once they are label names (a.b and a_b), only the last is kept: which of
// them wins there is up to Go's maps.
func mergedNodes(nodes []any) any {
	var list []any
	out := document{}
	for _, node := range nodes {
		switch node := node.(type) {
		case []any:
			list = append(slices.Grow(list, 1), node...) // not nil
		case document:
			for _, key := range slices.Sorted(maps.Keys(node)) {
				name := strutil.SanitizeLabelName(key)
				maps.DeleteFunc(out, func(k string, _ any) bool { return strutil.SanitizeLabelName(k) == name })
				out[key] = node[key]
			}
		}
	}
	if list != nil {
		return list
	}
	return out
}
