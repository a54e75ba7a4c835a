// Package values answers what the value of a metric is now.
//
// An [Evaluator] takes a [Request]: a metric, and the objects that it is asked of. It
// tries the mappings of the metric (package catalog) until one answers: by the label that
// names the objects, or else by the pods behind them. Each question is one evaluation of a
// rule's query by tsdb. The result is a [Value] for each object, with the time of its last
// sample and the window it was computed over.
//
// A value is honest or absent. Where there is none, the error is an [Absence]: a reason for
// people, and an [Outcome] for metrics. Other errors are faults. Rates that have been
// observed for too short a time, NaN and infinities are absent; pods and targets that are
// gone do not count.
//
// The samples are in a database of this process, or in an engine behind a URL: see [Querier] and package engine. The
// engine's values have the time of the evaluation, and the whole window of the rule. Evaluators may be chained: the
// next one answers requests without series in this one.
//
// An Evaluator is safe for concurrent use and starts no goroutines.
package values
