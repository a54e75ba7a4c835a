// Package manifests reads objects from a directory of Kubernetes manifests.
//
// A [Source] reads the YAML and JSON files of a directory and those below it, and follows
// changes. Files are decoded strictly; errors name the file and line. Each file counts
// for what it held when it was last free of errors. What an API server would fill in is
// filled in, so that a Service, an EndpointSlice and a monitor in a few lines make
// targets.
//
// In flow files; out flow trimmed objects in an objects.Store, a call of changed after
// each change, and [Source.Problems].
//
// A [Text] does the same for objects in one string instead of files.
//
// Nothing here starts a goroutine but the file watcher, which [Source.Run] closes before
// it returns.
package manifests
