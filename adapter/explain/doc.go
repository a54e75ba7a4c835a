// Package explain says why a metric has no value.
//
// An [Explainer] follows the chain of a [Question] from the object to its value: the
// object and the pods behind it, the HorizontalPodAutoscalers that ask, the rule, the
// monitors that select the object, their endpoints and targets, the series and their
// samples. The [Explanation] has a [Step] for each [Link], of which the first that is
// broken is the reason. A reason that the evaluation found comes before these, such as a query
// whose sides do not join. Of namespaces other
// than the question's, an Explanation contains only the names of jobs that write into that one,
// and whether any namespace exposes the series of an external metric.
//
// The cpu and memory of pods and nodes that metrics.k8s.io serves have a chain of their own: object, kubelet, container,
// samples, value.
//
// [Explainer.Value] and [Explainer.External] answer requests as package values does, with
// the first broken link as the reason of an absence: the messages of the APIs' 404s.
//
// What it looks at beside package values comes from [Options]: who selects an object
// ([Reach]), and what jobs expose. An Explainer is safe for concurrent use and starts no
// goroutines.
package explain
