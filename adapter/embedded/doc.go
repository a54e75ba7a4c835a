// Package embedded has all of promlet, for programs that embed it.
//
// [New] takes a discovery.Source (package discovery/cluster or discovery/manifests) and a
// data directory, and wires discovery, scrape, tsdb and adapter together. The promlet command
// uses this package too, so on-demand ingestion, true intervals, explanations, readiness,
// series limits and warnings are the same. [Promlet.Run] runs it. Package adapter/apiserver
// serves [Promlet.Provider] to the HorizontalPodAutoscaler, and package tsdb/httpapi serves
// [Promlet.DB] to clients of Prometheus. A program links only what it uses.
//
// # Lifetime
//
// New opens the data directory. Run discovers and scrapes, and returns when all goroutines that
// it started have ended. Close closes the data directory and unregisters the metrics. Always
// call Close, also without Run:
//
//	p, err := embedded.New(options)
//	if err != nil {
//		return err
//	}
//	defer p.Close()
//	return p.Run(ctx, server.Run)
//
// When ctx is done, the server ends first, so that the last requests are answered from fresh
// samples. Then everything else ends, and Run returns. Samples can be read until Close.
//
// # Reading
//
// A value in Go is that of the API: Promlet.Provider.GetMetricByName. The first read of a
// metric starts the collection of its series, and its error says so; ask again. Why there is
// no value is said step by step by
//
//	p.Provider.Explainer.Explain(ctx, explain.Question{
//		Object: schema.GroupResource{Resource: "services"}, Namespace: "default", Name: "worker", Metric: "queue_depth",
//	})
//
// and what is wrong as a whole by [Promlet.Problems] and [Promlet.WhyNotReady]. Queries of
// [Promlet.DB] start no collection. Options.Rules.Keep names series that are always stored;
// for package tsdb/httpapi, set Selected to p.Provider.Demand.Selected.
//
// The window of the default rules is that of rules.Defaults(window), as Options.Rules.Custom.
//
// A process may have several Promlets, each with its own data directory and Registerer.
// They share only the limits of the process.
package embedded
