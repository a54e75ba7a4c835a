package tsdb

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	promtsdb "github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/compression"

	"github.com/promlet/promlet/tsdb/querycost"
)

// The defaults of Options. Those of Prometheus suit a server with millions of series; these suit tens
// of thousands of series on a machine that has other work to do.
const (
	// DefaultRetention covers every window an autoscaling rule uses (minutes) with room to look back
	// at what happened an hour ago, and keeps the disk to tens of megabytes.
	DefaultRetention = 2 * time.Hour

	// DefaultRetentionBytes is several times what 100,000 series take, and fits twice, for what was set aside, into the
	// emptyDir of 1 GiB that deploy/ gives promlet.
	DefaultRetentionBytes = 400 << 20

	// DefaultBlockDuration bounds how long the head holds samples in memory: one and a half blocks, so
	// 45 minutes instead of the three hours of Prometheus. A series that ended (pods come and go)
	// leaves memory in that time too. It is not shorter because samples older than half a block
	// behind the newest are refused, and slow exporters stamp theirs minutes late; and because a 15 s
	// scrape fills one chunk of 120 samples in exactly this time.
	DefaultBlockDuration = 30 * time.Minute

	// DefaultStripeSize is the number of locked hash maps that series are spread over. Each costs some
	// 220 bytes up front, used or not: 16,384 of them, as in Prometheus, are 3.5 MB; these are 0.2 MB and
	// still hold only ten series each at ten thousand.
	DefaultStripeSize = 1 << 10

	// DefaultChunkWriteBufferSize is the smallest buffer that upstream accepts, in bytes. Full chunks
	// of the head collect here before they are written and mapped; a chunk is a few hundred bytes, so
	// 64 KiB is a batch of a hundred and more. Prometheus takes 4 MiB.
	DefaultChunkWriteBufferSize = chunks.MinWriteBufferSize

	// DefaultWALSegmentSize in bytes lets the storage drop old log in small steps. One scrape of ten
	// thousand samples is some 150 KB of log. Prometheus takes 128 MiB.
	DefaultWALSegmentSize = 4 << 20

	// DefaultBlockSegmentSize in bytes is reserved on the disk, whole, each time a block is written.
	// The 512 MiB of Prometheus would fail, or evict the pod, on a small emptyDir.
	DefaultBlockSegmentSize = 16 << 20

	// DefaultMaxSamples bounds the memory of one query.
	DefaultMaxSamples = querycost.DefaultMaxSamples

	// DefaultQueryTimeout is shorter than the 15 s in which the HorizontalPodAutoscaler comes back with
	// the next question.
	DefaultQueryTimeout = 10 * time.Second

	// DefaultMaxConcurrency serves the five workers of the HorizontalPodAutoscaler controller and a few
	// people at once, and with DefaultMaxSamples bounds the memory of all queries to 128 MB.
	DefaultMaxConcurrency = 8

	// DefaultLookbackDelta is that of Prometheus, so that expressions mean the same here. Callers of
	// Instant who know the scrape interval should pass a shorter one.
	DefaultLookbackDelta = 5 * time.Minute

	// DefaultSubqueryStep is the step of a subquery that names none.
	DefaultSubqueryStep = querycost.DefaultSubqueryStep

	// walPageSize is the unit in which the write-ahead log is written.
	walPageSize = 32 << 10

	// blockReload is how often the storage looks for blocks to remove.
	blockReload = 5 * time.Second
)

// Options says where the database lives and how large it may grow. Only Dir is required.
type Options struct {
	// Dir is the data directory. It is made when it does not exist, and belongs to one process at a time.
	Dir string

	// Logger receives warnings and errors, and the chatter of the storage at debug level. nil: silent.
	Logger *slog.Logger

	// Registerer receives the metrics of the storage and of the query engine, under the names they have
	// in Prometheus, until Close. nil: only DB.Gather has them. Two databases need two registerers (or
	// wrapped ones).
	Registerer prometheus.Registerer

	// SeriesCallback makes the callback that the storage calls when a series enters or leaves memory. It is called at
	// each attempt to open the storage; the callback before is then void. For series that Open finds in the log
	// PreCreation is not called, PostCreation is. nil: there is no callback.
	SeriesCallback func() promtsdb.SeriesLifecycleCallback

	// Retention is how long samples are kept at least. Removal is by whole blocks, so up to two
	// BlockDurations more may be on disk. 0: DefaultRetention. Negative: an error.
	Retention time.Duration

	// RetentionBytes is how many bytes of disk samples may take. Above it the oldest blocks are removed; when the log
	// alone is above it, Tend has the database begin anew. What was set aside may take as much again.
	// 0: DefaultRetentionBytes. Negative: an error.
	RetentionBytes int64

	// Now is the clock. nil: time.Now.
	Now func() time.Time

	// Boot returns a name of the current boot of the system, and how long ago it was on a clock that nobody sets. With it
	// Open notices that the clock was set while no DB was open, and sets the samples aside. Nil: it does not; SystemBoot
	// is right for Linux.
	Boot func() (id string, up time.Duration, err error)

	// CountStarts makes Open set the samples aside when this is the third start within ten minutes, none of which has
	// come to Settled or Close.
	CountStarts bool

	// BlockDuration is the time that one block on disk covers; the head holds up to one and a half of
	// it in memory. 0: DefaultBlockDuration, or a quarter of Retention when that is shorter. It may
	// not exceed Retention. Negative: an error.
	BlockDuration time.Duration

	// StripeSize is the number of locked hash maps that series are spread over, a power of two.
	// 0: DefaultStripeSize. Negative: an error.
	StripeSize int

	// ChunkWriteBufferSize is in bytes, a multiple of 1024 between 64 KiB and 8 MiB.
	// 0: DefaultChunkWriteBufferSize. Negative: an error.
	ChunkWriteBufferSize int

	// WALSegmentSize is in bytes, a multiple of 32 KiB. 0: DefaultWALSegmentSize. Negative: an error,
	// for without a log a restart would forget every window.
	WALSegmentSize int

	// BlockSegmentSize is the disk space in bytes that is reserved while a block is written; what was
	// not needed is given back at the end. 0: DefaultBlockSegmentSize. Negative: an error.
	BlockSegmentSize int64

	// MaxSamples is how many samples one query may hold in memory. 0: DefaultMaxSamples.
	// Negative: an error.
	MaxSamples int

	// QueryTimeout bounds one query, the wait for its turn included. 0: DefaultQueryTimeout.
	// Negative: an error.
	QueryTimeout time.Duration

	// MaxConcurrency is how many queries run at once; more wait for their turn. 0: DefaultMaxConcurrency.
	// Negative: an error.
	MaxConcurrency int

	// LookbackDelta is how old the sample behind an instant selector may be, where the caller of Instant
	// does not say. 0: DefaultLookbackDelta. Negative: an error.
	LookbackDelta time.Duration
}

// withDefaults fills in what was left zero and reports everything that is wrong at once.
func (o Options) withDefaults() (Options, error) {
	var errs []error
	errs = append(errs,
		fill("Retention", &o.Retention, DefaultRetention),
		fill("RetentionBytes", &o.RetentionBytes, DefaultRetentionBytes),
		fill("BlockDuration", &o.BlockDuration, min(DefaultBlockDuration, max(o.Retention/4, time.Millisecond))),
		fill("StripeSize", &o.StripeSize, DefaultStripeSize),
		fill("ChunkWriteBufferSize", &o.ChunkWriteBufferSize, DefaultChunkWriteBufferSize),
		fill("WALSegmentSize", &o.WALSegmentSize, DefaultWALSegmentSize),
		fill("BlockSegmentSize", &o.BlockSegmentSize, DefaultBlockSegmentSize),
		fill("MaxSamples", &o.MaxSamples, DefaultMaxSamples),
		fill("QueryTimeout", &o.QueryTimeout, DefaultQueryTimeout),
		fill("MaxConcurrency", &o.MaxConcurrency, DefaultMaxConcurrency),
		fill("LookbackDelta", &o.LookbackDelta, DefaultLookbackDelta),
	)
	wrong := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	wrong(o.Dir == "", "Dir is empty: name the data directory")
	wrong(o.BlockDuration > o.Retention, "BlockDuration %s is longer than Retention %s", o.BlockDuration, o.Retention)
	wrong(o.StripeSize&(o.StripeSize-1) != 0, "StripeSize %d is not a power of two", o.StripeSize)
	wrong(o.WALSegmentSize%walPageSize != 0, "WALSegmentSize %d is not a multiple of %d", o.WALSegmentSize, walPageSize)
	wrong(o.ChunkWriteBufferSize < chunks.MinWriteBufferSize || o.ChunkWriteBufferSize > chunks.MaxWriteBufferSize || o.ChunkWriteBufferSize%1024 != 0,
		"ChunkWriteBufferSize %d is not a multiple of 1024 between %d and %d", o.ChunkWriteBufferSize, chunks.MinWriteBufferSize, chunks.MaxWriteBufferSize)
	wrong(o.BlockDuration < time.Second, "BlockDuration %s is under a second", o.BlockDuration)
	wrong(o.LookbackDelta < time.Millisecond, "LookbackDelta %s is under a millisecond", o.LookbackDelta)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o, errors.Join(errs...)
}

// fill puts def where v is zero and refuses a negative v.
func fill[T int | int64 | time.Duration](name string, v *T, def T) error {
	switch {
	case *v == 0:
		*v = def
	case *v < 0:
		return fmt.Errorf("%s is %v: it must be positive, or zero for its default %v", name, *v, def)
	}
	return nil
}

// storage translates to the options of the Prometheus TSDB.
func (o Options) storage() *promtsdb.Options {
	s := promtsdb.DefaultOptions()
	s.RetentionDuration = o.Retention.Milliseconds()
	s.MaxBytes = o.RetentionBytes
	s.BlockReloadInterval = blockReload
	s.MinBlockDuration = o.BlockDuration.Milliseconds()
	// Blocks are merged up to a tenth of the retention, as Prometheus does: never with the default two
	// hours, and still only a few dozen blocks when somebody keeps a month.
	s.MaxBlockDuration = max(o.BlockDuration, o.Retention/10).Milliseconds()
	s.StripeSize = o.StripeSize
	s.HeadChunksWriteBufferSize = o.ChunkWriteBufferSize
	s.WALSegmentSize = o.WALSegmentSize
	s.MaxBlockChunkSegmentSize = o.BlockSegmentSize
	// Half the writes for little CPU: flash wears out.
	s.WALCompression = compression.Snappy
	// The directory is locked by Open itself, before it looks for damage.
	s.NoLockfile = true

	// Left as they are, on purpose:
	// HeadChunksWriteQueueSize 0: chunks are written by whoever completes them; a queue costs memory.
	// OutOfOrderTimeWindow 0: one scraper writes in order; a window would need a second log.
	// EnableExemplarStorage false: no rule reads exemplars.
	// IsolationDisabled false: a query must not see half of a scrape, or sums would dip.
	// EnableMemorySnapshotOnShutdown false: replaying two hours of log takes well under a second, and a
	// snapshot is one more file that can be torn.
	return s
}
