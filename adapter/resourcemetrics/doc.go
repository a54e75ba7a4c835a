// Package resourcemetrics computes the values of metrics.k8s.io, NodeMetrics and PodMetrics, from what kubelets expose at
// /metrics/resource.
//
// A [Batch] collects the samples of one scrape of one kubelet. A [Store] keeps the last two samples of each container and
// node. It answers with the CPU rate between them, by the kubelet's own timestamps, and with the last memory working set.
// [Store.Pod] and [Store.Node] report why a pod or node has no value. Package queried has another [Source].
//
// The rules are those of metrics-server 0.9 (pkg/storage and pkg/scraper/client/resource), except:
//
//   - Each kubelet is stored when it was scraped, not all at once. A failed scrape removes no values: those of a kubelet
//     count until three intervals have passed without a good scrape. metrics-server drops them at the first failure,
//     and then needs two more scrapes.
//   - If the counter of a container ran backwards, its pod has no value. metrics-server leaves out the container, so the
//     pod's sum is too low.
//   - If a container has one sample, and the kubelet reports it again with the same timestamp, there is no value.
//     metrics-server computes a rate since the year 1 if another container of the pod has two samples.
//   - Only the kubelet of a pod's node gives the pod's values. metrics-server takes them from any node.
//   - Impossible values (negative, NaN, too large) are missing. metrics-server converts them.
//   - Swap that the kubelet reports is served as usage "swap".
//   - The timestamp is that of the CPU sample, even if that of the memory sample differs. The creationTimestamp is the
//     same, not the time of the request.
//
// Everything here except a Batch is safe for concurrent use. Nothing starts goroutines.
package resourcemetrics
