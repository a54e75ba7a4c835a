// Package embedded is promlet as a whole, for programs that embed it.
//
// [New] takes a discovery.Source (package discovery/cluster or discovery/manifests) and a
// data directory, and wires discovery, scrape, tsdb and adapter together: on-demand
// ingestion, true intervals, explanations, readiness, series limits and warnings are those
// of the promlet command, which uses this package too. [Promlet.Run] runs it. Package
// adapter/apiserver serves [Promlet.Provider] to the HorizontalPodAutoscaler, and package
// tsdb/httpapi serves [Promlet.DB] to clients of Prometheus; a program links only what it
// uses.
//
// # Lifetime
//
// New opens the data directory. Nothing is discovered or scraped until Run, which returns when
// all that it has started has ended. Close closes the data directory and unregisters the
// metrics. Call Close always, after Run or in its place:
//
//	p, err := embedded.New(options)
//	if err != nil {
//		return err
//	}
//	defer p.Close()
//	return p.Run(ctx, server.Run)
//
// When ctx is done, the server ends first, so that the last requests have their samples. Then
// everything else ends, and Run returns. Between Run and Close the samples can still be read.
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
// Nothing is shared but the process's own limits.
package embedded
