package adapter

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
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
	later     map[string]schema.GroupResource // by label: overrides of what is not known yet
	template  *template.Template              // nil: only the overrides count
	labelForm *regexp.Regexp                  // what the template can give, nil without one
}

// labelArgs are the fields of a resources template.
type labelArgs struct {
	// Group is the API group, empty for Kubernetes's first.
	Group string
	// Resource is the resource, singular.
	Resource string
}

func newAssociation(r Resources, kinds *kinds) (*association, error) {
	a := &association{kinds: kinds, labelOf: map[schema.GroupResource]string{}, kindOf: map[string]kind{}, later: map[string]schema.GroupResource{}}
	for label, named := range r.Overrides {
		gr := schema.GroupResource{Group: named.Group, Resource: named.Resource}
		k, err := kinds.resolve(gr)
		switch {
		case err != nil && kinds.mayComeLater(gr):
			a.later[label] = gr
			continue
		case err != nil:
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
	for _, label := range slices.Sorted(maps.Keys(a.later)) {
		if known, err := a.kinds.lookUp(a.later[label]); err == nil && known.GroupResource == k.GroupResource {
			return label
		}
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
	if gr, ok := a.later[label]; ok {
		k, err := a.kinds.lookUp(gr)
		return k, err == nil
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

// empty tells whether no label names anything.
func (a *association) empty() bool {
	return a.template == nil && len(a.labelOf) == 0 && len(a.later) == 0
}

// overlaps tells whether two associations name objects of one kind by one label: so
// that both serve it.
func (a *association) overlaps(other *association) bool {
	for _, label := range a.labelOf {
		if other.label(a.kindOf[label]) == label {
			return true
		}
	}
	for _, label := range other.labelOf {
		if a.label(other.kindOf[label]) == label {
			return true
		}
	}
	return a.template != nil && other.template != nil
}
