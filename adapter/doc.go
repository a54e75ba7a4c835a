// Package adapter answers the custom metrics API out of an embedded TSDB.
//
// A [Provider] maps the series it finds to metrics of Kubernetes objects by
// rules in prometheus-adapter's own format ([Rule]; [DefaultRules] when none
// are given), and evaluates them when it is asked. A [Server] puts it behind
// the aggregated API server that the HorizontalPodAutoscaler reads.
//
// An answer is honest or absent. Its timestamp is that of the last sample
// used, its window is what has been observed of the rule's, and values are
// rounded to the nearest milli-unit. Which series count is decided by what
// [Options] Source and Objects say of them. NaN, infinities, and objects that do not exist have no
// value: the error says so, in words that end up in an HPA's conditions.
//
// Objects are read from the caches that the [Lister] gives; no request leads
// to another. The apiserver library keeps process-wide state of its own
// (metrics and feature gates), which several servers in one process share.
package adapter
