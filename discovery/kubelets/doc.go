// Package kubelets makes one job of the kubelets of Nodes: their /metrics/resource, from which
// metrics.k8s.io is served.
//
// A [Job] is made of [Options], whose defaults and rules are those of metrics-server (0.9). It
// has a Prometheus scrape configuration, and makes one target group of each Node.
//
// In flow Nodes, which need their addresses and the port of the kubelet; out flow upstream's
// types. No goroutine runs here, and a Job never changes.
package kubelets
