package values

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"github.com/promlet/promlet/adapter/catalog"
	"github.com/promlet/promlet/adapter/demand"
	"github.com/promlet/promlet/adapter/objects"
	"github.com/promlet/promlet/tsdb"
)

// Querier evaluates queries. *tsdb.DB evaluates them itself, *engine.Engine sends them to an engine behind a URL.
type Querier interface {
	// Instant evaluates a query. The error names the expression.
	Instant(ctx context.Context, q tsdb.Query) (tsdb.Vector, error)
}

// Evaluator answers requests from one database or engine. All fields without a note are required.
type Evaluator struct {
	Querier Querier
	// DB holds the samples. Nil where an engine has them.
	DB storage.Queryable
	// Engine names the engine behind a URL that has the samples. Nil for DB.
	Engine func() string
	// Next answers requests without series here. It may be nil.
	Next *Evaluator

	Objects objects.Reader
	Kinds   *objects.Kinds
	Catalog *catalog.Catalog
	Demand  *demand.Tracker
	Targets *Targets
	// Source returns where a stored series comes from, false where that is not known.
	Source func(series labels.Labels) (tsdb.Source, bool)
	// Shared lets equal queries share an evaluation. It may be nil.
	Shared *Shared
	// Evaluated is called after each evaluation of a query, which began at start and gave
	// so many results.
	Evaluated func(start time.Time, results int, err error)
	// Ready returns why no value can be right yet, nil if all can.
	Ready func() error
	// Collecting reports whether some targets that expose a series name have not been scraped
	// since it has been wanted.
	Collecting func(series string) bool

	Logger *slog.Logger
	Now    func() time.Time
}

// unreadKey marks the context of evaluations that nobody asked for.
type unreadKey struct{}

// Unread returns a context in which evaluating a metric does not make it wanted.
func Unread(ctx context.Context) context.Context { return context.WithValue(ctx, unreadKey{}, true) }

// Values returns the values of the requested objects that have one, by name. When none
// has, the error is an Absence.
func (v *Evaluator) Values(ctx context.Context, req Request) (map[string]Value, error) {
	if !req.Kind.IsNamespace() || len(req.Names) < 2 {
		return v.ofMappedAlike(ctx, req)
	}
	groups, err := v.mappedAlike(ctx, req)
	if err != nil {
		return nil, err
	}
	all := map[string]Value{}
	var absences reasons
	for _, req.Names = range groups {
		found, err := v.ofMappedAlike(ctx, req)
		if absent, ok := errors.AsType[*Absence](err); ok {
			absences.add(absent)
		} else if err != nil {
			return nil, err
		} else {
			maps.Copy(all, found)
		}
	}
	if len(all) == 0 {
		return nil, absences.err()
	}
	return all, nil
}

// mappedAlike groups namespaces by the mappings that may answer: a series name may have
// another type in each namespace.
func (v *Evaluator) mappedAlike(ctx context.Context, req Request) (groups [][]string, err error) {
	var mappings [][]catalog.Mapping // of each group
	for _, name := range req.Names {
		of, err := v.Catalog.MappingsOf(ctx, req.Metric, name)
		if err != nil {
			return nil, err
		}
		at := slices.IndexFunc(mappings, func(known []catalog.Mapping) bool { return slices.Equal(known, of) })
		if at < 0 {
			at, mappings, groups = len(groups), append(mappings, of), append(groups, nil)
		}
		groups[at] = append(groups[at], name)
	}
	return groups, nil
}

// ofMappedAlike returns the values of names that have the same mappings.
func (v *Evaluator) ofMappedAlike(ctx context.Context, req Request) (values map[string]Value, err error) {
	err = v.firstEvaluator(ctx, req, func(e *Evaluation) (bool, error) {
		values, err = e.values(ctx)
		return len(values) > 0, err
	})
	if err != nil {
		return nil, err // values that were found may be wrong
	}
	return values, nil
}

// External returns the values of an external metric, one for each result of the query with
// its labels; an Absence when there is none.
func (v *Evaluator) External(ctx context.Context, req Request) (values []Value, err error) {
	err = v.firstEvaluator(ctx, req, func(e *Evaluation) (bool, error) {
		values, err = e.external(ctx)
		return err == nil, err
	})
	return values, err
}

// firstEvaluator calls the next Evaluator if there are no series of the metric here: no rule makes the metric of any
// series, or no series belongs to the objects.
func (v *Evaluator) firstEvaluator(ctx context.Context, req Request, try func(*Evaluation) (answered bool, err error)) error {
	err := v.firstMapping(ctx, req, try)
	answeredBy(ctx, v)
	absent, ok := errors.AsType[*Absence](err)
	if v.Next == nil || !ok || absent.Complete || absent.Outcome != OutcomeNoMetric && absent.Outcome != OutcomeNoSeries {
		return err
	}
	nextErr := v.Next.firstEvaluator(ctx, req, try)
	if OutcomeOf(nextErr) == OutcomeNoMetric && absent.Outcome == OutcomeNoSeries { // the reason here is more exact
		answeredBy(ctx, v)
		return err
	}
	return nextErr
}

// firstMapping tries the mappings of a metric until one answers. When none does, the
// error is an Absence; so it is where a value cannot be right before or after.
func (v *Evaluator) firstMapping(ctx context.Context, req Request, try func(*Evaluation) (answered bool, err error)) error {
	before := v.Ready()
	err := v.tryMappings(ctx, req, try)
	for _, reason := range []error{before, v.Ready()} {
		if reason != nil {
			return complete(OutcomeStarting, "no value yet: %v", reason)
		}
	}
	return err
}

func (v *Evaluator) tryMappings(ctx context.Context, req Request, try func(*Evaluation) (answered bool, err error)) error {
	of, err := v.Catalog.MappingsOf(ctx, req.Metric, req.TypesWithin())
	if err != nil {
		return err
	}
	if len(of) == 0 {
		return Absent(OutcomeNoMetric, "no series has been collected that a rule serves under that name")
	}
	if ctx.Value(unreadKey{}) == nil {
		v.Demand.Read(req.Metric)
	}
	absences := reasons{all: Absence{Outcome: OutcomeNoSeries}}
	for _, m := range of {
		if v.isPartial(req, m.Series) {
			continue
		}
		answered := false
		e, err := v.Evaluation(req, m)
		if err == nil {
			answered, err = try(e)
		}
		if absent, ok := errors.AsType[*Absence](err); ok {
			absences.add(absent)
		} else if err != nil {
			return err
		} else if answered {
			return nil
		}
	}
	if wait := v.Demand.Starting(req.Metric); wait > 0 {
		return Absent(OutcomeStarting, "collection of %s has started, first value in about %s", of[0].Series, wait.Round(time.Second))
	}
	return absences.err()
}

// isPartial reports whether a sum over several pods would lack some of them, because their
// targets have not been scraped since the metric has been wanted. A target that does not
// answer keeps nothing back for longer than a first value may take.
func (v *Evaluator) isPartial(req Request, series string) bool {
	return !req.Kind.IsPod() && v.Demand.Starting(req.Metric) > 0 && v.Collecting(series)
}
