package rules

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/promlet/promlet/adapter/internal/boundedtemplate"
	"github.com/promlet/promlet/adapter/objects"
)

// association maps labels of series to kinds of Kubernetes objects. Without template and
// overrides it maps none: prometheus-adapter loads such a rule too, and serves nothing.
type association struct {
	kinds     *objects.Kinds
	labelOf   map[schema.GroupResource]string
	kindOf    map[string]objects.Kind
	later     map[string]schema.GroupResource // by label: overrides of resources that are not known yet
	template  *boundedtemplate.Template       // nil: only the overrides count
	labelForm *regexp.Regexp                  // matches what the template can give; nil without one
}

// labelArgs are the fields of a resources template.
type labelArgs struct {
	// Group is the API group, empty for Kubernetes's first.
	Group string
	// Resource is the resource, singular.
	Resource string
}

func newAssociation(r Resources, kinds *objects.Kinds) (*association, error) {
	a := &association{kinds: kinds, labelOf: map[schema.GroupResource]string{}, kindOf: map[string]objects.Kind{}, later: map[string]schema.GroupResource{}}
	// Two labels may mean one resource: the first in order is asked by.
	for _, label := range slices.Sorted(maps.Keys(r.Overrides)) {
		gr := schema.GroupResource(r.Overrides[label])
		k, err := kinds.Resolve(gr)
		switch {
		case err == nil:
			a.kindOf[label] = k
			a.labelOf[k.GroupResource] = cmp.Or(a.labelOf[k.GroupResource], label)
		case objects.MayComeLater(gr):
			a.later[label] = gr
		default:
			return nil, fmt.Errorf("resources.overrides[%s]: %w", label, err)
		}
	}
	if r.Template == "" {
		return a, nil
	}
	var err error
	if a.template, err = boundedtemplate.Parse("resources.template", r.Template); err != nil {
		return nil, fmt.Errorf("resources.template: %w", err)
	}
	if a.labelForm, err = labelForm(a.template); err != nil {
		return nil, err
	}
	return a, nil
}

// labelForm inverts the template. It returns a regular expression that matches the labels
// that the template can give, with the groups "resource" and perhaps "group".
func labelForm(t *boundedtemplate.Template) (*regexp.Regexp, error) {
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

// Label returns the label that names objects of a kind, "" when none does.
func (a *association) Label(k objects.Kind) string {
	if label, ok := a.labelOf[k.GroupResource]; ok {
		return label
	}
	for _, label := range slices.Sorted(maps.Keys(a.later)) {
		if known, err := a.kinds.LookUp(a.later[label]); err == nil && known.GroupResource == k.GroupResource {
			return label
		}
	}
	if a.template == nil {
		return ""
	}
	var b strings.Builder
	args := labelArgs{Group: strings.NewReplacer(".", "_", "-", "_").Replace(k.Group), Resource: k.Singular}
	if err := a.template.Execute(&b, args); err != nil {
		return "" // it has run in labelForm: it cannot fail for other words
	}
	return b.String()
}

// Kind returns the kind of object that a label names, if any.
func (a *association) Kind(label string) (objects.Kind, bool) {
	if k, ok := a.kindOf[label]; ok {
		return k, true
	}
	if gr, ok := a.later[label]; ok {
		k, err := a.kinds.LookUp(gr)
		return k, err == nil
	}
	if a.labelForm == nil {
		return objects.Kind{}, false
	}
	m := a.labelForm.FindStringSubmatch(label)
	if m == nil {
		return objects.Kind{}, false
	}
	gr := schema.GroupResource{Resource: m[a.labelForm.SubexpIndex("resource")]}
	if i := a.labelForm.SubexpIndex("group"); i >= 0 {
		gr.Group = m[i]
	}
	// Most labels are no resource: the mapper must not ask again for each.
	k, err := a.kinds.LookUp(gr)
	return k, err == nil
}

// mapsNothing reports whether no label names anything.
func (a *association) mapsNothing() bool {
	return a.template == nil && len(a.labelOf) == 0 && len(a.later) == 0
}

// overlaps reports whether two associations name objects of one kind by the same label.
func (a *association) overlaps(other *association) bool {
	return a.template != nil && other.template != nil || a.overridesOverlap(other) || other.overridesOverlap(a)
}

func (a *association) overridesOverlap(other *association) bool {
	for _, label := range a.labelOf {
		if other.Label(a.kindOf[label]) == label {
			return true
		}
	}
	return false
}
