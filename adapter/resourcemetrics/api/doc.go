// Package api serves metrics.k8s.io, v1 and v1beta1: NodeMetrics and PodMetrics as REST resources of k8s.io/apiserver, with
// get, list, label and field selectors, and tables for kubectl.
//
// Group makes the API group of a [ResourceMetrics]: a source of values and a Lister of the pods and nodes that exist.
// Selectors select by the labels of pods and nodes. Names and answers are those of metrics-server, whose v1 this adds. A pod or
// node that exists but has no value is missing in lists, and not found with the reason.
package api
