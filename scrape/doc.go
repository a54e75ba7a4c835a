// Package scrape scrapes the targets of a set of jobs, as Prometheus does, and appends
// the samples to a storage.AppendableV2.
//
//   - [Manager] keeps one scrape loop running for every target. [Manager.Apply] takes
//     the jobs (Prometheus' own config.ScrapeConfig) and their target groups.
//   - [Options] say where samples go and what a target may cost.
//   - [Demand] says which series somebody reads. With [Options.OnDemand] only these are
//     stored; [Manager.Catalog] lists the names of all.
//   - [Options.Sinks] hand the samples of a job to functions in place of the storage.
//   - [Manager.Source] returns the target that a stored series comes from, and since when
//     the series has been collected.
//
// The Manager owns all goroutines: a loop has one while it scrapes, and only a timer in
// between. [Manager.Stop] ends them and waits. All mutable state is in the Manager, so any
// number of them may live in one process.
//
// Targets, their labels and their status come from prometheus/scrape (PopulateLabels and
// Target), and bodies are parsed by model/textparse, so what is stored is what Prometheus
// v0.315 would store. The loop, the requests, the caches and the limits are this
// package's own. The deliberate differences:
//
//   - The stale markers of a removed target, or job, are written when Apply removes it.
//     Prometheus waits two intervals, because another server might take the target over.
//     If the same Apply adds a target with the same job and public labels (settings have
//     changed, or a pod has a new address), its first scrape writes the markers of the
//     series that are gone.
//   - A target whose synthetic series the storage refuses is down, with the reason.
//   - A new target is scraped at once, again after [QuickGap], and then at its scheduled
//     times, so that there is a rate before two intervals have passed. When one in 20
//     targets of a job comes or goes, the load of the others changes: they are scraped at
//     once as well, if anybody reads them.
//   - A scrape in flight when its loop is stopped is cut short and leaves nothing behind.
//   - The timeout covers the parsing and appending as well as the request.
//   - Limits have defaults (see [Options]), and bodies that are known to take Prometheus
//     down are refused.
//   - What scrapes under way, and the names that targets expose, take in memory is bounded
//     and shared between owners (see [Options]). A header has at most 64 KiB.
//   - Targets are scraped over HTTP/1.1, whatever enable_http2 says.
//   - Unix socket targets, OpenMetrics 2.0, zstd and synthesized start timestamps are not
//     supported.
//
// On demand, lines of text bodies that nobody reads are skipped before they are parsed, and
// synthetic series that nobody reads are not stored. What is stored is the same, except that:
//
//   - Parse errors in skipped lines are not reported, and limits on samples and labels
//     count what is stored.
//   - Where metric relabelling drops some series of a name because of their labels,
//     scrape_samples_post_metric_relabeling counts them if nobody reads the name.
//   - scrape_series_added counts by how many series a skipped name has grown.
//
// Two things are as in Prometheus and may surprise: an empty body of a 200 answer is a
// success; and a scrape that fails half-way marks as stale only the series that it had
// not met before it failed. The others follow with the next scrape that does not meet
// them.
package scrape
