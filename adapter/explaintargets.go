package adapter

import (
	"context"
	"fmt"
	"slices"
	"strings"

	discoveryv1 "k8s.io/api/discovery/v1"
	apilabels "k8s.io/apimachinery/pkg/labels"
)

// maxExplainedPods bounds the pods that monitors are looked for.
const maxExplainedPods = 20

// monitors tells whether monitors select the object, or the pods behind it, and finds
// their jobs.
func (t *trail) monitors(name string) bool {
	reach, ofPods := t.findJobs(name)
	if t.explaining.Service == nil || t.req.kind.GroupResource == namespaceResource || !t.req.kind.Namespaced {
		return true
	}
	if len(t.pods) == 0 && t.req.kind.GroupResource != serviceResource {
		return t.broken(LinkObject, "no series names it, and it owns no pods%s", inNamespace(t.req.namespace))
	}
	what := "the " + t.req.kind.GVK.Kind
	throughPods := ofPods && len(reach.Monitors) > 0 || t.req.kind.GroupResource != serviceResource
	switch {
	case t.req.kind.GroupResource == podResource:
		what = "the Pod, or a Service of it"
	case throughPods:
		what = "its pods, or a Service of theirs"
	}
	var good, rejected []string
	for _, m := range reach.Monitors {
		if m.Err != nil {
			rejected = append(rejected, t.tell(m, "is rejected", ": "+m.Err.Error(), ": its Events say why"))
			continue
		}
		good = append(good, t.nameOf(m))
	}
	switch {
	case len(good) > 0:
		t.ok(LinkMonitor, "%s %s %s", listed(good), plural(len(good), "selects", "select"), what)
		return true
	case len(rejected) > 0:
		return t.broken(LinkMonitor, "%s", strings.Join(rejected, "; "))
	case reach.Nearest != "":
		return t.broken(LinkMonitor, "no monitor selects %s; the closest is %s%s", what, reach.Nearest, t.forbidden())
	case reach.Counted == 0:
		return t.broken(LinkMonitor, "no monitor selects %s: there is none for namespace %s%s", what, t.req.namespace, t.forbidden())
	default:
		return t.broken(LinkMonitor, "no monitor selects %s: there is none in namespace %s, and none of another namespace does%s", what, t.req.namespace, t.forbidden())
	}
}

// nameOf does not tell of monitors in other namespaces.
func (t *trail) nameOf(m Reaching) string {
	if m.Namespace != t.req.namespace {
		return "a " + m.Kind + " of another namespace"
	}
	return m.Kind + " " + m.Name
}

// tell says something of a monitor, with details of one of the namespace only, and
// otherwise what is to be said elsewhere.
func (t *trail) tell(m Reaching, what, details, elsewhere string) string {
	if m.Namespace != t.req.namespace {
		details = elsewhere
	}
	return t.nameOf(m) + " " + what + details
}

// forbidden tells which objects promlet may not see.
func (t *trail) forbidden() string {
	if t.explaining.Problems == nil {
		return ""
	}
	var refused []string
	for _, problem := range t.explaining.Problems() {
		attempt, _, _ := strings.Cut(problem, ": ") // such as "list services"
		// A Secret or ConfigMap is for the Events of its monitor: it has a namespace.
		if strings.Contains(problem, "forbidden") && !strings.HasPrefix(attempt, "read ") {
			refused = append(refused, attempt)
		}
	}
	if len(refused) == 0 {
		return ""
	}
	return fmt.Sprintf("; permission missing: promlet may not %s (applying deploy/ again grants it)", strings.Join(refused, ", "))
}

// findJobs finds which monitors select the object, or else the pods behind it and the
// Services of these; and the jobs that are made of them.
func (t *trail) findJobs(name string) (reach Reach, ofPods bool) {
	if t.explaining.Service == nil {
		return Reach{}, false
	}
	if t.req.kind.GroupResource == serviceResource {
		reach = t.explaining.Service(t.req.namespace, name)
	}
	if len(reach.Monitors) == 0 && len(t.pods) > 0 {
		ofPods = true
		nearest, counted := reach.Nearest, reach.Counted
		reach = t.reachOfPods()
		if nearest != "" {
			reach.Nearest = nearest
		}
		reach.Counted += counted
	}
	t.jobs = nil
	for _, m := range reach.Monitors {
		for _, j := range m.Jobs {
			t.jobs = append(t.jobs, j.Name)
		}
	}
	if len(t.pods) == 0 && t.req.kind.GroupResource != serviceResource {
		for _, target := range t.targetsOf(name) {
			t.jobs = append(t.jobs, target.Job)
		}
	}
	slices.Sort(t.jobs)
	t.jobs = slices.Compact(t.jobs)
	return reach, ofPods
}

func (t *trail) reachOfPods() (all Reach) {
	add := func(r Reach) {
		all.Counted += r.Counted
		if all.Nearest == "" {
			all.Nearest = r.Nearest
		}
		for _, m := range r.Monitors {
			if !slices.ContainsFunc(all.Monitors, func(known Reaching) bool {
				return known.Kind == m.Kind && known.Namespace == m.Namespace && known.Name == m.Name
			}) {
				all.Monitors = append(all.Monitors, m)
			}
		}
	}
	pods := t.pods[:min(len(t.pods), maxExplainedPods)]
	for _, service := range t.servicesOf(pods) {
		add(t.explaining.Service(t.req.namespace, service))
	}
	for _, pod := range pods {
		add(t.explaining.Pod(t.req.namespace, pod))
	}
	return all
}

// servicesOf are the Services that have one of the pods as an endpoint.
func (t *trail) servicesOf(pods []string) (services []string) {
	found, err := t.objects.list(endpointSliceKind(), t.req.namespace, apilabels.Everything())
	if err != nil {
		return nil // a cache has no errors
	}
	for _, obj := range found {
		slice, ok := obj.(*discoveryv1.EndpointSlice)
		if ok && slices.ContainsFunc(podsOfSlice(slice), func(pod string) bool { return slices.Contains(pods, pod) }) {
			services = append(services, slice.Labels[discoveryv1.LabelServiceName])
		}
	}
	slices.Sort(services)
	return slices.Compact(services)
}

// endpoints tells whether the monitors find something to scrape in the object.
func (t *trail) endpoints(name string) bool {
	if t.explaining.Service == nil {
		return true
	}
	reach, _ := t.findJobs(name)
	var missing []string
	targets := 0
	for _, m := range reach.Monitors {
		for _, j := range m.Jobs {
			targets += j.Targets
			if j.Missing != "" && m.Err == nil {
				missing = append(missing, t.tell(m, "finds no target in it", ": "+j.Missing, ""))
			}
		}
	}
	if targets == 0 && len(missing) > 0 {
		return t.broken(LinkEndpoints, "%s%s", missing[0], t.forbidden())
	}
	if t.req.kind.GroupResource != serviceResource {
		return true
	}
	ready, unready := t.readiness(name)
	switch up := slices.ContainsFunc(t.targetsOf(name), func(target Target) bool { return target.Err == nil && !target.LastScrape.IsZero() }); {
	case ready == 0 && len(unready) == 0:
		return t.broken(LinkEndpoints, "the Service has no endpoints")
	case ready == 0 && !up:
		return t.broken(LinkEndpoints, "no ready endpoints: not ready: %s", listed(unready))
	case len(unready) > 0:
		t.note(LinkEndpoints, "%d ready, not ready: %s", ready, listed(unready))
	default:
		t.ok(LinkEndpoints, "%d ready", ready)
	}
	return true
}

// targetsOf are the targets of the object, by the labels that they were found with; or
// of all that is asked about, without a name.
func (t *trail) targetsOf(name string) (of []Target) {
	k, namespace := t.req.kind, t.within()
	for _, target := range t.allTargets() {
		has := func(label, want string) bool { return want == "" || target.Discovered.Get(label) == want }
		switch {
		case !has("namespace", namespace):
		case len(t.jobs) > 0 && !slices.Contains(t.jobs, target.Job):
		case len(t.pods) > 0 && !slices.Contains(t.pods, target.Discovered.Get("pod")):
		case len(t.pods) == 0 && k.GroupResource == serviceResource && !has("service", name):
		default:
			of = append(of, target)
		}
	}
	slices.SortFunc(of, func(a, b Target) int { return strings.Compare(a.Address, b.Address) })
	return of
}

// within is the namespace that the explanation may tell of.
func (t *trail) within() string {
	if t.req.kind.GroupResource == namespaceResource && len(t.req.names) == 1 {
		return t.req.names[0]
	}
	return t.req.namespace
}

// allTargets are those of all namespaces.
func (t *trail) allTargets() []Target {
	if t.targets == nil {
		t.targets = t.scrapes.targets()
	}
	return t.targets
}

// ownJobs are those of which all targets are in the namespace asked about: what they
// expose tells of no other.
func (t *trail) ownJobs() []string {
	jobs := slices.Clone(t.jobs)
	for _, target := range t.allTargets() {
		if target.Discovered.Get("namespace") != t.within() {
			jobs = slices.DeleteFunc(jobs, func(job string) bool { return job == target.Job })
		}
	}
	return jobs
}

// targetsUp tells whether any of the object's targets has been scraped.
func (t *trail) targetsUp(name string) bool {
	targets := t.targetsOf(name)
	var down []string
	waiting := 0
	for _, target := range targets {
		switch {
		case target.Err != nil:
			down = append(down, fmt.Sprintf("target %s is down: %s", target.Address, whyDown(target.Err)))
		case target.LastScrape.IsZero():
			waiting++
		}
	}
	up := len(targets) - len(down) - waiting
	switch {
	case t.scrapes.list == nil:
		return true
	case len(targets) == 0 && len(t.jobs) > 0:
		return t.broken(LinkTargets, "the relabelings of its monitor drop all of its targets")
	case len(targets) == 0:
		return t.broken(LinkTargets, "no target%s is scraped%s", inNamespace(t.within()), t.forbidden())
	case up == 0 && len(down) > 0:
		return t.broken(LinkTargets, "%s", some(down))
	case up == 0 && waiting == 1:
		return t.broken(LinkTargets, "its target has not been scraped yet")
	case up == 0:
		return t.broken(LinkTargets, "none of its %d targets has been scraped yet", waiting)
	case len(down) > 0:
		t.note(LinkTargets, "%d of %d are up; %s", up, len(targets), some(down))
	default:
		t.ok(LinkTargets, "%d of %d are up", up, len(targets))
	}
	return true
}

func plural(n int, one, several string) string {
	if n == 1 {
		return one
	}
	return several
}

// some shows one of several, and how many more there are.
func some(all []string) string {
	if len(all) == 1 {
		return all[0]
	}
	return fmt.Sprintf("%s (and %d more)", all[0], len(all)-1)
}

// whyDown leaves out the URL, whose parameters may be secrets.
func whyDown(err error) string {
	text := err.Error()
	if strings.HasPrefix(text, "Get ") {
		if _, rest, ok := strings.Cut(text, ": "); ok {
			text = rest
		}
	}
	return strings.TrimSuffix(text, ": "+context.DeadlineExceeded.Error()) // it says already what took too long
}

// reachedNow looks along the way to the object's targets.
func (t *trail) reachedNow() bool {
	name := t.req.names[0]
	return t.monitors(name) && t.endpoints(name) && t.targetsUp(name)
}

// reached tells of the way to the object's targets, though a value has come by it or
// by another: nothing on it is broken.
func (t *trail) reached(name string) {
	before := len(t.told.Steps)
	if t.monitors(name) && t.endpoints(name) {
		t.targetsUp(name)
	}
	for i := range t.told.Steps[before:] {
		if step := &t.told.Steps[before+i]; step.State == StateBroken {
			step.State = StateNote
		}
	}
	t.told.Reason = ""
}
