package discovery

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/targetgroup"

	"github.com/promlet/promlet/discovery/monitors"
)

// targetLimits are the most targets that are scraped; 0 is no limit.
type targetLimits struct {
	monitor   int // of one monitor
	namespace int // of all monitors of a namespace, and of what is annotated in it
}

// overLimit is what is not scraped because it has too many targets.
type overLimit struct {
	monitors  map[string]error // by key of the monitor
	jobs      map[string]bool  // theirs
	annotated map[string]error // by namespace
}

// demanding is a monitor, or what is annotated in a namespace, with its targets.
type demanding struct {
	monitor   *monitors.Monitor // nil for what is annotated
	namespace string
	targets   int
}

// limit finds out what has too many targets. It reports whether that has changed.
//
// A monitor over a limit loses all of its targets: a sum over some of them would be wrong.
// Where those of a namespace are too many together, the monitors with the most lose theirs.
// Inline monitors are the administrator's, and do not count.
func (s *state) limit(limits targetLimits) (changed bool) {
	over := overLimit{monitors: map[string]error{}, jobs: map[string]bool{}, annotated: map[string]error{}}
	refuse := func(d *demanding, err error) {
		if d.monitor == nil {
			over.annotated[d.namespace] = err
			return
		}
		over.monitors[d.monitor.Status.Key()] = err
		for _, j := range d.monitor.Jobs {
			over.jobs[j.Name] = true
		}
	}
	all := s.demanding()
	slices.SortStableFunc(all, func(a, b demanding) int { return cmp.Compare(a.targets, b.targets) })
	inNamespace := map[string]int{}
	for i := range all {
		d := &all[i]
		switch sum := inNamespace[d.namespace] + d.targets; {
		case limits.monitor > 0 && d.targets > limits.monitor && d.monitor != nil:
			refuse(d, fmt.Errorf("not scraped: it has more than %d targets, the limit for a monitor", limits.monitor))
		case limits.namespace > 0 && sum > limits.namespace:
			refuse(d, fmt.Errorf("not scraped: with it the namespace has more than %d targets, the limit for a namespace", limits.namespace))
		default:
			inNamespace[d.namespace] = sum
		}
	}
	before := s.over
	if sameErrors(before.monitors, over.monitors) && sameErrors(before.annotated, over.annotated) && maps.Equal(before.jobs, over.jobs) {
		return false
	}
	s.over, s.outcome = over, nil
	return true
}

// demanding returns what has targets. A job counts as a target at least: it costs as much.
func (s *state) demanding() []demanding {
	var all []demanding
	for _, m := range s.monitors {
		if m.Status.Origin == monitors.OriginInline {
			continue
		}
		n := 0
		for _, j := range m.Jobs {
			n += max(1, s.jobs[j.Name].targets)
		}
		all = append(all, demanding{m, m.Status.Namespace, n})
	}
	if s.annotated == nil {
		return all
	}
	inNamespace := map[string]int{}
	for _, j := range []*jobTargets{s.annotated.services, s.annotated.pods} {
		for key, g := range j.groups {
			inNamespace[namespaceOf(key)] += len(g.Targets)
		}
	}
	for namespace, n := range inNamespace {
		all = append(all, demanding{nil, namespace, n})
	}
	return all
}

func namespaceOf(key string) string {
	namespace, _, _ := strings.Cut(key, "/")
	return namespace
}

func sameErrors(a, b map[string]error) bool {
	return maps.EqualFunc(a, b, func(a, b error) bool { return a.Error() == b.Error() })
}

// configs returns the configurations of the jobs that are scraped, in order.
func (s *state) configs() (configs []*config.ScrapeConfig) {
	for _, j := range s.order {
		if !s.over.jobs[j.job.Name] {
			configs = append(configs, j.job.Config)
		}
	}
	return configs
}

// groupsOf returns the groups of a job that are scraped, in order.
func (s *state) groupsOf(j *jobTargets) []*targetgroup.Group {
	if len(j.groups) == 0 || s.over.jobs[j.job.Name] {
		return nil
	}
	a := s.annotated
	if len(s.over.annotated) == 0 || j != a.services && j != a.pods {
		return j.sorted()
	}
	scraped := groupSet{groups: maps.Clone(j.groups)}
	maps.DeleteFunc(scraped.groups, func(key string, _ *targetgroup.Group) bool {
		return s.over.annotated[namespaceOf(key)] != nil
	})
	return scraped.sorted()
}

// limited returns the monitors, those over a limit with that as the reason why they are
// rejected.
func (s *state) limited() []*monitors.Monitor {
	if len(s.over.monitors) == 0 {
		return s.monitors
	}
	all := slices.Clone(s.monitors)
	for i, m := range all {
		if err := s.over.monitors[m.Status.Key()]; err != nil {
			rejected := *m
			rejected.Status.Err = err
			all[i] = &rejected
		}
	}
	return all
}
