// Package embedded is promlet as a whole, for programs that embed it.
//
// [New] takes a discovery.Source (package discovery/cluster or discovery/manifests) and a
// data directory, and wires discovery, scrape, tsdb and adapter together: on-demand
// ingestion, true intervals, explanations, readiness, series limits and warnings are those
// of the promlet command, which is made of this package too. [Promlet.Run] runs it. Package
// adapter/apiserver serves [Promlet.Provider] to the HorizontalPodAutoscaler, and package
// tsdb/httpapi serves [Promlet.DB] to clients of Prometheus; a program links only what it
// uses.
//
// # Lifetime
//
// New opens the data directory and starts no goroutines. Run starts them, and returns when
// all have ended. Close gives back the rest: the data directory and the metrics. Call Close
// always, after Run or in its place:
//
//	p, err := embedded.New(options)
//	if err != nil {
//		return err
//	}
//	defer p.Close()
//	return p.Run(ctx, server.Run)
//
// When ctx is done, the server ends first, so that the last requests have their samples,
// then everything that promlet runs, and then Run returns. Between Run and Close the samples
// can still be read.
//
// A process may have several Promlets, each with its own data directory and Registerer.
package embedded
