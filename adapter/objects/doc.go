// Package objects reads the Kubernetes objects that metrics are about.
//
// A [Reader] reads them from the caches that a [Lister] gives; it sends no
// request. It lists objects, finds the pods behind a Service or a workload, and
// reports which objects do not exist. Objects belong to their cache: read only.
//
// [Kinds] resolves the names of resources, singular or plural, with or without
// their group, to a [Kind]. Its RESTMapper may ask the API server, at most every
// half minute for a resource that does not exist. [BuiltinMapper] needs none.
//
// Both are safe for concurrent use and start no goroutines.
package objects
