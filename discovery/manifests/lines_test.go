package manifests

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
	yamlv3 "go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/util/intstr"
	kjson "sigs.k8s.io/json"
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
		"spec.list.three":                        7,
		"spec.list.nope":                         7,
		"spec.aliased.field":                     0, // where the anchor is
		"nope":                                   root.Line - moved,
	} {
		require.Equal(t, want+moved, lineOf(root, path), path)
	}
}

// An error of encoding/json has no indices and no keys of maps; its offset leads to them.
func TestTypeErrorPath(t *testing.T) {
	type object struct {
		List []struct {
			One   string         `json:"one"`
			Three map[string]int `json:"three"`
		} `json:"list"`
		Port intstr.IntOrString `json:"port"`
	}
	for data, want := range map[string]string{
		`{"list": [{"one": "a"}, {"one": 1}]}`:         "list[1].one",
		`{"list": [{"one": "a"}, {"one": [1]}]}`:       "list[1].one",
		`{"list": [{"three": {"a": 1, "b.c": "x"}}]}`:  "list[0].three.b.c",
		`{"list": {"one": 1}}`:                         "list",
		`{"list": [{}, [{}]]}`:                         "list[1]",
		`[]`:                                           "",
		`{"list": [{"one": "a"}], "port": [{"a": 1}]}`: "port", // its own UnmarshalJSON
	} {
		var typeErr *json.UnmarshalTypeError
		err := kjson.UnmarshalCaseSensitivePreserveInts([]byte(data), &object{})
		require.ErrorAs(t, err, &typeErr, data)
		require.Equal(t, want, typeErrorPath([]byte(data), typeErr), data)
	}
}
