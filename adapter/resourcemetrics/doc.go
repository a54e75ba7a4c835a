// Package resourcemetrics makes the values of metrics.k8s.io, NodeMetrics and PodMetrics, from what kubelets serve at
// /metrics/resource.
//
// A [Batch] collects the samples of one scrape of one kubelet. A [Store] keeps each kubelet's last two and answers from
// them: the CPU rate between two samples of the kubelet's own timestamps, and the last memory working set.
// [Store.Pod] and [Store.Node] report why a pod or node has no value. Package queried has the other [Source].
//
// The rules are those of metrics-server 0.9 (pkg/storage and pkg/scraper/client/resource), except:
//
//   - Each kubelet is stored when it was scraped, not all in one tick. A failed scrape takes nothing away by itself:
//     a kubelet's values count until three intervals have passed without a good scrape (metrics-server drops them with
//     the first failure, and needs two more scrapes).
//   - A pod with a container whose counter ran backwards has no value. metrics-server leaves out the container, and the
//     pod's sum is too low.
//   - A container with one sample that is reported again with the same timestamp has no value. metrics-server takes a
//     rate since the year 1 if another container of the pod has two samples.
//   - The values of a pod are those that the kubelet of its node reports. metrics-server takes any node's.
//   - Values that cannot be (negative, NaN, too large) are missing. metrics-server converts them.
//   - Swap is served, as usage "swap", where the kubelet reports it.
//   - The timestamp is that of the CPU sample where that of the memory sample differs, and a value's creationTimestamp
//     is its timestamp instead of the time of the request.
//
// Everything here is safe for concurrent use, except a Batch, and nothing starts goroutines.
package resourcemetrics
