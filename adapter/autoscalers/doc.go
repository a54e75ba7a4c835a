// Package autoscalers shows what HorizontalPodAutoscalers are told.
//
// [Autoscalers.List] returns each HPA as an [Autoscaler]: its target, bounds and replicas,
// and for each [Metric] the value that it has now beside the target, or the reason why it
// has none, and how many replicas the controller would ask for (package replicas).
//
// The values are those that the APIs answer with; looking at them makes no series wanted.
// Pods are found by their owners. Where they are not known, as those of some custom
// workloads, the HPA's own status tells.
//
// [Autoscalers.Run] looks twice a minute and keeps the values and replicas of an hour, the
// History of a Metric and of an Autoscaler. It is a record and answers no request.
// [Autoscalers.Last] returns what it saw last. The caller owns Run's goroutine: it ends with
// its context.
package autoscalers
