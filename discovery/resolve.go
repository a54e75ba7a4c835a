package discovery

import (
	"cmp"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

// outcome is what the objects come to. It never changes; a change makes another.
type outcome struct {
	configs []*config.ScrapeConfig          // by job name
	groups  map[string][]*targetgroup.Group // by job name, then by source
}

// state is what is known of all jobs, brought up to date by each resolve.
type state struct {
	objects  *Objects
	compiled []*compiled // ordered by key
	jobs     map[string]*jobTargets
	// By the namespaces they look into; "" has those that look into all.
	inNamespace map[string][]*jobTargets
	annotated   *annotatedTargets // nil: annotations do not count
	order       []*jobTargets     // all jobs, by name
	outcome     *outcome          // nil before the first, and when there are other jobs
}

// jobTargets are a job and the targets it has.
type jobTargets struct {
	*job
	groupSet
}

// groupSet holds groups of targets by the "namespace/name" of the slice or pod they
// are from.
type groupSet struct {
	groups  map[string]*targetgroup.Group
	targets int  // in all groups
	changed bool // since the last outcome
}

// put makes g the group of a source; nil means no targets. A group that is equal to
// the one there is leaves it in place; of another, the labels that are as before
// are the same maps as before.
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

// adoptLabels gives g those label sets of old that it has too, and tells whether
// they are the same throughout.
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

// update brings the targets up to date with what has changed.
func (s *state) update(c changed) {
	if c.nodes {
		for _, j := range s.jobs {
			if j.sel.attachNode && (j.sel.byPod || j.sel.meta != nil) {
				s.resolveJob(j)
			}
		}
	}
	dirty := maps.Clone(c.slices)
	for service := range c.services {
		for _, slice := range byIndex[discoveryv1.EndpointSlice](s.objects.slices, serviceIndex, service) {
			note(&dirty, slice.Namespace+"/"+slice.Name)
		}
	}
	s.slicesOf(c.pods, &dirty)
	for key := range dirty {
		s.eachJob(key, func(j *jobTargets) {
			if !j.sel.byPod {
				s.resolveSlice(j, key)
			}
		})
	}
	for key := range c.pods {
		s.eachJob(key, func(j *jobTargets) {
			if j.sel.byPod {
				s.resolvePod(j, key)
			}
		})
	}
	if s.annotated != nil {
		s.annotated.update(s.objects, dirty, c)
	}
}

// slicesOf adds the EndpointSlices that have any of the pods. They are looked for
// among all: an index would cost as much memory as the targets.
func (s *state) slicesOf(pods map[string]bool, dirty *map[string]bool) {
	if len(pods) == 0 {
		return
	}
	namespaces, names := map[string]bool{}, map[string]bool{}
	for key := range pods {
		namespace, name, _ := strings.Cut(key, "/")
		namespaces[namespace], names[name] = true, true
	}
	for _, slice := range typed[discoveryv1.EndpointSlice](s.objects.slices.List()) {
		for i := range slice.Endpoints {
			ref := slice.Endpoints[i].TargetRef
			// More than the pods at times, but never less.
			if ref != nil && ref.Kind == "Pod" && has(names, ref.Name) && has(namespaces, ref.Namespace) {
				note(dirty, slice.Namespace+"/"+slice.Name)
				break
			}
		}
	}
}

// has is quick for the one name that changes are mostly about.
func has(names map[string]bool, name string) bool {
	if len(names) == 1 {
		for only := range names {
			return only == name
		}
	}
	return names[name]
}

// eachJob visits the jobs that look into the namespace of a "namespace/name".
func (s *state) eachJob(key string, visit func(*jobTargets)) {
	namespace, _, _ := strings.Cut(key, "/")
	for _, j := range s.inNamespace[namespace] {
		visit(j)
	}
	for _, j := range s.inNamespace[""] {
		visit(j)
	}
}

// resolveJob computes all targets of a job.
func (s *state) resolveJob(j *jobTargets) {
	gone := maps.Clone(j.groups)
	if j.sel.byPod {
		for _, pod := range inNamespaces[corev1.Pod](s.objects.pods, j.sel.namespaces) {
			key := pod.Namespace + "/" + pod.Name
			delete(gone, key)
			s.resolvePod(j, key)
		}
	} else {
		for _, slice := range inNamespaces[discoveryv1.EndpointSlice](s.objects.slices, j.sel.namespaces) {
			key := slice.Namespace + "/" + slice.Name
			delete(gone, key)
			s.resolveSlice(j, key)
		}
	}
	for key := range gone {
		j.put(key, nil)
	}
}

// resolvePod computes the targets that a job of a PodMonitor has in one pod.
func (s *state) resolvePod(j *jobTargets, key string) {
	pod := get[corev1.Pod](s.objects.pods, key)
	if pod == nil || !j.sel.objects.matches(pod.Labels) {
		j.put(key, nil)
		return
	}
	j.put(key, j.sel.podGroup(pod, s.objects.nodeOf(&j.sel, pod)))
}

// resolveSlice computes the targets that a job of a ServiceMonitor has in one
// EndpointSlice.
func (s *state) resolveSlice(j *jobTargets, key string) {
	var g *targetgroup.Group
	if slice := get[discoveryv1.EndpointSlice](s.objects.slices, key); slice != nil {
		if in, ok := s.objects.sliceInputs(&j.sel, slice); ok {
			g = j.sel.sliceGroup(in)
		}
	}
	j.put(key, g)
}

// setMonitors takes what the monitors were compiled to, and computes the targets of
// jobs that are new or select others than before.
func (s *state) setMonitors(all []*compiled) {
	s.compiled = all
	before := s.jobs
	s.jobs, s.inNamespace = map[string]*jobTargets{}, map[string][]*jobTargets{}
	for _, c := range all {
		for _, j := range c.jobs {
			t := before[j.name]
			switch {
			case t == nil:
				t = &jobTargets{job: j}
				s.resolveJob(t)
			case t.job != j && !reflect.DeepEqual(t.sel, j.sel):
				t.job = j
				s.resolveJob(t)
			default:
				t.job = j
			}
			s.jobs[j.name] = t
			namespaces := j.sel.namespaces
			if namespaces == nil {
				namespaces = []string{""}
			}
			for _, ns := range namespaces {
				s.inNamespace[ns] = append(s.inNamespace[ns], t)
			}
		}
	}
	s.setOrder()
}

// settle makes the outcome of the state, the same as before when nothing in it has
// changed.
func (s *state) settle() *outcome {
	if s.outcome != nil && !slices.ContainsFunc(s.order, func(j *jobTargets) bool { return j.changed }) {
		return s.outcome
	}
	next := &outcome{}
	if s.outcome != nil { // the same jobs
		next.configs, next.groups = s.outcome.configs, maps.Clone(s.outcome.groups)
	} else {
		next.groups = map[string][]*targetgroup.Group{}
		for _, j := range s.order {
			next.configs = append(next.configs, j.config)
			j.changed = true
		}
	}
	for _, j := range s.order {
		switch {
		case !j.changed:
			continue
		case len(j.groups) > 0:
			next.groups[j.name] = j.sorted()
		default:
			delete(next.groups, j.name)
		}
		j.changed = false
	}
	s.outcome = next
	return next
}

// setOrder takes stock of the jobs there are now. If they have the configurations
// they had, the outcome is still theirs.
func (s *state) setOrder() {
	before := s.order
	s.order = nil
	for _, j := range s.jobs {
		s.order = append(s.order, j)
	}
	if a := s.annotated; a != nil {
		s.order = append(s.order, a.services, a.pods)
	}
	slices.SortFunc(s.order, func(a, b *jobTargets) int { return cmp.Compare(a.name, b.name) })
	var configs []*config.ScrapeConfig
	for _, j := range s.order {
		configs = append(configs, j.config)
	}
	if s.outcome != nil && (!slices.Equal(before, s.order) || !slices.Equal(s.outcome.configs, configs)) {
		s.outcome = nil
	}
}

// statuses tells what became of each monitor.
func (s *state) statuses() []MonitorStatus {
	var out []MonitorStatus
	for _, c := range s.compiled {
		status := c.status
		for _, j := range c.jobs {
			status.Targets += s.jobs[j.name].targets
		}
		out = append(out, status)
	}
	if s.annotated != nil {
		out = append(out, s.annotated.statuses()...)
	}
	slices.SortStableFunc(out, func(a, b MonitorStatus) int { return cmp.Compare(a.key(), b.key()) })
	return out
}

// compiledByKey gives the monitors to compile anew from.
func (s *state) compiledByKey() map[string]*compiled {
	out := map[string]*compiled{}
	for _, c := range s.compiled {
		if c.spec != nil { // not one that has the name of another
			out[c.status.key()] = c
		}
	}
	return out
}

// pending tells whether a monitor waits for what it refers to.
func (s *state) pending() bool {
	return slices.ContainsFunc(s.compiled, func(c *compiled) bool { return c.pending })
}
