// Package tsdb keeps the last hours of samples of one edge node and answers PromQL over them.
//
// It is the Prometheus TSDB and the PromQL engine, sized for a small machine:
//
//   - [Options] and [Open] give a [DB]. A DB is a storage.AppendableV2 for whoever scrapes and a
//     storage.Queryable (with [DB.Engine]) for whoever asks in PromQL.
//   - [DB.Instant] evaluates a [Query] at one time and says, for every result, when the last
//     sample behind it was taken and how much of its window has been observed. PromQL itself gives
//     the time of the evaluation instead.
//   - [DB.Damage] returns why samples were set aside: by [Open], those of an earlier start, or by [DB.Renew].
//   - [DB.Tend] keeps the disk from filling up, and finds out when the database has to begin anew: the clock was set, or
//     the disk stays full. [DB.Renew] does that.
//
// If a Query says where series come from ([Source]), the engine reads a view of them:
//
//   - Series that do not count now are left out: those of targets that are gone, and those that their
//     target does not expose any more. A URL counts once.
//   - If a counter was observed in only a part of a rate's window, its samples are extended to the edges
//     of the window, on the line through them.
//   - If targets have come or gone, the parts of a sum are read over the same time.
//
// The view is decided for each series, or for the series of each sum, before the engine reads them. The engine
// evaluates once. If none of this applies, the result is that of PromQL, bit for bit.
//
// A DB belongs to the caller of Open. It is closed last: after everything that appends to it or reads it. Close ends
// running queries and waits for them. After it all methods return [ErrClosed]. The storage runs goroutines of its own until
// then.
//
// Caveats:
//
//   - Open starts with damaged data, too. A process that was killed costs at most the record that it was writing.
//     Any other damage makes Open set all samples aside and start without them: they can be collected again in minutes.
//     Open fails on a directory that it cannot use: one that a running process has locked, or that cannot be
//     written. On a full disk it removes samples, the oldest first; if others fill it, there is no storage until there is room.
//   - Samples must arrive in order within each series, and not more than half a block (15 minutes by
//     default) behind the newest sample of the database.
//   - Times are time.Time and time.Duration at the border; the milliseconds of the TSDB stay inside.
//     The exceptions are the upstream interfaces, which speak in milliseconds themselves.
package tsdb
