// Package engine asks a Prometheus-compatible engine behind a URL: Prometheus, Thanos, Mimir, VictoriaMetrics.
//
// An [Engine] evaluates queries as *tsdb.DB does ([Engine.Instant]), and is the catalog.Index of the engine's series.
// Which series there are is listed every [Options.RelistInterval] by [Engine.Run], so that discovery and the choice of
// a rule never wait for the engine. Listing asks for the names that the rules' seriesQuery select, and for the label
// names of each, not for series: the memory it takes does not depend on how many series there are.
//
// A fault of the engine hurts one answer. The error is an [*Error], which names the engine without credentials and
// says in a few words what happened; what the engine sent is only logged, except for errors that it reports as
// Prometheus does. Concurrent equal queries are asked once, and end when nobody waits for them. An engine that cannot be
// reached is left alone for a while that doubles, up to 15 s: queries fail at once meanwhile.
//
// The time of an answer is that of the evaluation: Prometheus's HTTP API does not tell that of the samples behind a
// result. The engine's own look-back applies.
//
// An Engine is safe for concurrent use.
package engine
