// Package apiserver serves custom.metrics.k8s.io, external.metrics.k8s.io and, with
// Options.ResourceMetrics, metrics.k8s.io as an aggregated API server.
//
// A [Server] puts a provider.MetricsProvider behind the library that prometheus-adapter
// uses, k8s.io/apiserver: routes, authentication and authorization by the cluster, and
// certificates are the library's. What is added: a discovery document that lists the
// metrics of the moment, readiness and bad selectors answered with reasons, the parameter
// explain, /metrics beside the library's own, queries below /prometheus, and clients that
// are sent to other replicas when the server shuts down.
//
// Without authentication it listens on loopback only. [Server.Run] serves until its context
// is done; the caller owns that goroutine, and the library those of its requests. A
// [Handler] is the same for a server of the caller's. The library keeps process-wide state
// (metrics and feature gates), which all servers of one process share.
package apiserver
