package explain

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/promlet/promlet/adapter/objects"
	"github.com/promlet/promlet/adapter/values"
)

// maxExplainedPods bounds the pods that monitors are looked for.
const maxExplainedPods = 20

// scraped follows the chain from the monitors to the object's targets. It reports whether
// any of them is up.
func (c *chain) scraped() bool { return c.monitors() && c.endpoints() && c.targetsUp() }

// reached adds the steps from monitor to targets for an object that has samples. Broken
// steps become notes.
func (c *chain) reached() {
	if k := c.req.Kind; k.Namespaced && !k.IsService() && len(c.pods) == 0 {
		return // the series name the object, and any monitor may scrape them
	}
	c.asNotes(func() { c.scraped() })
}

// asNotes calls add and turns the broken steps that it adds into notes.
func (c *chain) asNotes(add func()) {
	before := len(c.told.Steps)
	add()
	for i := range c.told.Steps[before:] {
		if step := &c.told.Steps[before+i]; step.State == StateBroken {
			step.State = StateNote
		}
	}
	c.told.Reason, c.told.outcome = "", ""
}

// monitors reports whether monitors select the object, or the pods behind it.
func (c *chain) monitors() bool {
	k, namespace, reach := c.req.Kind, c.req.Namespace, c.reach
	if c.x.opts.Service == nil || k.IsNamespace() || !k.Namespaced {
		return true
	}
	if len(c.pods) == 0 && !k.IsService() {
		return c.broken(LinkObject, "no series names it, and it owns no pods%s%s", values.InNamespace(namespace), c.scaledToZero())
	}
	what := "the Service"
	switch {
	case k.IsPod():
		what = "the Pod, or a Service of it"
	case !k.IsService() || c.byPods && len(reach.Monitors) > 0:
		what = "its pods, or a Service of theirs"
	}
	var good, rejected []string
	for _, m := range reach.Monitors {
		if m.Err != nil {
			rejected = append(rejected, c.ofMonitor(m, "is rejected", ": "+m.Err.Error(), ": its Events say why"))
			continue
		}
		good = append(good, c.ofMonitor(m, "", "", ""))
	}
	switch {
	case len(good) > 0:
		c.ok(LinkMonitor, "%s %s %s", listed(good), plural(len(good), "selects", "select"), what)
		return true
	case len(rejected) > 0:
		return c.broken(LinkMonitor, "%s", strings.Join(rejected, "; "))
	case reach.Nearest != "":
		return c.broken(LinkMonitor, "no monitor selects %s; the closest is %s%s", what, reach.Nearest, c.forbidden())
	case c.needService():
		return c.broken(LinkMonitor, "no monitor selects %s: the ServiceMonitors for namespace %s select Services, and no Service has %s as an endpoint: add a Service that they select, or a PodMonitor%s",
			what, namespace, plural(len(c.pods), "the Pod", "any of its pods"), c.forbidden())
	case reach.Counted == 0:
		return c.broken(LinkMonitor, "no monitor selects %s: there is none for namespace %s%s", what, namespace, c.forbidden())
	case reach.Labels != "":
		if c.labels != "" {
			what += " (labels " + c.labels + ")"
		}
		return c.broken(LinkMonitor, "no monitor selects %s; a monitor of another namespace selects it only if its namespaceSelector includes namespace %s%s", what, namespace, c.forbidden())
	default:
		return c.broken(LinkMonitor, "no monitor selects %s: namespace %s has none, and no monitor of another namespace selects it%s", what, namespace, c.forbidden())
	}
}

// needService reports whether no Service has the object's pods, although ServiceMonitors look into the namespace.
func (c *chain) needService() bool {
	return len(c.pods) > 0 && len(c.servicesOf(c.pods)) == 0 && c.x.opts.Service(c.req.Namespace, "").Counted > 0
}

// ofMonitor says what a monitor does. Details, and the name, are those of the question's
// namespace only; elsewhere is said in the place of other details.
func (c *chain) ofMonitor(m Reaching, does, details, elsewhere string) string {
	name := m.Kind + " " + m.Name
	if m.Namespace != c.req.Namespace {
		name, details = "a "+m.Kind+" of another namespace", elsewhere
	}
	return strings.TrimSpace(name+" "+does) + details
}

// forbidden says which objects promlet may not read.
func (c *chain) forbidden() string {
	attempts := c.forbiddenAttempts()
	if len(attempts) == 0 {
		return ""
	}
	return fmt.Sprintf("; permission missing: promlet may not %s (applying deploy/ again grants it)", strings.Join(attempts, ", "))
}

// forbiddenAttempts returns the actions that promlet lacks permission for, such as "list services".
func (c *chain) forbiddenAttempts() (attempts []string) {
	if c.x.opts.Problems == nil {
		return nil
	}
	for _, problem := range c.x.opts.Problems() {
		attempt, _, _ := strings.Cut(problem, ": ")
		// Secrets and ConfigMaps have a namespace: the Events of their monitor name them.
		if strings.Contains(problem, "forbidden") && !strings.HasPrefix(attempt, "read ") {
			attempts = append(attempts, attempt)
		}
	}
	return attempts
}

// findJobs finds which monitors select the object, or else the pods behind it and the
// Services of these, and the jobs that are made of them.
func (c *chain) findJobs() {
	if c.x.opts.Service == nil {
		return
	}
	isService := c.req.Kind.IsService()
	if isService {
		c.reach = c.x.opts.Service(c.req.Namespace, c.name)
		c.labels = c.reach.Labels
	}
	if len(c.reach.Monitors) == 0 && len(c.pods) > 0 {
		ofService := c.reach
		c.reach, c.byPods = c.reachOfPods(), true
		c.reach.Nearest, c.reach.Labels = cmp.Or(ofService.Nearest, c.reach.Nearest), cmp.Or(ofService.Labels, c.reach.Labels)
		c.reach.Counted += ofService.Counted
	}
	for _, m := range c.reach.Monitors {
		for _, j := range m.Jobs {
			c.jobs = append(c.jobs, j.Name)
		}
	}
	if len(c.pods) == 0 && !isService {
		for _, target := range c.targetsOf(c.name) {
			c.jobs = append(c.jobs, target.Job)
		}
	}
	slices.Sort(c.jobs)
	c.jobs = slices.Compact(c.jobs)
}

func (c *chain) reachOfPods() (all Reach) {
	add := func(r Reach) {
		all.Counted += r.Counted
		all.Nearest, all.Labels = cmp.Or(all.Nearest, r.Nearest), cmp.Or(all.Labels, r.Labels)
		for _, m := range r.Monitors {
			same := func(known Reaching) bool {
				return known.Kind == m.Kind && known.Namespace == m.Namespace && known.Name == m.Name
			}
			if !slices.ContainsFunc(all.Monitors, same) {
				all.Monitors = append(all.Monitors, m)
			}
		}
	}
	pods := c.pods[:min(len(c.pods), maxExplainedPods)]
	for _, service := range c.servicesOf(pods) {
		add(c.x.opts.Service(c.req.Namespace, service))
	}
	for _, pod := range pods {
		add(c.x.opts.Pod(c.req.Namespace, pod))
	}
	return all
}

// servicesOf are the Services that have one of the pods as an endpoint.
func (c *chain) servicesOf(pods []string) (services []string) {
	found, _ := c.x.values.Objects.EndpointSlices(c.req.Namespace, "") // a cache has no errors
	for _, slice := range found {
		if slices.ContainsFunc(objects.PodsOfSlice(slice), func(pod string) bool { return slices.Contains(pods, pod) }) {
			services = append(services, slice.Labels[discoveryv1.LabelServiceName])
		}
	}
	slices.Sort(services)
	return slices.Compact(services)
}
