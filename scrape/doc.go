// Package scrape keeps one scrape loop running for every target of a set of
// jobs and appends what it reads to a storage.AppendableV2.
//
// A [Manager] is the whole interface: [Manager.Apply] takes the jobs (as
// Prometheus' own config.ScrapeConfig) and their target groups and makes the
// running loops match; [Manager.TargetsActive] gives the targets with their
// health for status pages; [Manager.Catalog] gives the metric names that they
// expose; [Manager.Source] gives the target that a stored series comes from, and since
// when the series has been collected; [Manager.Stop] ends everything.
//
// With [Options.OnDemand] only those series are stored that [Manager.SetDemand]
// wants. In text bodies the lines of the others are passed over before they are
// parsed, by the name they begin with (see filter.go): they cost a look at their
// bytes and no memory. What is stored is exactly what would be stored otherwise,
// and the synthetic series stay true to the whole body, with these exceptions:
//
//   - What is wrong with a line that is passed over stays unnoticed, and limits on
//     samples and labels count what is stored.
//   - Where metric relabelling drops some series of a name because of their labels,
//     scrape_samples_post_metric_relabeling counts those of names that nobody reads
//     as if it did not.
//   - scrape_series_added counts of such names by how many series they have gained.
//
// The loop, the HTTP side, the caches and the limits are this package's own.
// Targets, their labels and their status come from prometheus/scrape
// (PopulateLabels and Target), and bodies are read by model/textparse, so what
// is stored is what Prometheus v0.315 would store. The deliberate differences:
//
//   - Stale markers of a target that goes away are written when Apply removes
//     it. Prometheus waits two intervals, for another server might take the
//     target over; here there is no other server. If in the same Apply another
//     target with the same job and public labels appears (settings changed, or
//     a pod came back under a new address), no markers are written: the new
//     loop takes over, and its first scrape marks what is no longer there. The
//     targets of a job that goes away are marked as well.
//   - A target whose synthetic series the storage refuses is down, with the reason.
//   - A new target is scraped at once, again a few seconds later, and then at its
//     turns: so there is a rate after [QuickGap], not after two intervals. So are the
//     other targets of its job when at least one in 20 of them comes or goes, if
//     anybody reads them: their load is another from then on.
//   - A scrape in flight when its loop is stopped is cut short and leaves
//     nothing behind.
//   - The timeout covers the parsing and appending as well as the request.
//   - Limits have defaults (see [Options]), for what a pod serves must never
//     take the process down. Bodies that are known to do so in Prometheus
//     (see guard.go) are refused.
//   - Unix socket targets, OpenMetrics 2.0, zstd and synthesized start
//     timestamps are not supported.
//
// Two things are as in Prometheus and may surprise: an empty body of a 200 answer
// is a success, and a scrape that fails half-way marks as stale only the series
// that it had not met before it failed; the others follow with the next scrape
// that does not meet them.
//
// The mutable state is all in the Manager: any number of them may live in one
// process.
package scrape
