package discovery

import (
	"cmp"
	"maps"
	"slices"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/discovery/targetgroup"

	"github.com/promlet/promlet/discovery/monitors"
	"github.com/promlet/promlet/discovery/targets"
)

// Owner returns the namespace that the targets of a group, which has these labels, cost
// something: that of the monitor that a job is made of, or that of an annotated object.
func Owner(job string, group model.LabelSet) string {
	switch job {
	case targets.JobAnnotatedServices, targets.JobAnnotatedPods:
		return string(group["namespace"])
	}
	return monitors.NamespaceOf(job)
}

// groupSet holds groups of targets by the "namespace/name" of the slice or pod they
// are from.
type groupSet struct {
	groups  map[string]*targetgroup.Group
	targets int  // in all groups
	changed bool // since the last outcome
}

// put makes g the group of a source; nil means no targets. A group equal to the one
// there is leaves it in place. In any other, label sets that are equal to those before
// become the same maps.
func (s *groupSet) put(source string, g *targetgroup.Group) {
	old := s.groups[source]
	if g == old || g != nil && old != nil && adoptLabels(old, g) {
		return
	}
	s.changed = true
	if old != nil {
		s.targets -= len(old.Targets)
		delete(s.groups, source)
	}
	if g != nil {
		s.targets += len(g.Targets)
		if s.groups == nil {
			s.groups = map[string]*targetgroup.Group{}
		}
		s.groups[source] = g
	}
}

// adoptLabels gives g those label sets of old that it has too, and reports whether old
// and g are equal.
func adoptLabels(old, g *targetgroup.Group) bool {
	same := old.Source == g.Source && len(old.Targets) == len(g.Targets)
	if maps.Equal(old.Labels, g.Labels) {
		g.Labels = old.Labels
	} else {
		same = false
	}
	var byAddress map[model.LabelValue]model.LabelSet // of old, once one has moved
	for i, target := range g.Targets {
		if i < len(old.Targets) && maps.Equal(old.Targets[i], target) {
			g.Targets[i] = old.Targets[i]
			continue
		}
		same = false
		if byAddress == nil {
			byAddress = make(map[model.LabelValue]model.LabelSet, len(old.Targets))
			for _, t := range old.Targets {
				byAddress[t[model.AddressLabel]] = t
			}
		}
		if was := byAddress[target[model.AddressLabel]]; maps.Equal(was, target) {
			g.Targets[i] = was
		}
	}
	return same
}

// sorted returns the groups in the order of their sources.
func (s *groupSet) sorted() []*targetgroup.Group {
	return slices.SortedFunc(maps.Values(s.groups), func(a, b *targetgroup.Group) int { return cmp.Compare(a.Source, b.Source) })
}
