// Package adapter answers the custom and external metrics APIs out of an embedded TSDB.
//
// A [Provider] implements upstream's provider.CustomMetricsProvider and
// ExternalMetricsProvider. It is made of the packages below it, which can be used alone:
// rules (prometheus-adapter's configuration), catalog (which metrics exist), values (a
// request to its values), demand (who reads which series), explain (why there is no value), autoscalers (what HPAs are told),
// resourcemetrics/queried (metrics.k8s.io by resourceRules) and objects (Kubernetes' objects
// and kinds). Package apiserver serves a Provider to the
// HorizontalPodAutoscaler.
//
// An answer is honest or absent. Its timestamp is the last sample's, its window is what has
// been observed of the rule's, and values are rounded to the nearest milli-unit. [Options]
// Source and Objects decide which series count. NaN, infinities and objects that do not
// exist have no value: then the answer is 404 with the reason, which ends up in an HPA's
// conditions.
//
// A Provider is safe for concurrent use. It starts no goroutines: Demand.Run and
// Autoscalers.Run are the caller's. So are the database, the engine and the Lister that it
// reads. A program ends the parts in this order: the API server, so that the last requests are
// answered; Demand.Run, Autoscalers.Run and Discoverer.Run, by their context;
// scrape.Manager.Stop; Provider.Close; engine.Engine.Close; and tsdb.DB.Close. Another order
// leaves no goroutines either, but a part that is closed too early returns errors.
package adapter
