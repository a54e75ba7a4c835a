// Package autoscalers shows what HorizontalPodAutoscalers are told.
//
// [Autoscalers.List] returns each HPA as an [Autoscaler]: its target, bounds and replicas,
// and for each [Metric] the value that it has now beside the target, or the reason why it
// has none, and how many replicas the controller would ask for (package replicas).
//
// Resource metrics have values if promlet serves metrics.k8s.io. All values are those that the
// APIs answer with. Looking at them starts no collection of series. Pods are found by their
// owners. If they cannot be found, as for some custom workloads, the value is the one in the
// HPA's status.
//
// [Autoscalers.Run] evaluates all HPAs twice a minute. It records the values and replicas of
// the last hour as the History of each Metric and Autoscaler. No request is answered from
// this record. [Autoscalers.Last] returns the HPAs as Run last saw them. The caller owns Run's
// goroutine, which ends with its context.
package autoscalers
