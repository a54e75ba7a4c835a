// Package demand knows who reads which series, so that only those are stored.
//
// A [Tracker] notes who reads: HorizontalPodAutoscalers, as their objects say; requests to
// the APIs ([Tracker.Read]) and PromQL queries ([Tracker.Selected]), each for an hour
// after the last; and the patterns of keep in the configuration. A [Demand] is the result
// at one moment: for each series name whether anybody reads it, whether an HPA does, and
// who.
//
// Metrics become series names through the rules and the queries of package catalog. The
// metrics of rules.Usage stand for the series that the queries of resourceRules read. HPAs on CPU
// and memory, and clients of metrics.k8s.io, make them wanted ([Tracker.SetUsage]).
//
// [Tracker.Run] calls a function with each new Demand and keeps the demand in a file over
// restarts. The caller owns its goroutine: it ends with its context. All methods are safe
// for concurrent use.
package demand
