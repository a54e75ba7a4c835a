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
// Where a Query says where series come from ([Source]), the engine reads a view of them:
//
//   - Series that do not count now are left out: those of targets that are gone, and those that their
//     target does not expose any more. A URL counts once.
//   - The samples of a counter reach to the edges of a rate's window, on the line through those that
//     there are, where they were observed in part of it only.
//   - The parts of a sum are read over the same time, where targets have come or gone.
//
// Each is decided for one series, or the series of one sum, before the engine sees them; the engine
// evaluates once. Where none of it applies, the result is PromQL's, bit for bit.
//
// A DB belongs to the caller of Open. It is closed last: after those who append to it and those who read it. Close ends
// what still reads, waits for it, and makes all else return [ErrClosed]. The storage runs goroutines of its own until then.
//
// Caveats:
//
//   - Open starts with damaged data, too. A process that was killed costs at most the record that it was writing.
//     Any other damage makes Open set all samples aside and start without them: they are worth minutes.
//     Open fails on a directory that it cannot use: one that a running process has locked, or that cannot be
//     written. On a full disk it removes samples, the oldest first; if others fill it, there is no storage until there is room.
//   - Samples must arrive in order within each series, and not more than half a block (15 minutes by
//     default) behind the newest sample of the database.
//   - Times are time.Time and time.Duration at the border; the milliseconds of the TSDB stay inside.
//     The exceptions are the upstream interfaces, which speak in milliseconds themselves.
package tsdb
