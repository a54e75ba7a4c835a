// Package sink has the types by which the samples of a job leave a scrape other than through
// the storage.
//
// A [Sink] is given to scrape.Options.Sinks under the name of a job. In flow the names that it
// wants; out flow the [Sample]s of each scrape of a target of that job that succeeded, all at
// once, and the error of each that failed. What nobody wants is skipped before it is parsed, as
// it is for the storage. The limits on bodies, samples and labels are those of the job.
//
// The series of a job with a sink are not in the catalog, and are not stored unless
// [Sink.Stored] says so: they are for the sink, and must not be added to series of the same
// names that other jobs have. The synthetic series, such as up, are stored as ever.
//
// No goroutine runs here.
package sink

import (
	"time"

	"github.com/prometheus/prometheus/model/labels"
)

// Sink receives the samples of the targets of one job. Nil functions are not called; a nil
// Wanted wants nothing, and a nil Stored stores nothing.
//
// Scraped, Failed and Ended are called in the goroutine of the scrape, which goes on when they
// return. Those of one target are called one after the other, in the order of its scrapes;
// those of different targets at once. After Manager.Stop none is called. target holds the
// labels that the target's series have, without a name: job, instance and those that discovery
// gives.
type Sink struct {
	// Wanted reports whether the samples of a name are handed over. The name is the one in the
	// body, before metric relabelling. Wanted is called from many goroutines at once, and must
	// always answer the same.
	Wanted func(name string) bool
	// Stored reports whether the series of a name, after metric relabelling, are stored as
	// those of other jobs are: all of them, or on demand if somebody reads them. It is called
	// from many goroutines at once, and its answers are remembered until the next
	// Manager.SetDemand.
	Stored func(name string) bool

	// Scraped gets the samples of a scrape that succeeded, in the order of the body. at is the
	// time of the scrape. samples is empty if the body had none that are wanted. It is the
	// callee's to keep.
	Scraped func(target labels.Labels, at time.Time, samples []Sample)
	// Failed gets the error of a scrape of which nothing is handed over. The error wraps what
	// caused it, unless its text was too long.
	Failed func(target labels.Labels, at time.Time, err error)
	// Ended is called when there is no such target any more. It is not called for a target
	// that goes on at another address or with other settings, nor by Manager.Stop and
	// Manager.Restart.
	Ended func(target labels.Labels)
}

// Sample is one float sample. Native histograms are not handed over, nor are samples that are
// further in the future than the storage would take.
type Sample struct {
	// Labels are those in the body, with the name: the target's own labels are not among them.
	Labels labels.Labels
	Value  float64
	Time   time.Time
	// Explicit: the body has the time. Otherwise it is that of the scrape.
	Explicit bool
}
