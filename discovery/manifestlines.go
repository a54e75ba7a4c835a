package discovery

import (
	"strconv"
	"strings"

	yamlv3 "go.yaml.in/yaml/v3"
)

// child returns the value of a key of a mapping, or nil.
func child(node *yamlv3.Node, key string) *yamlv3.Node {
	for i := 0; i+1 < len(node.Content) && node.Kind == yamlv3.MappingNode; i += 2 {
		if node.Content[i].Value == key {
			return node.Content[i+1]
		}
	}
	return nil
}

// lineOf returns the line of a field by its path, such as spec.endpoints[0].port,
// or that of the nearest field above it. Where the path leaves out the index of an
// item, as those of encoding/json do, the first item counts that has the field and
// whose value satisfies fits (nil: any).
func lineOf(node *yamlv3.Node, path string, fits func(*yamlv3.Node) bool) int {
	line, _ := findLine(node, node.Line, path, fits)
	return line
}

// findLine looks for path below node; at is the line node is known by.
func findLine(node *yamlv3.Node, at int, path string, fits func(*yamlv3.Node) bool) (line int, found bool) {
	if node.Kind == yamlv3.AliasNode && node.Alias != nil {
		node = node.Alias
	}
	if path == "" {
		if fits == nil || fits(node) {
			return at, true
		}
		return findValue(node, at, fits)
	}
	switch node.Kind {
	case yamlv3.SequenceNode:
		return findItem(node, at, path, fits)
	case yamlv3.MappingNode:
		// Keys may hold dots themselves: the longest that fits counts.
		best, rest := -1, ""
		for i := 0; i+1 < len(node.Content); i += 2 {
			key := node.Content[i].Value
			after, ok := strings.CutPrefix(path, key)
			if ok && (after == "" || after[0] == '.' || after[0] == '[') && (best < 0 || len(key) > len(node.Content[best].Value)) {
				best, rest = i, strings.TrimPrefix(after, ".")
			}
		}
		if best >= 0 {
			return findLine(node.Content[best+1], node.Content[best].Line, rest, fits)
		}
	}
	return at, false
}

// findValue looks for the value of a map or list that fits, whose key or index
// encoding/json does not tell.
func findValue(node *yamlv3.Node, at int, fits func(*yamlv3.Node) bool) (line int, found bool) {
	step := 1
	if node.Kind == yamlv3.MappingNode {
		step = 2
	}
	for i := step - 1; i < len(node.Content); i += step {
		if fits(node.Content[i]) {
			return node.Content[i].Line, true
		}
	}
	return at, false
}

func findItem(node *yamlv3.Node, at int, path string, fits func(*yamlv3.Node) bool) (line int, found bool) {
	if index, rest, ok := strings.Cut(strings.TrimPrefix(path, "["), "]"); ok && path[0] == '[' {
		i, err := strconv.Atoi(index)
		if err != nil || i < 0 || i >= len(node.Content) {
			return at, false
		}
		item := node.Content[i]
		return findLine(item, item.Line, strings.TrimPrefix(rest, "."), fits)
	}
	for _, item := range node.Content {
		if line, ok := findLine(item, item.Line, path, fits); ok {
			return line, true
		}
	}
	return at, false
}

// jsonType returns a test for YAML nodes that are of a type as encoding/json names
// it, such as "number 12".
func jsonType(name string) func(*yamlv3.Node) bool {
	name, _, _ = strings.Cut(name, " ")
	return func(node *yamlv3.Node) bool {
		switch name {
		case "array":
			return node.Kind == yamlv3.SequenceNode
		case "object":
			return node.Kind == yamlv3.MappingNode
		case "number":
			return node.Tag == "!!int" || node.Tag == "!!float"
		case "bool":
			return node.Tag == "!!bool" || node.Style == 0 && oldBool(node.Value)
		}
		switch node.Tag {
		case "!!int", "!!float", "!!bool", "!!null":
			return false
		}
		return node.Kind == yamlv3.ScalarNode
	}
}

// oldBool knows the booleans that YAML 1.1 has, as Kubernetes reads it, besides
// true and false.
func oldBool(s string) bool {
	switch strings.ToLower(s) {
	case "y", "yes", "on", "n", "no", "off":
		return true
	}
	return false
}
