// Package objects holds what is known of a cluster, and what has changed of it.
//
// A [Store] has one cache.Indexer for each kind of object. A source (the packages
// cluster and manifests, or a program's own) fills the indexers; [Get], [List] and
// [Store.Lister] read them. [Changes] gathers the keys of the objects written since
// they were last taken, so that a reader computes anew only what depends on them.
// [References] are the Secrets and ConfigMaps that monitors name: readers say which
// they want, and a source that reads objects one by one follows that.
//
// In flow objects from sources, stripped by [Trim] of what nobody reads; out flow the
// same objects, shared and read only.
//
// Nothing here starts a goroutine. All methods may be called from any.
package objects
