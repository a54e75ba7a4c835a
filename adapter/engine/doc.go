// Package engine queries a Prometheus-compatible engine behind a URL: Prometheus, Thanos, Mimir or VictoriaMetrics.
//
// An [Engine] evaluates queries as *tsdb.DB does ([Engine.Instant]), and is the catalog.Index of the engine's series.
// [Engine.Run] lists the series every [Options.RelistInterval], so that discovery and the choice of a rule never wait
// for the engine. It reads the names that the rules' seriesQuery select, and the label names of each. It does not read
// series: its memory does not depend on their number.
//
// A failed request fails only its own answer. The error is an [*Error], which names the engine without credentials and
// has a short reason. The engine's own text is only logged, except errors and warnings in Prometheus's format. Concurrent
// equal queries are sent once, and end when nobody waits for them. When the engine cannot be reached, requests pause:
// queries fail at once. The pause doubles, up to 15 s.
//
// The time of an answer is that of the evaluation: Prometheus's HTTP API does not return the time of the samples behind
// a result. The engine's own look-back applies.
//
// An Engine is safe for concurrent use.
package engine
