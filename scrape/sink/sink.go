// Package sink has the types that hand the samples of a job to a function in place of the
// storage.
//
// scrape.Options.Sinks gives each job by its name a [Sink]. For each successful scrape of a
// target, the sink receives all [Sample]s whose names it wants at once; for each failed scrape,
// the error. Other lines are skipped before they are parsed, as for the storage. The job's limits
// on bodies, samples and labels apply.
//
// The series of a job with a sink are not in the catalog. They are stored only if [Sink.Stored]
// returns true, because other jobs may have series of the same names, and the two must not be
// added up. The synthetic series, such as up, are listed and stored as those of other jobs.
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
// return. The calls for one target come one after the other, in the order of its scrapes. Those
// for different targets may come at the same time. None comes after Manager.Stop. target has the
// labels of the target's series without the name: job, instance and those that discovery adds.
type Sink struct {
	// Wanted reports whether the sink receives the samples of a name. The name is the one in the
	// body, before metric relabelling. Wanted is called from many goroutines at once, and must
	// always return the same for a name.
	Wanted func(name string) bool
	// Stored reports whether the series of a name, after metric relabelling, are stored like
	// those of other jobs: all of them, or on demand only those that somebody reads. It is called
	// from many goroutines at once, and its results are cached until the next
	// Manager.SetDemand.
	Stored func(name string) bool

	// Scraped receives the samples of a successful scrape, in the order of the body. at is the
	// time of the scrape. samples is empty if the body has no wanted ones. Scraped may keep and
	// change samples.
	Scraped func(target labels.Labels, at time.Time, samples []Sample)
	// Failed receives the error of a failed scrape, whose samples are all dropped. The error
	// wraps its cause, unless its text was too long.
	Failed func(target labels.Labels, at time.Time, err error)
	// Ended is called when the target is gone. It is not called if only the target's address or
	// settings change, nor by Manager.Stop and Manager.Restart.
	Ended func(target labels.Labels)
}

// Sample is one float sample. A sink receives no native histograms, and no samples that are
// further in the future than the storage accepts.
type Sample struct {
	// Labels are the labels in the body, with the name, and without those of the target.
	Labels labels.Labels
	Value  float64
	Time   time.Time
	// Explicit: Time is from the body. Otherwise it is the time of the scrape.
	Explicit bool
}
