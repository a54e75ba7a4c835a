package queried

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/prometheus/common/model"

	"github.com/promlet/promlet/adapter/objects"
	"github.com/promlet/promlet/adapter/resourcemetrics"
	"github.com/promlet/promlet/adapter/rules"
	"github.com/promlet/promlet/adapter/values"
	"github.com/promlet/promlet/tsdb"
)

// maxNames is how many pods or nodes one query names. An expression may have at most 512 KiB.
const maxNames = 1000

// question is the queries for pods or nodes, and what they are asked about.
type question struct {
	pair      rules.ResourcePair
	of        objects.Kind
	namespace string // "" for nodes
	job       string // the job of kubelets, "" for none
}

// sources returns matchers for the sources of samples, in the order in which they are queried. Nil matchers select all
// samples. While kubelets expose all that the queries read, they are queried first and alone, so that nothing counts twice
// when a monitor with the same series is added.
func (q *question) sources(v *values.Evaluator) [][]rules.Matcher {
	if q.job == "" || v.DB == nil {
		return [][]rules.Matcher{nil}
	}
	kubelets, others := []rules.Matcher{rules.Equal(model.JobLabel, q.job)}, []rules.Matcher{rules.Not(model.JobLabel, q.job)}
	switch taken, all := v.Demand.OfKubelets(rules.Usage(q.of)); taken {
	case all:
		return [][]rules.Matcher{kubelets, others}
	case 0:
		return [][]rules.Matcher{others}
	default: // each name has one source
		return [][]rules.Matcher{nil}
	}
}

// usage returns a Report on each name. A name without a value from one source may have one from the next, or from the engine
// that follows the database. The Reports contain the error as well.
func usage(ctx context.Context, v *values.Evaluator, q question, names []string) (map[string]*resourcemetrics.Report, error) {
	var found map[string]*resourcemetrics.Report
	missing := names
	for _, source := range q.sources(v) {
		reports, err := q.askAll(ctx, v, source, missing)
		if found = merged(found, reports); err != nil {
			return found, err
		}
		missing = slices.DeleteFunc(slices.Clone(missing), func(name string) bool { return !isUnknown(found[name]) })
	}
	if v.Next == nil || len(missing) == 0 {
		return found, nil
	}
	reports, err := usage(ctx, v.Next, q, missing)
	return merged(found, reports), err
}

// merged adds the Reports from the next source to those found so far.
func merged(found, next map[string]*resourcemetrics.Report) map[string]*resourcemetrics.Report {
	if found == nil {
		return next
	}
	for name, report := range next {
		if report.Reason != resourcemetrics.NoResult || found[name].Reason == resourcemetrics.NoResult {
			found[name] = report
		}
	}
	return found
}

// askAll queries one source. It returns a Report on each name. If a query fails, all Reports contain the error.
func (q *question) askAll(ctx context.Context, v *values.Evaluator, source []rules.Matcher, names []string) (map[string]*resourcemetrics.Report, error) {
	found := make(map[string]*resourcemetrics.Report, len(names))
	for some := range slices.Chunk(names, maxNames) {
		if err := q.ask(ctx, v, source, some, found); err != nil {
			for _, name := range names {
				found[name] = &resourcemetrics.Report{Reason: resourcemetrics.QueryFailed, Detail: err.Error()}
			}
			return found, err
		}
	}
	return found, nil
}

// isUnknown reports whether no query has any result for a pod or node.
func isUnknown(report *resourcemetrics.Report) bool {
	noResult := report.Reason == resourcemetrics.NoResult || report.Reason == resourcemetrics.Collecting
	return noResult && len(report.Usages) == 0
}

// ask adds a Report on each name to found, unless it returns an error.
func (q *question) ask(ctx context.Context, v *values.Evaluator, source []rules.Matcher, names []string, found map[string]*resourcemetrics.Report) error {
	same := func(reason resourcemetrics.Reason, detail string) {
		for _, name := range names {
			found[name] = &resourcemetrics.Report{Reason: reason, Detail: detail}
		}
	}
	if missing := q.missingQuery(); missing != "" {
		same(resourcemetrics.NoQuery, missing+" is empty")
		return nil
	}
	notReady := v.Ready()
	cpu, err := q.results(ctx, v, q.pair.CPU, source, names)
	if err == nil && notReady == nil {
		var memory results
		if memory, err = q.results(ctx, v, q.pair.Memory, source, names); err == nil {
			for _, name := range names {
				found[name] = q.report(v, name, &cpu, &memory)
			}
		}
	}
	if later := v.Ready(); notReady == nil {
		notReady = later
	}
	if notReady != nil {
		same(resourcemetrics.NotReady, fmt.Sprintf("no value yet: %v", notReady))
		return nil
	}
	return err
}

// missingQuery returns the key of a query that the configuration does not have, "" if it has both.
func (q *question) missingQuery() string {
	field := "containerQuery"
	if !q.of.IsPod() {
		field = "nodeQuery"
	}
	switch {
	case q.pair.CPU == nil:
		return "resourceRules.cpu." + field
	case q.pair.Memory == nil:
		return "resourceRules.memory." + field
	}
	return ""
}

// results are the results of one query.
type results struct {
	query *rules.ResourceQuery
	expr  string
	of    map[string]map[string]result // by the name of the pod or node, and by container; "" for a whole pod or a node
}

type result struct {
	tsdb.Sample
	several bool // there are several for the same container or node
}

// results evaluates one query for names. It leaves out results for other names.
func (q *question) results(ctx context.Context, v *values.Evaluator, query *rules.ResourceQuery, source []rules.Matcher, names []string) (results, error) {
	expr, err := query.Expand(q.namespace, names, source...)
	if err != nil {
		return results{}, err
	}
	vector, err := v.Results(ctx, rules.Usage(q.of), expr, query)
	if err != nil {
		return results{}, fmt.Errorf("%s: %w", query, err)
	}
	r := results{query: query, expr: expr, of: make(map[string]map[string]result, len(names))}
	for _, name := range names {
		r.of[name] = map[string]result{}
	}
	namespaceLabel := query.Label(objects.Namespace())
	for _, sample := range vector {
		containers, asked := r.of[sample.Labels.Get(query.Label(q.of))]
		if within := sample.Labels.Get(namespaceLabel); !asked || q.namespace != "" && within != "" && within != q.namespace {
			continue
		}
		container := ""
		if query.ContainerLabel != "" {
			container = sample.Labels.Get(query.ContainerLabel)
		}
		_, several := containers[container]
		containers[container] = result{sample, several}
	}
	for _, containers := range r.of {
		if len(containers) > 1 {
			delete(containers, "") // the whole pod is the sum of the others
		}
	}
	return r, nil
}

// report returns the Report on a pod or node.
func (q *question) report(v *values.Evaluator, name string, cpu, memory *results) *resourcemetrics.Report {
	report := &resourcemetrics.Report{Queries: []resourcemetrics.Query{{Rule: cpu.query.String(), Expr: cpu.expr}, {Rule: memory.query.String(), Expr: memory.expr}}}
	either := maps.Clone(cpu.of[name])
	maps.Copy(either, memory.of[name])
	for _, container := range slices.Sorted(maps.Keys(either)) {
		q.addContainer(report, v, name, container, cpu, memory)
	}
	if len(either) == 0 {
		report.Reason, report.Detail = resourcemetrics.NoResult, fmt.Sprintf("%s and %s have no result for %s", cpu.query, memory.query, q.subject(""))
	}
	if wait := v.Demand.Starting(rules.Usage(q.of)); wait > 0 && report.Reason == resourcemetrics.NoResult {
		report.Reason = resourcemetrics.Collecting
		report.Detail = fmt.Sprintf("collection of %s has started, first value in about %s", cpu.query.Series(), wait.Round(time.Second))
	}
	return report
}

// addContainer adds the usage of a container to the report. An empty container stands for a whole pod or a node.
func (q *question) addContainer(report *resourcemetrics.Report, v *values.Evaluator, name, container string, cpu, memory *results) {
	u := resourcemetrics.Usage{Name: container}
	if !q.of.IsPod() {
		u.Name = name
	}
	for _, r := range []*results{cpu, memory} {
		value, at, reason, detail := r.value(v, name, container)
		switch {
		case reason != resourcemetrics.Measured:
			u.Reason = reason
			if report.Reason == resourcemetrics.Measured {
				report.Reason, report.Container = reason, container
				report.Detail = fmt.Sprintf("%s %s for %s", r.query, detail, q.subject(container))
			}
			continue
		case r.query.IsCPU():
			u.Cores = value
		default:
			u.Memory = int64(math.Round(value))
		}
		if u.Last.Time.IsZero() || at.Before(u.Last.Time) {
			u.Last.Time = at
		}
	}
	report.Usages = append(report.Usages, u)
}

// subject returns what texts call a container, pod or node.
func (q *question) subject(container string) string {
	if container != "" {
		return fmt.Sprintf("container %q", container)
	}
	return "the " + q.of.Singular
}

// value returns the value of a container or node and the time of the oldest sample behind it, or why there is none.
func (r *results) value(v *values.Evaluator, name, container string) (value float64, at time.Time, reason resourcemetrics.Reason, detail string) {
	found, ok := r.of[name][container]
	switch value = found.Value; {
	case !ok:
		return 0, at, resourcemetrics.NoResult, "has no result"
	case found.several:
		return 0, at, resourcemetrics.BadResult, "has several results, so aggregate by (<<.GroupBy>>),"
	case values.IsBrief(found.Sample):
		return 0, at, resourcemetrics.NoResult, fmt.Sprintf("needs more than the %s observed so far", found.Window.Round(100*time.Millisecond))
	case math.IsNaN(value) || math.IsInf(value, 0) || value >= r.most():
		return 0, at, resourcemetrics.BadResult, fmt.Sprintf("gives %g", value)
	}
	if at = found.Last; at.IsZero() {
		at = v.Now() // no sample was read, as for a constant
	}
	return max(0, value), at, resourcemetrics.Measured, ""
}

// most returns the limit that a value must be below to fit into a quantity.
func (r *results) most() float64 {
	if r.query.IsCPU() {
		return math.MaxInt64 / float64(time.Second)
	}
	return math.MaxInt64
}
