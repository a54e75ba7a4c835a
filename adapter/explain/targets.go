package explain

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/promlet/promlet/adapter/values"
)

// endpoints reports whether the monitors find something to scrape in the object.
func (c *chain) endpoints() bool {
	if c.x.opts.Service == nil {
		return true
	}
	var missing []string
	targets := 0
	for _, m := range c.reach.Monitors {
		for _, j := range m.Jobs {
			targets += j.Targets
			if j.Missing != "" && m.Err == nil {
				missing = append(missing, c.withoutTargets(m, j.Missing))
			}
		}
	}
	if targets == 0 && len(missing) > 0 {
		return c.broken(LinkEndpoints, "%s%s", missing[0], c.forbidden())
	}
	if !c.req.Kind.IsService() {
		return true
	}
	ready, unready := c.readiness()
	up := slices.ContainsFunc(c.targetsOf(c.name), func(t values.Target) bool { return t.Up() })
	switch {
	case ready == 0 && len(unready) == 0:
		return c.broken(LinkEndpoints, "the Service has no endpoints%s", c.scaledToZero())
	case ready == 0 && !up:
		return c.broken(LinkEndpoints, "no ready endpoints: not ready: %s", listed(unready))
	case len(unready) > 0:
		c.note(LinkEndpoints, "%d ready, not ready: %s", ready, listed(unready))
	default:
		c.ok(LinkEndpoints, "%d ready", ready)
	}
	return true
}

// withoutTargets says that a monitor selects the object and finds nothing to scrape in it.
func (c *chain) withoutTargets(m Reaching, missing string) string {
	if wants, has, ok := strings.Cut(missing, " (it has "); ok && c.req.Kind.IsService() && m.Namespace == c.req.Namespace {
		if port, ok := strings.CutPrefix(wants, "the Service has no "); ok {
			return c.ofMonitor(m, "selects the Service", ", but wants a "+port+", and the Service has "+strings.TrimSuffix(has, ")"), "")
		}
	}
	return c.ofMonitor(m, "finds no target in it", ": "+missing, "")
}

// readiness counts the Service's endpoints that are ready, and names the others.
func (c *chain) readiness() (ready int, unready []string) {
	found, _ := c.x.values.Objects.EndpointSlices(c.req.Namespace, c.name) // a cache has no errors
	for _, slice := range found {
		for _, e := range slice.Endpoints {
			switch {
			case e.Conditions.Ready == nil || *e.Conditions.Ready:
				ready++
			case e.TargetRef != nil:
				unready = append(unready, e.TargetRef.Name)
			default:
				unready = append(unready, strings.Join(e.Addresses, ","))
			}
		}
	}
	slices.Sort(unready)
	return ready, slices.Compact(unready)
}

// targetsOf returns the targets of the object by the labels that they were discovered
// with; without a name, of all objects of the question's kind.
func (c *chain) targetsOf(name string) (of []values.Target) {
	return c.ofObject(c.allTargets(), name)
}

// ofObject returns the targets of the object among all targets.
func (c *chain) ofObject(all []values.Target, name string) (of []values.Target) {
	namespace := c.within()
	for _, target := range all {
		has := func(label, want string) bool { return want == "" || target.Discovered.Get(label) == want }
		switch {
		case !has("namespace", namespace):
		case len(c.jobs) > 0 && !slices.Contains(c.jobs, target.Job):
		case len(c.pods) > 0 && !slices.Contains(c.pods, target.Discovered.Get("pod")):
		case len(c.pods) == 0 && c.req.Kind.IsService() && !has("service", name):
		default:
			of = append(of, target)
		}
	}
	slices.SortFunc(of, func(a, b values.Target) int { return strings.Compare(a.Address, b.Address) })
	return of
}

// within is the namespace that the explanation may be about.
func (c *chain) within() string {
	if c.req.Kind.IsNamespace() && len(c.req.Names) == 1 {
		return c.req.Names[0]
	}
	return c.req.Within()
}

// allTargets are those of all namespaces.
func (c *chain) allTargets() []values.Target {
	if c.targets == nil {
		c.targets = c.x.values.Targets.All()
	}
	return c.targets
}

// ownJobs are those whose targets are all in the question's namespace: what they expose
// says nothing about others.
func (c *chain) ownJobs() []string {
	jobs := slices.Clone(c.jobs)
	for _, target := range c.allTargets() {
		if target.Discovered.Get("namespace") != c.within() {
			jobs = slices.DeleteFunc(jobs, func(job string) bool { return job == target.Job })
		}
	}
	return jobs
}

// targetsUp reports whether any of the object's targets has been scraped.
func (c *chain) targetsUp() bool {
	targets := c.targetsOf(c.name)
	if len(targets) == 0 && c.x.opts.OtherShards != nil {
		if n := len(c.ofObject(c.x.opts.OtherShards(), c.name)); n > 0 {
			return c.broken(LinkTargets, "another shard scrapes its targets (%d)", n)
		}
	}
	var down []string
	up := 0
	for _, target := range targets {
		if target.Err != nil {
			down = append(down, fmt.Sprintf("target %s is down: %s", target.Address, whyDown(target.Err)))
		} else if target.Up() {
			up++
		}
	}
	switch {
	case c.x.values.Targets.List == nil:
		return true
	case len(targets) == 0 && len(c.jobs) > 0:
		return c.broken(LinkTargets, "the relabelings of its monitor drop all of its targets")
	case len(targets) == 0:
		return c.broken(LinkTargets, "no target%s is scraped%s", values.InNamespace(c.within()), c.forbidden())
	case up == 0 && len(down) > 0:
		return c.broken(LinkTargets, "%s", firstOf(down))
	case up == 0 && len(targets) == 1:
		return c.broken(LinkTargets, "its target has not been scraped yet")
	case up == 0:
		return c.broken(LinkTargets, "none of its %d targets has been scraped yet", len(targets))
	case len(down) > 0:
		c.note(LinkTargets, "%d of %d are up; %s", up, len(targets), firstOf(down))
	default:
		c.ok(LinkTargets, "%d of %d are up", up, len(targets))
	}
	return true
}

// firstOf shows the first of several, and how many more there are.
func firstOf(all []string) string {
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
