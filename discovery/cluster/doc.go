// Package cluster reads objects from a Kubernetes API server.
//
// A [Source] keeps an objects.Store current through shared informers, one for each kind:
// metadata of Namespaces and Nodes; Pods, Services, EndpointSlices and
// HorizontalPodAutoscalers; ServiceMonitors and PodMonitors while their CRDs are
// installed. The Secrets and ConfigMaps that monitors refer to it watches one by one,
// and no others. [Clients] are the clients it uses.
//
// In flow watches of the API server, and from the Store which Secrets and ConfigMaps are
// wanted; out flow trimmed objects, a call of changed after each that may matter to
// targets, and [Source.Problems].
//
// [Source.Run] owns all goroutines: it cancels them and waits for them before it
// returns.
package cluster
