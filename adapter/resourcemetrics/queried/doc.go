// Package queried makes the values of metrics.k8s.io from the queries of prometheus-adapter's resourceRules.
//
// A [Source] evaluates two queries for the pods of a namespace, CPU and memory, and two for all nodes: in the embedded
// database, in an engine behind a URL, or first in the one and then in the other. It answers as prometheus-adapter's
// pkg/resourceprovider, except:
//
//   - NaN and infinite values are missing. prometheus-adapter answers 0, as both do for negative ones.
//   - A pod has no value if one of its containers lacks CPU or memory, as in metrics-server. prometheus-adapter answers 0
//     for what is missing, and an HPA scales down because of it.
//   - The timestamp is that of the oldest sample used, not of the request. An engine does not return it: then it is the
//     time of the evaluation.
//   - Results without the container's label are those of the whole pod, and count where there are none of its
//     containers. prometheus-adapter adds them as another container.
//   - CPU is rounded to nanocores and memory to bytes. prometheus-adapter cuts to thousandths.
//   - Several results for one container or node are refused: prometheus-adapter takes any of them.
//   - A namespace whose query fails is an error, unless pods of other namespaces have values.
//
// Where kubelets are scraped as a job of their own, their series answer for resourceRules as long as no target of a monitor
// exposes the same names. They are queried by themselves: no container counts twice, also when such a monitor comes.
//
// Everything here is safe for concurrent use. Goroutines end before the method that starts them returns.
package queried
