// Package remotewrite sends the samples that a tsdb.DB stores to other engines, with Prometheus's remote write.
//
//   - [Parse] reads entries of Prometheus's remote_write section.
//   - A [Writer] runs one queue for each entry, and [Writer.Apply] changes them.
//
// Upstream's storage/remote does relabeling, batches, shards, retries, authentication and metrics. This package reads the
// write-ahead log and gives the samples to upstream's queues. Upstream's own watcher of the log sends only samples that
// are newer than its start, so a restart loses unsent samples. It also loses samples that the storage removes from the
// log before it has read them. This package loses neither:
//
//   - A file has the position up to which an engine has received all samples. After a restart, reading
//     continues there.
//   - Hard links keep the segments of the log until all queues have sent them. A link takes no disk space
//     while the storage has the segment too.
//
// A [Writer] runs goroutines from Apply until Close. The caller must close it before the database, so that it can send the
// last samples.
//
// Every sample that is stored while its queue is configured is sent, in the order in which it was stored. This holds
// through kill -9, a restart of the engine, and a database that starts empty. After a crash, samples may be sent twice.
// Three kinds of samples are lost, and [Writer.Problems] says so: those that the engine refuses (400, 409, 413, 422);
// those that were unsent for longer than [Options.Retention] or beyond [Options.HeldBytes]; and those in the held log
// when a full disk makes the DB remove it.
package remotewrite
