// Package api serves metrics.k8s.io, v1 and v1beta1: NodeMetrics and PodMetrics as REST resources of k8s.io/apiserver, with
// get, list, label and field selectors, and tables for kubectl.
//
// [ResourceMetrics.Group] makes the API group from a source of values and a Lister of the pods and nodes that exist.
// Selectors match the labels of pods and nodes. Names and answers are those of metrics-server, which serves no v1. If a pod
// or node exists but has no value, a list leaves it out, and a get returns NotFound with the reason.
package api
