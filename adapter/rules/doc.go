// Package rules compiles prometheus-adapter's configuration.
//
// A [Config] is that configuration: files written for prometheus-adapter load
// unchanged. A [Rule] names the series it takes, the Kubernetes objects that their
// labels mean, the metric's name in the API and the query that gives its value.
// [Defaults] are the rules where none are configured.
//
// [Set.Compile] makes a [Set] of rules ready: everything that can be wrong with a rule
// is found there, and all errors are reported at once, by rule and field. A
// [Compiled] rule gives a series its metric's name and expands its query for matchers.
// [Oddities] warns of rules that load and do not do what they seem to;
// [Compiled.Unmatched] explains why a rule takes no series that exists.
//
// A [Matcher] is a PromQL matcher for a query template. [SelectorMatchers] makes them of
// a Kubernetes label selector.
//
// Compiled rules do not change and are safe for concurrent use. Nothing here starts a
// goroutine.
package rules
