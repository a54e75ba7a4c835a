package adapter

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"text/template"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// association says which label of a series names which Kubernetes object.
// Without template and overrides none does; prometheus-adapter loads such a
// rule too, and serves nothing by it.
type association struct {
	kinds     *kinds
	labelOf   map[schema.GroupResource]string
	kindOf    map[string]kind
	template  *template.Template // nil: only the overrides count
	labelForm *regexp.Regexp     // what the template can give, nil without one
}

// labelArgs are the fields of a resources template.
type labelArgs struct{ Group, Resource string }

func newAssociation(r Resources, kinds *kinds) (*association, error) {
	a := &association{kinds: kinds, labelOf: map[schema.GroupResource]string{}, kindOf: map[string]kind{}}
	for label, gr := range r.Overrides {
		k, err := kinds.resolve(schema.GroupResource{Group: gr.Group, Resource: gr.Resource})
		if err != nil {
			return nil, fmt.Errorf("resources.overrides[%s]: %w", label, err)
		}
		// Two labels may mean one resource; which one asks is settled by
		// order, so that it does not change from start to start.
		if other, ok := a.labelOf[k.GroupResource]; !ok || label < other {
			a.labelOf[k.GroupResource] = label
		}
		a.kindOf[label] = k
	}
	if r.Template == "" {
		return a, nil
	}
	var err error
	if a.template, err = template.New("resources.template").Delims("<<", ">>").Parse(r.Template); err != nil {
		return nil, fmt.Errorf("resources.template: %w", err)
	}
	if a.labelForm, err = labelForm(a.template); err != nil {
		return nil, err
	}
	return a, nil
}

// labelForm inverts the template: a regular expression with the named groups
// "resource" and perhaps "group" over the labels that the template can give.
func labelForm(t *template.Template) (*regexp.Regexp, error) {
	const group, resource = "\x00g\x00", "\x00r\x00"
	var b strings.Builder
	if err := t.Execute(&b, labelArgs{Group: group, Resource: resource}); err != nil {
		return nil, fmt.Errorf("resources.template: %w", err)
	}
	if !strings.Contains(b.String(), resource) {
		return nil, errors.New("resources.template: it must use <<.Resource>>")
	}
	form := regexp.QuoteMeta(b.String())
	form = strings.Replace(form, group, `(?P<group>.+?)`, 1)
	form = strings.Replace(form, resource, `(?P<resource>.+?)`, 1)
	return regexp.Compile("^" + form + "$")
}

// label returns the label that names objects of a kind, "" when none does.
func (a *association) label(k kind) string {
	if label, ok := a.labelOf[k.GroupResource]; ok {
		return label
	}
	if a.template == nil {
		return ""
	}
	var b strings.Builder
	args := labelArgs{Group: strings.NewReplacer(".", "_", "-", "_").Replace(k.Group), Resource: k.Singular}
	if err := a.template.Execute(&b, args); err != nil {
		return "" // it ran when it was compiled; a template cannot fail on other words
	}
	return b.String()
}

// kind returns what kind of object a label names, if any.
func (a *association) kind(label string) (kind, bool) {
	if k, ok := a.kindOf[label]; ok {
		return k, true
	}
	if a.labelForm == nil {
		return kind{}, false
	}
	m := a.labelForm.FindStringSubmatch(label)
	if m == nil {
		return kind{}, false
	}
	gr := schema.GroupResource{Resource: m[a.labelForm.SubexpIndex("resource")]}
	if i := a.labelForm.SubexpIndex("group"); i >= 0 {
		gr.Group = m[i]
	}
	// Most labels are no resource: this must not make the mapper ask again.
	k, err := a.kinds.lookUp(gr)
	return k, err == nil
}
