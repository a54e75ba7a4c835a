// Command figures prints what promlet's discovery costs beside Prometheus's on the
// same objects: memory held per pod, CPU time for one pod's change, and the time
// from an EndpointSlice event to the first scrape.
//
// The process is the API server and the targets: a small Kubernetes API on loopback
// that lists and watches, in protobuf where clients ask for it, and one HTTP server
// that every target's address leads to. Each side runs in a process of its own, this
// program started again, and is told on its standard input what to measure; it ends
// when that is closed. So neither side's figures hold anything of the other, or of
// the API server.
//
// promlet's side is discovery.Cluster, discovery.Discoverer and scrape.Manager.
// Prometheus's is discovery.Manager with discovery/kubernetes and scrape.Manager, on
// the configuration that prometheus-operator's ConfigGenerator makes of the same
// ServiceMonitors. Both append to nothing.
package main
