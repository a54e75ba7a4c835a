package manifests

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	yamlv3 "go.yaml.in/yaml/v3"
)

// lineOf returns the line of a field by its path, such as spec.endpoints[0].port, or
// that of the nearest field above it that there is.
func lineOf(node *yamlv3.Node, path string) int {
	line := node.Line
	for path = strings.TrimPrefix(path, "."); path != ""; path = strings.TrimPrefix(path, ".") {
		if node.Kind == yamlv3.AliasNode && node.Alias != nil {
			node = node.Alias
		}
		if node.Kind == yamlv3.SequenceNode {
			index, rest, _ := strings.Cut(strings.TrimPrefix(path, "["), "]")
			i, err := strconv.Atoi(index)
			if err != nil || i < 0 || i >= len(node.Content) {
				return line
			}
			node, path, line = node.Content[i], rest, node.Content[i].Line
			continue
		}
		key, rest := keyOf(node, path)
		if key == nil {
			return line
		}
		node, path, line = child(node, key.Value), rest, key.Line
	}
	return line
}

// keyOf returns the key of a mapping that a path begins with, and the rest of the path.
// Keys may hold dots themselves: the longest that fits counts.
func keyOf(node *yamlv3.Node, path string) (key *yamlv3.Node, rest string) {
	for i := 0; i+1 < len(node.Content) && node.Kind == yamlv3.MappingNode; i += 2 {
		k := node.Content[i]
		after, ok := strings.CutPrefix(path, k.Value)
		if ok && (after == "" || after[0] == '.' || after[0] == '[') && (key == nil || len(k.Value) > len(key.Value)) {
			key, rest = k, after
		}
	}
	return key, rest
}

// child returns the value of a key of a mapping, or nil.
func child(node *yamlv3.Node, key string) *yamlv3.Node {
	for i := 0; i+1 < len(node.Content) && node.Kind == yamlv3.MappingNode; i += 2 {
		if node.Content[i].Value == key {
			return node.Content[i+1]
		}
	}
	return nil
}

// typeErrorPath returns the path of the value that is of a wrong type, with the indices
// and keys that encoding/json leaves out of its Field.
func typeErrorPath(data []byte, err *json.UnmarshalTypeError) string {
	path := pathAt(json.NewDecoder(bytes.NewReader(data)), "", err.Offset)
	// The offset of an error inside of a type's own UnmarshalJSON is not that in data.
	if !strings.HasPrefix(regexp.MustCompile(`\[\d+\]`).ReplaceAllString(path, ""), err.Field) {
		return err.Field
	}
	return path
}

// pathAt reads one JSON value, whose path is given, and returns the path of the first
// value in it that is read to the offset; "" when there is none. Of an array or object
// the opening bracket counts.
func pathAt(d *json.Decoder, path string, offset int64) string {
	token, err := d.Token()
	if err != nil || d.InputOffset() >= offset {
		return path
	}
	open, ok := token.(json.Delim)
	if !ok {
		return ""
	}
	for i := 0; d.More(); i++ {
		below := fmt.Sprintf("%s[%d]", path, i)
		if open == '{' {
			key, err := d.Token()
			if err != nil {
				return path
			}
			below = strings.TrimPrefix(fmt.Sprintf("%s.%s", path, key), ".")
		}
		if found := pathAt(d, below, offset); found != "" {
			return found
		}
	}
	if _, err := d.Token(); err != nil { // the closing bracket
		return path
	}
	return ""
}
