package monitors

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/scrape"
)

// Result is what one side makes of a Cluster.
type Result struct {
	// Rejected says why, by monitor ("ServiceMonitor default/web").
	Rejected map[string]string
	// Jobs are by name, and include those without targets.
	Jobs map[string]*Job
}

// Job is what is scraped, and how.
type Job struct {
	Targets []Target // sorted, each once
	// Settings are all of the job's settings that are not targets, by their path
	// in Prometheus's ScrapeConfig; zero values are left out.
	Settings map[string]string
}

// Target is one target after relabelling.
type Target struct {
	URL string
	// Labels are all that survive, those of interval and timeout included, as
	// {name="value", ...} in the order of names.
	Labels string
}

// The operator's own temporary labels: the job's name for relabelings to read, and
// the number of the shard that they belong to. They say nothing else about the target.
const (
	jobNameLabel = "__tmp_prometheus_job_name"
	shardLabel   = "__tmp_hash"
)

// newJob builds the targets of the groups with Prometheus's scrape package. Targets
// that it refuses do not exist for it.
func newJob(cfg *config.ScrapeConfig, groups []*targetgroup.Group) *Job {
	j := &Job{Settings: settingsOf(cfg)}
	b := labels.NewBuilder(labels.EmptyLabels())
	for _, g := range groups {
		for _, own := range g.Targets {
			ls, err := scrape.PopulateLabels(b, cfg, own, g.Labels)
			if err != nil || ls.IsEmpty() {
				continue
			}
			url := scrape.NewTarget(ls, cfg, own, g.Labels).URL().String()
			b.Reset(ls)
			j.Targets = append(j.Targets, Target{URL: url, Labels: b.Del(jobNameLabel, shardLabel).Labels().String()})
		}
	}
	slices.SortFunc(j.Targets, func(a, b Target) int {
		return cmp.Or(cmp.Compare(a.URL, b.URL), cmp.Compare(a.Labels, b.Labels))
	})
	j.Targets = slices.Compact(j.Targets)
	return j
}

// Diff tells in what two results differ, one line each; none when they agree. That
// both reject a monitor is enough, for whatever reason, but promlet must give one.
func Diff(ours, theirs *Result) []string {
	var out []string
	for _, name := range sortedKeys(ours.Rejected, theirs.Rejected) {
		o, rejectedByUs := ours.Rejected[name]
		t, rejectedByThem := theirs.Rejected[name]
		switch {
		case rejectedByUs && o == "":
			out = append(out, name+": promlet rejects it without a reason")
		case !rejectedByThem:
			out = append(out, name+": only promlet rejects it: "+o)
		case !rejectedByUs:
			out = append(out, name+": only upstream rejects it: "+t)
		}
	}
	for _, name := range sortedKeys(ours.Jobs, theirs.Jobs) {
		o, t := ours.Jobs[name], theirs.Jobs[name]
		switch {
		case o == nil:
			out = append(out, fmt.Sprintf("job %s: only upstream has it, with %d targets", name, len(t.Targets)))
		case t == nil:
			out = append(out, fmt.Sprintf("job %s: only promlet has it, with %d targets", name, len(o.Targets)))
		default:
			out = append(out, diffJobs(name, o, t)...)
		}
	}
	return out
}

func diffJobs(name string, ours, theirs *Job) []string {
	var out []string
	for _, key := range sortedKeys(ours.Settings, theirs.Settings) {
		if o, t := ours.Settings[key], theirs.Settings[key]; o != t {
			out = append(out, fmt.Sprintf("job %s: %s: promlet %q, upstream %q", name, key, o, t))
		}
	}
	if slices.Equal(ours.Targets, theirs.Targets) {
		return out
	}
	only := func(who string, targets, others []Target) {
		for _, t := range targets {
			if !slices.Contains(others, t) {
				out = append(out, fmt.Sprintf("job %s: only %s: %s %s", name, who, t.URL, t.Labels))
			}
		}
	}
	only("promlet", ours.Targets, theirs.Targets)
	only("upstream", theirs.Targets, ours.Targets)
	return out
}

// Targets is the number of targets over all jobs.
func (r *Result) Targets() int {
	n := 0
	for _, j := range r.Jobs {
		n += len(j.Targets)
	}
	return n
}

// monitorKey names a monitor in Result.Rejected.
func monitorKey(kind, namespace, name string) string {
	return strings.Join([]string{kind, namespace + "/" + name}, " ")
}

func sortedKeys[V any](ms ...map[string]V) []string {
	all := map[string]bool{}
	for _, m := range ms {
		for k := range m {
			all[k] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}
