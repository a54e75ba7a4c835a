// Package targets makes targets of objects.
//
// A [Selection] says which Services or Pods a job is about, which of their ports, and
// which labels its targets get. [Selection.SliceGroup] makes the targets of one
// EndpointSlice and [Selection.PodGroup] those of one pod. [Annotated] is what the
// prometheus.io annotations of a Service or Pod ask for, and makes targets likewise.
//
// In flow objects from an objects.Store; out flow targetgroup.Groups, one for each
// EndpointSlice or pod. The targets are those that Prometheus would be left with after
// expanding every endpoint and applying the operator's relabelings, with the same
// labels; __meta_kubernetes_* labels are added only where a monitor's own relabelings
// can read them.
//
// All functions are pure: they change nothing they get, and no goroutine runs here.
package targets
