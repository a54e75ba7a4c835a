package scrape

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	config_util "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"

	"github.com/prometheus/prometheus/storage"

	"github.com/promlet/promlet/scrape/seriesroom"
	"github.com/promlet/promlet/scrape/sink"
)

// The limits of jobs for which neither the job nor Options sets one.
const (
	// DefaultBodySizeLimit has room for some 200,000 series of usual length, five
	// times what a kube-apiserver of a small cluster serves.
	DefaultBodySizeLimit = 32 << 20
	// DefaultSampleLimit bounds what one target can add to the head block to
	// some 120 MB. The largest bodies commonly scraped on a small cluster
	// (k3s, where every port serves the metrics of the whole control plane)
	// hold about 40,000 samples.
	DefaultSampleLimit = 100_000
	// DefaultLabelLimit is twice what kube_pod_labels has been seen to need.
	DefaultLabelLimit = 256
	// DefaultLabelNameLengthLimit is far above any name met in practice.
	DefaultLabelNameLengthLimit = 1 << 10
	// DefaultLabelValueLengthLimit leaves room for whole SQL statements.
	DefaultLabelValueLengthLimit = 16 << 10
	// DefaultBucketLimit is six times what client_golang recommends for a
	// native histogram.
	DefaultBucketLimit = 1000
	// DefaultScrapeMemory lets one owner hold 51 MiB, when nobody else holds anything: a
	// body of DefaultBodySizeLimit while it grows.
	DefaultScrapeMemory = 120 << 20
	// DefaultNameMemory has room for some 45,000 names.
	DefaultNameMemory = 48 << 20
)

// DefaultUserAgent is sent when Options.UserAgent is empty.
const DefaultUserAgent = "promlet"

// ErrStopped is returned by Manager.Apply after Manager.Stop.
var ErrStopped = errors.New("scrape manager is stopped")

// Options say where samples go and what a target may cost.
//
// The limits apply to jobs that set none of their own. For each of them 0 means the
// default constant of the same name, and a negative value means no limit.
type Options struct {
	// Appendable receives the samples. Required. Appenders are used from many
	// goroutines at once, each from one only.
	Appendable storage.AppendableV2

	// Logger receives changes of state: a target begins to fail, fails for another
	// reason, or works again. Nil is silent.
	Logger *slog.Logger

	// Registerer receives the Manager's own metrics, promlet_scrape_*, until Stop. Nil:
	// none are exported. Two Managers need two registerers.
	Registerer prometheus.Registerer

	// Now is the clock that samples are stamped by; nil is time.Now.
	Now func() time.Time

	// UserAgent is the User-Agent header of the requests. Empty is
	// DefaultUserAgent; the binary sets promlet/<version>.
	UserAgent string

	// DialContext makes the connections to targets, their proxies and token endpoints. Nil
	// is that of a net.Dialer.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)

	// HTTPClientOptions are passed on when a job's HTTP client is made. A dial function
	// there replaces DialContext, but the headers of answers are not counted then.
	HTTPClientOptions []config_util.HTTPClientOption

	// OnDemand stores only the series, the synthetic ones included, that SetDemand wants; and
	// up beside samples with timestamps of their own, so that the storage knows the time. The
	// others are counted without being parsed; the package's documentation says which
	// errors this hides. False: everything is stored.
	OnDemand bool

	// Sinks receive the samples of jobs, by the names of the jobs. The series of such a job are
	// not in the Catalog, and are stored only if sink.Sink.Stored returns true. The map must not
	// change.
	Sinks map[string]sink.Sink

	// Namespace returns the namespace that the series of a job should have in the label
	// namespace, "" where they may have any; Foreign counts those that have another. enforced
	// says that the last rules of the job, of both kinds of relabelling, set that label. Nil:
	// series may have any.
	Namespace func(job string) (namespace string, enforced bool)

	// Compression asks targets for compressed bodies, unless a job's enable_compression is
	// false. It saves 90 % of the bytes on the network, but multiplies the CPU time that a
	// target takes to answer. On demand, decompression takes more CPU time than all the rest of
	// a scrape. False: bodies are uncompressed, whatever enable_compression says.
	Compression bool

	// SeriesRoom limits how many series are stored in all; its Storage counts those of
	// Appendable. Near the limit new series are refused, but their scrapes do not fail:
	// above four fifths of it those that nobody reads, above nine tenths those that are
	// not vital, at the limit all. Each owner has a share of it, and gives back what it has
	// borrowed: the newest series of its newest targets end. Nil: there is no limit.
	SeriesRoom *seriesroom.Room
	// Owner returns who owns the series of a job's targets in a group that has these
	// labels, and is charged for the memory that their scrapes take; for the memory of a
	// job's names there are no labels. Nil: all series have the same owner, and each job
	// is charged for its memory.
	Owner func(job string, group model.LabelSet) string

	// HistoryFile keeps over restarts when the targets of each job came and went; it is made if
	// missing. If the targets are the same after a restart and had not changed for a while,
	// [Target.Begun] and [Target.Changes] go on. The caller removes the file if the samples of the
	// earlier process are lost. Empty: nothing is kept.
	HistoryFile string
	// LastSample is the time of the newest sample that an earlier process has stored. Targets that
	// were not scraped for two intervals since then count as new. Zero: all do.
	LastSample time.Time

	// MaxSampleAge is how old the timestamps in bodies may be: older samples are out of bounds.
	// A storage refuses them by itself only once it has newer samples. 0: any age.
	MaxSampleAge time.Duration

	// ParseStartTimestamps stores the start timestamps of OpenMetrics and protobuf
	// bodies instead of the _created series of OpenMetrics, as the feature flags of
	// Prometheus do. It is false by default, as there: finding them in OpenMetrics text
	// takes a second pass, and time that grows with the square of a family's size.
	ParseStartTimestamps bool

	// BodySizeLimit is the size in bytes, after decompression, that a body must stay
	// below.
	BodySizeLimit int64
	// SampleLimit is the number of samples stored per scrape, after metric relabelling.
	SampleLimit int
	// LabelLimit is the number of labels per series, after metric relabelling.
	LabelLimit int
	// LabelNameLengthLimit is in bytes.
	LabelNameLengthLimit int
	// LabelValueLengthLimit is in bytes; the metric name counts as a value.
	LabelValueLengthLimit int
	// BucketLimit is the number of buckets per native histogram. Exponential
	// histograms above it lose resolution until they fit, others fail the scrape.
	BucketLimit int

	// ScrapeMemory is how many bytes all scrapes under way may take together: headers,
	// lines and bodies, as far as they have come, and what reads them. It is shared by
	// owners (see Owner): each gets no more than it leaves to the others, and a part is
	// for scrapes that need little. A scrape whose last body was large waits for memory
	// before it reads the next one, at most until its timeout. A scrape whose body is
	// larger than the last one fails if no memory is left. 0 means DefaultScrapeMemory,
	// negative means no limit.
	ScrapeMemory int64
	// NameMemory is how many bytes the names and metadata that targets expose may take
	// together, 1 KiB a name and its texts. It is shared as ScrapeMemory is. Names that
	// find no room are not in the Catalog; their series are stored if they are wanted. 0
	// means DefaultNameMemory, negative means no limit.
	NameMemory int64
}

// withDefaults replaces 0 by the default and negative values by 0, which means "no limit"
// in Prometheus' configuration.
func (o Options) withDefaults() Options {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.UserAgent == "" {
		o.UserAgent = DefaultUserAgent
	}
	resolve(&o.BodySizeLimit, DefaultBodySizeLimit)
	resolve(&o.SampleLimit, DefaultSampleLimit)
	resolve(&o.LabelLimit, DefaultLabelLimit)
	resolve(&o.LabelNameLengthLimit, DefaultLabelNameLengthLimit)
	resolve(&o.LabelValueLengthLimit, DefaultLabelValueLengthLimit)
	resolve(&o.BucketLimit, DefaultBucketLimit)
	resolve(&o.ScrapeMemory, DefaultScrapeMemory)
	resolve(&o.NameMemory, DefaultNameMemory)
	return o
}

func resolve[T int | int64](v *T, def T) {
	switch {
	case *v == 0:
		*v = def
	case *v < 0:
		*v = 0
	}
}
