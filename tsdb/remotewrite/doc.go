// Package remotewrite ships what a tsdb.DB stores to other engines, by Prometheus's remote write.
//
//   - [Parse] reads entries of Prometheus's remote_write section.
//   - A [Writer] runs one queue for each entry, and [Writer.Apply] changes them.
//
// Relabeling, batches, shards, retries, authentication and metrics are those of upstream's storage/remote. How samples
// come into a queue is this package's: upstream's watcher of the log sends only samples that are newer than its own
// start, so that a restart loses what was not sent, and it loses what the storage removes from the log before it was
// read. Here
//
//   - the position up to which an engine has taken everything is kept in a file (position.go), and reading goes on
//     there (reader.go);
//   - segments of the log stay until all queues have sent them, as hard links, which take no room as long as the
//     storage has them too (heldlog.go).
//
// What is guaranteed: every sample that was stored while its queue was configured is sent, in the order in which it was
// stored, through kill -9, a full restart of the engine, and a database that begins anew. Samples may be sent twice
// after a crash. Lost are, and [Writer.Problems] says so, samples that the engine refuses for what they are (400, 409,
// 413, 422), and those that were held for longer than [Options.Retention] or beyond [Options.HeldBytes].
package remotewrite
