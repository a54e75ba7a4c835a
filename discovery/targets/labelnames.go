package targets

import (
	"strings"
	"unicode/utf8"

	"github.com/prometheus/common/model"
)

// LabelKey is a label name from a monitor, with an underscore for each character that
// no Kubernetes label has.
func LabelKey(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= utf8.RuneSelf {
			return '_'
		}
		return r
	}, name)
}

// labelValue is a label of an object that becomes a label of a target.
type labelValue struct {
	name  model.LabelName
	value model.LabelValue
}

// labelValues looks up the names in the labels of an object; those without a
// value are left out.
func labelValues(names []string, set map[string]string) []labelValue {
	var out []labelValue
	for _, name := range names {
		if v, ok := lookup(set, name); ok && v != "" {
			out = append(out, labelValue{model.LabelName(sanitize(name)), model.LabelValue(v)})
		}
	}
	return out
}

// override replaces labels that t already has. A label that t has not is left to its
// group.
func override(t model.LabelSet, values []labelValue) {
	for _, l := range values {
		if _, ok := t[l.name]; ok {
			t[l.name] = l.value
		}
	}
}

func jobLabelValue(name string, set map[string]string) model.LabelValue {
	if name == "" {
		return ""
	}
	v, _ := lookup(set, name)
	return model.LabelValue(v)
}

// lookup finds an object's label by name the way a relabeling does, to which
// app.kubernetes.io/name and app_kubernetes_io_name are the same. The exact name
// is preferred, then the first in order, where Prometheus takes any.
func lookup(set map[string]string, name string) (value string, ok bool) {
	if value, ok = set[name]; ok {
		return value, true
	}
	found := ""
	for key := range set {
		if sameSanitized(key, name) && (!ok || key < found) {
			found, ok = key, true
		}
	}
	return set[found], ok
}

func sameSanitized(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if sanitizeByte(a[i]) != sanitizeByte(b[i]) {
			return false
		}
	}
	return true
}

// sanitize makes a Kubernetes label name a Prometheus one.
func sanitize(name string) string {
	out := []byte(name)
	for i := range out {
		out[i] = sanitizeByte(out[i])
	}
	return string(out)
}

func sanitizeByte(c byte) byte {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_':
		return c
	}
	return '_'
}
