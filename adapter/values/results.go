package values

import (
	"context"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/promlet/promlet/adapter/objects"
	"github.com/promlet/promlet/adapter/rules"
	"github.com/promlet/promlet/tsdb"
)

// Labels says which labels of series name objects.
type Labels interface {
	// Label returns the label with the names of objects of a kind, "" for none.
	Label(kind objects.Kind) string
}

// Results evaluates a query of resourceRules, and notes that an API client reads the metric. The
// query reads the same view as rules do: timestamps are those of samples, and series of pods
// that are gone do not count.
func (v *Evaluator) Results(ctx context.Context, metric rules.Metric, expr string, of Labels) (tsdb.Vector, error) {
	if ctx.Value(unreadKey{}) == nil {
		v.Demand.Read(metric)
	}
	v.Logger.Debug("evaluate", "metric", metric.Name, "query", expr)
	targets := v.Targets.table()
	return v.shared(ctx, v.instantQuery(expr, of, targets), of, targets)
}

// shared evaluates a query, unless an equal one gives the answer. Evaluations made before promlet is ready are not
// shared: they may lack targets that have not been scraped yet.
func (v *Evaluator) shared(ctx context.Context, q tsdb.Query, of Labels, targets targetTable) (tsdb.Vector, error) {
	if v.Shared == nil || v.Ready() != nil {
		return v.instant(ctx, q)
	}
	equal := question{expr: q.Expr, namespace: of.Label(objects.Namespace()), pod: of.Label(objects.Pod()), targets: targets.version}
	return v.Shared.ask(ctx, equal, func() (tsdb.Vector, error) { return v.instant(ctx, q) })
}

// instant evaluates a query, and notes the result in the metrics.
func (v *Evaluator) instant(ctx context.Context, q tsdb.Query) (tsdb.Vector, error) {
	start := time.Now()
	vector, err := v.Querier.Instant(ctx, q)
	v.Evaluated(start, len(vector), err)
	return vector, err
}

func (v *Evaluator) instantQuery(expr string, of Labels, targets targetTable) tsdb.Query {
	return tsdb.Query{
		Expr: expr, At: v.Now(), Lookback: targets.lookback(),
		Source: v.Source, Object: v.object(of, targets), Interval: v.Targets.Interval, LongestInterval: targets.longest,
	}
}

// object returns a function that reports since when the pod of a series has existed, and whether
// that pod or the target of the series is gone.
func (v *Evaluator) object(of Labels, targets targetTable) func(series labels.Labels) (since time.Time, gone bool) {
	pod, namespace := of.Label(objects.Pod()), of.Label(objects.Namespace())
	return func(series labels.Labels) (time.Time, bool) {
		if pod == "" || namespace == "" || !series.Has(pod) {
			return time.Time{}, targets.gone(series)
		}
		since, gone, err := v.Objects.Since(objects.Pod(), series.Get(namespace), series.Get(pod))
		if err != nil {
			return time.Time{}, false // it is not known, so the series counts
		}
		return since, gone || targets.gone(series)
	}
}

// briefRateEvents is the number of events that a rate over less than a scrape interval needs to
// count: the error of a rate over 25 events is about a fifth. A counter that moves every five
// seconds would have the rate 0 or 0.33 over three seconds, after which a target is scraped for
// the second time.
const briefRateEvents = 25

// IsBrief reports whether a rate has been observed for too short a time to be right. A rate
// waits until all targets have been scraped twice, and until the counters have moved enough or
// have been observed for a scrape interval.
func IsBrief(s tsdb.Sample) bool {
	return s.Brief && (s.Waiting || s.Moved < briefRateEvents && s.Moved != 0)
}
