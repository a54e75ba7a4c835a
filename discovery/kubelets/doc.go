// Package kubelets makes one job that scrapes /metrics/resource of the kubelets of Nodes, from
// which metrics.k8s.io is served.
//
// A [Job] is made from [Options], whose defaults and rules are those of metrics-server 0.9. It
// has a Prometheus scrape configuration, and makes one target group of each Node.
//
// In flow Nodes with their addresses and the kubelet's port; out flow upstream's types. No
// goroutine runs here, and a Job never changes.
package kubelets
