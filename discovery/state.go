package discovery

import (
	"cmp"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/promlet/promlet/discovery/monitors"
	"github.com/promlet/promlet/discovery/objects"
)

// outcome is the jobs and targets at one time. It never changes.
type outcome struct {
	configs []*config.ScrapeConfig          // by job name
	groups  map[string][]*targetgroup.Group // by job name, then by source
}

// state is the targets of all jobs, brought up to date by each resolve.
type state struct {
	store    *objects.Store
	monitors []*monitors.Monitor // ordered by key
	jobs     map[string]*jobTargets
	// By the namespaces they look into; "" has those that look into all.
	inNamespace map[string][]*jobTargets
	annotated   *annotatedTargets // nil: annotations do not count
	kubelets    *kubeletTargets   // nil: they are not scraped
	order       []*jobTargets     // all jobs, by name
	over        overLimit
	outcome     *outcome // nil before the first, and when there are other jobs
}

// jobTargets is a job with its targets.
type jobTargets struct {
	job *monitors.Job
	groupSet
}

// update brings the targets up to date with what has changed.
func (s *state) update(c objects.Changed) {
	if c.Nodes {
		for _, j := range s.jobs {
			if j.job.Selection.AttachNode && (j.job.Selection.ByPod || j.job.Selection.Meta != nil) {
				s.resolveJob(j)
			}
		}
		s.kubelets.update(s.store)
	}
	dirty := maps.Clone(c.Slices)
	for service := range c.Services {
		for _, slice := range s.store.SlicesOf(service) {
			dirty.Add(slice.Namespace + "/" + slice.Name)
		}
	}
	s.slicesOf(c.Pods, &dirty)
	for key := range dirty {
		s.eachJob(key, func(j *jobTargets) {
			if !j.job.Selection.ByPod {
				s.resolveSlice(j, key)
			}
		})
	}
	for key := range c.Pods {
		s.eachJob(key, func(j *jobTargets) {
			if j.job.Selection.ByPod {
				s.resolvePod(j, key)
			}
		})
	}
	if s.annotated != nil {
		s.annotated.update(s.store, dirty, c)
	}
}

// slicesOf adds the EndpointSlices that have any of the pods. It looks at all slices: an
// index would cost as much memory as the targets.
func (s *state) slicesOf(pods objects.Keys, dirty *objects.Keys) {
	if len(pods) == 0 {
		return
	}
	namespaces, names := map[string]bool{}, map[string]bool{}
	for key := range pods {
		namespace, name, _ := strings.Cut(key, "/")
		namespaces[namespace], names[name] = true, true
	}
	for _, slice := range objects.List[discoveryv1.EndpointSlice](s.store, nil) {
		for i := range slice.Endpoints {
			ref := slice.Endpoints[i].TargetRef
			// This may match other pods too, which costs time only.
			if ref != nil && ref.Kind == "Pod" && has(names, ref.Name) && has(namespaces, ref.Namespace) {
				dirty.Add(slice.Namespace + "/" + slice.Name)
				break
			}
		}
	}
}

// has looks up a name, without hashing it where there is one name only, as after most
// changes.
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
	if j.job.Selection.ByPod {
		for _, pod := range objects.List[corev1.Pod](s.store, j.job.Selection.Namespaces) {
			key := pod.Namespace + "/" + pod.Name
			delete(gone, key)
			s.resolvePod(j, key)
		}
	} else {
		for _, slice := range objects.List[discoveryv1.EndpointSlice](s.store, j.job.Selection.Namespaces) {
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
	pod := objects.Get[corev1.Pod](s.store, key)
	if pod == nil || !j.job.Selection.Objects.Matches(pod.Labels) {
		j.put(key, nil)
		return
	}
	j.put(key, j.job.Selection.PodGroup(pod, j.job.Selection.NodeOf(s.store, pod)))
}

// resolveSlice computes the targets that a job of a ServiceMonitor has in one
// EndpointSlice.
func (s *state) resolveSlice(j *jobTargets, key string) {
	var g *targetgroup.Group
	if slice := objects.Get[discoveryv1.EndpointSlice](s.store, key); slice != nil {
		if in, ok := j.job.Selection.SliceInputs(s.store, slice); ok {
			g = j.job.Selection.SliceGroup(in)
		}
	}
	j.put(key, g)
}

// setMonitors replaces the monitors, and computes the targets of jobs that are new or
// select something else than before.
func (s *state) setMonitors(all []*monitors.Monitor) {
	s.monitors = all
	before := s.jobs
	s.jobs, s.inNamespace = map[string]*jobTargets{}, map[string][]*jobTargets{}
	for _, m := range all {
		for _, j := range m.Jobs {
			t := before[j.Name]
			switch {
			case t == nil:
				t = &jobTargets{job: j}
				s.resolveJob(t)
			case t.job != j && !reflect.DeepEqual(t.job.Selection, j.Selection):
				t.job = j
				s.resolveJob(t)
			default:
				t.job = j
			}
			s.jobs[j.Name] = t
			namespaces := j.Selection.Namespaces
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

// settle returns the outcome of the state, the same as before when nothing in it has
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
		next.configs = s.configs()
		for _, j := range s.order {
			j.changed = true
		}
	}
	for _, j := range s.order {
		if !j.changed {
			continue
		}
		delete(next.groups, j.job.Name)
		if groups := s.groupsOf(j); len(groups) > 0 {
			next.groups[j.job.Name] = groups
		}
		j.changed = false
	}
	s.outcome = next
	return next
}

// setOrder lists the jobs there are now, and drops the outcome if they, or their
// configurations, are not those of the outcome.
func (s *state) setOrder() {
	before := s.order
	s.order = nil
	for _, j := range s.jobs {
		s.order = append(s.order, j)
	}
	if a := s.annotated; a != nil {
		s.order = append(s.order, a.services, a.pods)
	}
	if s.kubelets != nil {
		s.order = append(s.order, &s.kubelets.jobTargets)
	}
	slices.SortFunc(s.order, func(a, b *jobTargets) int { return cmp.Compare(a.job.Name, b.job.Name) })
	if s.outcome != nil && (!slices.Equal(before, s.order) || !slices.Equal(s.outcome.configs, s.configs())) {
		s.outcome = nil
	}
}

// statuses returns the status of each monitor and annotated object, ordered by key.
func (s *state) statuses() []monitors.Status {
	var out []monitors.Status
	for _, m := range s.limited() {
		status := m.Status
		for _, j := range m.Jobs {
			status.Targets += s.jobs[j.Name].targets
		}
		out = append(out, status)
	}
	if s.annotated != nil {
		for _, status := range s.annotated.statuses() {
			if err := s.over.annotated[status.Namespace]; err != nil && status.Err == nil {
				status.Err = err
			}
			out = append(out, status)
		}
	}
	slices.SortStableFunc(out, func(a, b monitors.Status) int { return cmp.Compare(a.Key(), b.Key()) })
	return out
}

// pending reports whether a monitor waits for what it refers to.
func (s *state) pending() bool {
	return slices.ContainsFunc(s.monitors, func(m *monitors.Monitor) bool { return m.Pending })
}
