// Package queried computes the values of metrics.k8s.io by the queries of prometheus-adapter's resourceRules.
//
// A [Source] evaluates two queries for the pods of a namespace, CPU and memory, and two for nodes. It evaluates them in the
// embedded database, in an engine behind a URL, or first in the database and then in the engine. It answers as
// prometheus-adapter's pkg/resourceprovider does, except:
//
//   - NaN and infinite values are missing. prometheus-adapter answers 0. Both answer 0 for negative values.
//   - A pod has no value if one of its containers lacks CPU or memory, as in metrics-server. prometheus-adapter answers 0
//     for what is missing, and an HPA scales down because of it.
//   - The timestamp is that of the oldest sample used, not of the request. An engine does not return it, so its values
//     have the time of the evaluation.
//   - A result without the container's label is that of the whole pod, and counts only if there are no results of its
//     containers. prometheus-adapter adds it as another container.
//   - CPU is rounded to nanocores and memory to bytes. prometheus-adapter truncates to thousandths.
//   - Several results for one container or node are no value. prometheus-adapter takes any of them.
//   - If the query of a namespace fails, the answer is an error, unless pods of other namespaces have values.
//
// If kubelets are scraped as a job of their own, the queries read the series of that job as long as no target of a monitor
// exposes the same names. The two sources are queried separately. So no container counts twice, even when such a monitor
// is added.
//
// Everything here is safe for concurrent use. Goroutines end before the method that starts them returns.
package queried
