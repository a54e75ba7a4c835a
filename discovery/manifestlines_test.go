package discovery

import (
	"testing"

	"github.com/stretchr/testify/require"
	yamlv3 "go.yaml.in/yaml/v3"
)

func TestLineOf(t *testing.T) {
	const text = `metadata:
  name: a
  labels:
    app.kubernetes.io/name: x
    app: z
spec:
  list:
  - one: 1
    two: text
  - one: text
    three:
      deep: true
  aliased: *anchor
anchored: &anchor
  field: 1
`
	var doc yamlv3.Node
	// The anchor has to come first for the parser.
	require.NoError(t, yamlv3.Unmarshal([]byte("anchored: &anchor\n  field: 1\n"+text[:len(text)-len("anchored: &anchor\n  field: 1\n")]), &doc))
	root := doc.Content[0]
	const moved = 2
	for path, want := range map[string]int{
		"":                                       root.Line - moved,
		"metadata":                               1,
		"metadata.name":                          2,
		"metadata.labels.app":                    5,
		"metadata.labels.app.kubernetes.io/name": 4,
		"metadata.nope":                          1,
		"metadata.name.deeper":                   2,
		"spec.list[0].one":                       8,
		"spec.list[1].one":                       10,
		"spec.list[1].three.deep":                12,
		"spec.list[1].three.nope":                11,
		"spec.list[9].one":                       7,
		"spec.list[x].one":                       7,
		"spec.list.three":                        11,
		"spec.list.nope":                         7,
		"spec.aliased.field":                     0, // where the anchor is
		"nope":                                   root.Line - moved,
	} {
		require.Equal(t, want+moved, lineOf(root, path, nil), path)
	}
	require.Equal(t, 8+moved, lineOf(root, "spec.list.one", jsonType("number 1")))
	require.Equal(t, 10+moved, lineOf(root, "spec.list.one", jsonType("string")), "the first does not fit")
	require.Equal(t, 11+moved, lineOf(root, "spec.list.three", jsonType("object")))
	require.Equal(t, 12+moved, lineOf(root, "spec.list.three.deep", jsonType("bool")))
	require.Equal(t, 7+moved, lineOf(root, "spec.list", jsonType("array")))
	require.Equal(t, 8+moved, lineOf(root, "spec.list", jsonType("object")), "its first item that fits")
}

func TestJSONType(t *testing.T) {
	value := func(text string) *yamlv3.Node {
		var doc yamlv3.Node
		require.NoError(t, yamlv3.Unmarshal([]byte(text), &doc))
		return doc.Content[0]
	}
	for _, tc := range []struct {
		kind, text string
		want       bool
	}{
		{"bool", "true", true},
		{"bool", "yes", true},
		{"bool", "Off", true},
		{"bool", "n", true},
		{"bool", `"yes"`, false},
		{"bool", "word", false},
		{"number 12", "12", true},
		{"number 1.5", "1.5", true},
		{"number", `"12"`, false},
		{"array", "[a]", true},
		{"array", "{a: b}", false},
		{"object", "{a: b}", true},
		{"object", "[a]", false},
		{"string", "word", true},
		{"string", "[a]", false},
		{"string", "1", false},
		{"string", `"1"`, true},
	} {
		require.Equal(t, tc.want, jsonType(tc.kind)(value(tc.text)), "%s %s", tc.kind, tc.text)
	}
}
