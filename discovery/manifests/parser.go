package manifests

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	yamlv3 "go.yaml.in/yaml/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"github.com/promlet/promlet/discovery/objects"
)

// maxFileErrors bounds how many errors of one file are reported.
const maxFileErrors = 10

// fileObject is an object with the line it begins at.
type fileObject struct {
	kind   string
	object metav1.Object
	line   int
}

// parser gathers the objects and errors of one file.
type parser struct {
	path    string
	logger  *slog.Logger
	objects []fileObject
	errs    []lineError
}

// document is one YAML document; line is where it begins in the file.
type document struct {
	text []byte
	line int
}

// parse returns all objects of a file, of which none counts when there are errors.
func parse(name string, data []byte, logger *slog.Logger) ([]fileObject, []lineError) {
	p := &parser{path: name, logger: logger}
	for _, doc := range splitDocuments(data) {
		p.document(doc)
	}
	if len(p.errs) > maxFileErrors {
		p.errs = p.errs[:maxFileErrors]
	}
	return p.objects, p.errs
}

// splitDocuments splits at lines that begin with ---, as kubectl does. Such a line
// belongs to the document that it begins.
func splitDocuments(data []byte) []document {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	var docs []document
	current := document{line: 1}
	line := 0
	for rest := data; len(rest) > 0; {
		line++
		end := bytes.IndexByte(rest, '\n') + 1
		if end == 0 {
			end = len(rest)
		}
		if bytes.HasPrefix(rest, []byte("---")) && len(current.text) > 0 {
			docs = append(docs, current)
			current = document{line: line}
		}
		current.text = append(current.text, rest[:end]...)
		rest = rest[end:]
	}
	return append(docs, current)
}

func (p *parser) fail(line int, err error) {
	p.errs = append(p.errs, lineError{line: line, err: err})
}

func (p *parser) document(doc document) {
	data, err := yaml.YAMLToJSONStrict(doc.text)
	if err != nil {
		p.failYAML(doc, err)
		return
	}
	if string(data) == "null" { // nothing but comments
		return
	}
	// Parsed a second time for the line numbers.
	var node yamlv3.Node
	if err := yamlv3.Unmarshal(doc.text, &node); err != nil || len(node.Content) != 1 {
		node = yamlv3.Node{Line: 1, Content: []*yamlv3.Node{{Line: 1}}}
	}
	p.object(data, node.Content[0], doc.line-1, "")
}

// failYAML reports an error of the YAML parser, whose lines count from the
// beginning of the document, may be several, and may be past its end.
func (p *parser) failYAML(doc document, err error) {
	found := false
	last := bytes.Count(bytes.TrimSuffix(doc.text, []byte("\n")), []byte("\n")) + 1
	for _, part := range strings.Split(err.Error(), "\n") {
		m := regexp.MustCompile(`line (\d+): (.*)`).FindStringSubmatch(part)
		if m == nil {
			continue
		}
		line, convErr := strconv.Atoi(m[1])
		if convErr != nil {
			continue
		}
		found = true
		p.fail(doc.line-1+min(line, last), errors.New(m[2]))
	}
	if !found {
		text := strings.TrimPrefix(strings.TrimPrefix(err.Error(), "error converting YAML to JSON: "), "yaml: ")
		p.fail(doc.line, errors.New(text))
	}
}

// object adds an object, or all objects of a list. kind is that of the items of a typed
// list, which may leave it out.
func (p *parser) object(data []byte, node *yamlv3.Node, offset int, kind string) {
	line := node.Line + offset
	var head struct {
		metav1.TypeMeta
		Items []json.RawMessage `json:"items"`
	}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(data, &head); err != nil {
		p.fail(line, errors.New("not a Kubernetes object"))
		return
	}
	if head.Kind == "" {
		head.Kind = kind
	}
	switch {
	case head.Kind == "" && isKustomization(p.path):
	case head.Kind == "":
		p.fail(line, errors.New("no kind"))
	case head.Kind == "List" || strings.HasSuffix(head.Kind, "List") && head.Items != nil:
		items := child(node, "items")
		for i, item := range head.Items {
			at := node
			if items != nil && i < len(items.Content) {
				at = items.Content[i]
			}
			p.object(item, at, offset, strings.TrimSuffix(head.Kind, "List"))
		}
	default:
		p.decode(data, node, offset, head.APIVersion, head.Kind)
	}
}

func isKustomization(name string) bool {
	return strings.HasPrefix(path.Base(name), "kustomization.")
}

// decode adds one object if its kind is read.
func (p *parser) decode(data []byte, node *yamlv3.Node, offset int, apiVersion, kind string) {
	obj := newObject(apiVersion, kind)
	if obj == nil {
		p.logger.Debug("object passed over", "file", p.path, "line", node.Line+offset, "apiVersion", apiVersion, "kind", kind)
		return
	}
	strict, err := kjson.UnmarshalStrict(data, obj)
	name := strings.TrimSpace(kind + " " + objectName(obj))
	if err != nil {
		line := node.Line
		var typeErr *json.UnmarshalTypeError
		if errors.As(err, &typeErr) {
			path := typeErrorPath(data, typeErr)
			line, err = lineOf(node, path), TypeError(path, typeErr)
		}
		p.fail(line+offset, fmt.Errorf("%s: %w", name, err))
		return
	}
	for _, err := range strict {
		line := node.Line
		if fieldErr, ok := err.(kjson.FieldError); ok { //nolint:errorlint // this list holds nothing wrapped
			line = lineOf(node, fieldErr.FieldPath())
		}
		p.fail(line+offset, fmt.Errorf("%s: %w", name, err))
	}
	if obj.GetName() == "" {
		p.fail(node.Line+offset, fmt.Errorf("%s: no metadata.name", kind))
	}
	complete(obj)
	if slimmed, ok := objects.TrimWithRequests(obj).(metav1.Object); ok {
		obj = slimmed
	}
	p.objects = append(p.objects, fileObject{kind: kind, object: obj, line: node.Line + offset})
}

func objectName(obj metav1.Object) string {
	if obj.GetNamespace() == "" || obj.GetName() == "" {
		return obj.GetName()
	}
	return obj.GetNamespace() + "/" + obj.GetName()
}

// TypeError rewrites the error of a value with the wrong type in YAML's terms. path names the field.
func TypeError(path string, err *json.UnmarshalTypeError) error {
	found, _, _ := strings.Cut(err.Value, " ")
	wanted, hint := err.Type.String(), ""
	switch err.Type.Kind() {
	case reflect.String:
		wanted = "string"
		if found == "bool" || found == "number" {
			hint = "; write it in quotes"
		}
	case reflect.Struct, reflect.Map:
		wanted = "object"
	case reflect.Slice:
		wanted = "list"
	}
	if found == "array" {
		found = "list"
	}
	return fmt.Errorf("%s: %s instead of %s%s", path, found, wanted, hint)
}
