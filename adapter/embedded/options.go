package embedded

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/tools/record"

	"github.com/promlet/promlet/adapter/engine"
	"github.com/promlet/promlet/adapter/rules"
	"github.com/promlet/promlet/discovery"
	"github.com/promlet/promlet/discovery/kubelets"
	"github.com/promlet/promlet/scrape"
	"github.com/promlet/promlet/tsdb"
)

const (
	// DefaultSeriesLimit takes about 300 MB of memory, the most that an edge node can spare.
	// Ingestion on demand stays far below it.
	DefaultSeriesLimit = 100_000
	// DefaultTargetLimit is the limit of targets of one monitor and of one namespace. A target
	// takes up to 50 KiB beside what its scrapes are charged for: at the limit 100 MB.
	DefaultTargetLimit = 2000
)

// Options of a Promlet. Source and Dir are required. With the zero value of all others it
// works as the promlet command does without flags.
type Options struct {
	// Source gives the objects: Services, Pods, monitors and HorizontalPodAutoscalers. Required.
	// Promlet.Run runs it.
	Source discovery.Source
	// Dir is the data directory. It is made if it does not exist, and belongs to one Promlet at
	// a time. Required if monitors are scraped. Otherwise empty means a temporary directory,
	// which Close removes.
	Dir string
	// Mapper resolves resources to kinds. Nil is objects.BuiltinMapper of package
	// adapter/objects. When a resource is unknown, a Mapper that can be reset is reset, at most
	// every half minute.
	Mapper meta.RESTMapper
	// Rules map series to metrics. The zero value is the default rules. Provider.SetRules
	// replaces them.
	Rules rules.Set

	// Engine is a Prometheus behind a URL. It answers requests for metrics without scraped
	// series. Promlet.Run calls its Run. The caller closes it after Promlet.Close. Nil: there
	// is none.
	Engine *engine.Engine
	// AlsoScrape scrapes what monitors select although there is an Engine. Without an Engine,
	// promlet always scrapes.
	AlsoScrape bool

	// StoreAll stores all series that targets expose. False: only those that HPAs, clients of
	// the API or queries read.
	StoreAll bool
	// DemandTTL is how long series are stored after the last read by a client. 0 is
	// demand.DefaultTTL. Series that HPAs scale on are stored as long as the HPA exists.
	DemandTTL time.Duration
	// SeriesLimit is the maximum number of series in memory. New series are refused at 80 % of
	// it if nobody reads them, at 90 % if no HPA does, and at 100 % otherwise. Namespaces share
	// it. 0 is DefaultSeriesLimit, negative means no limit.
	SeriesLimit int
	// SeriesBytesLimit is the maximum memory of series in bytes: their labels, and 2560 bytes
	// each. 0 or less means no limit.
	SeriesBytesLimit int64

	// ResourceMetrics makes Promlet.Resources, which gives what nodes and containers use. The
	// values come from the queries of Rules.Resource, or from kubelets if there are no queries.
	ResourceMetrics bool
	// Kubelets says how to scrape the kubelets of the Source's Nodes. It needs ResourceMetrics. The
	// Source must give the Nodes with their addresses (cluster.Options.NodeAddresses), and, for
	// HPAs with a target utilization, Pods with their requests (cluster.Options.PodRequests). A
	// shard scrapes no kubelets. Nil: kubelets are not scraped.
	Kubelets *kubelets.Options

	// Replica is this process among its replicas in the cluster. The zero value: there are no
	// other replicas.
	Replica Replica
	// Events receives Events on rejected and overruled monitors, on HPAs without a value, and on
	// the Pod of Replica about rules that match nothing. Nil: only Logger receives them.
	Events record.EventRecorder

	// Discovery, Scrape and Storage are the options of the parts. Fields that New fills must be
	// zero; otherwise New returns an error that names them. 0 in Discovery.MonitorTargetLimit and
	// NamespaceTargetLimit means DefaultTargetLimit, negative means no limit. If ingestion is on
	// demand, 0 in Scrape.SampleLimit means a quarter of SeriesLimit, at most
	// scrape.DefaultSampleLimit. A nil Scrape.DialContext connects to any address. If others write
	// monitors, set it to that of a destination.Policy, which refuses loopback and metadata
	// addresses.
	Discovery discovery.Options
	Scrape    scrape.Options
	Storage   tsdb.Options
	// IgnoreAnnotations leaves out Services and Pods that are annotated prometheus.io/scrape: "true".
	IgnoreAnnotations bool

	// Names are the names of settings in texts for users.
	Names Names
	// Logger receives the logs of all parts. The key component names the part. Nil is silent.
	Logger *slog.Logger
	// Registerer receives the metrics of all parts until Close. Nil: none are exported. Two
	// Promlets need two Registerers, or wrapped ones.
	Registerer prometheus.Registerer
	// Now is the clock of all parts. Nil is time.Now.
	Now func() time.Time
}

// Names are the names of settings in errors, problems, explanations and Events. Empty means the
// name of the field of Options. The promlet command gives the names of its flags.
type Names struct {
	Dir, SeriesLimit, SeriesBytesLimit, IngestDemand, Shard, EnforcementExempt string
}

func (n Names) withDefaults() Names {
	return Names{
		Dir:               cmp.Or(n.Dir, "Dir"),
		SeriesLimit:       cmp.Or(n.SeriesLimit, "SeriesLimit"),
		SeriesBytesLimit:  cmp.Or(n.SeriesBytesLimit, "SeriesBytesLimit"),
		IngestDemand:      cmp.Or(n.IngestDemand, "StoreAll=false"),
		Shard:             cmp.Or(n.Shard, "Discovery.Shard"),
		EnforcementExempt: cmp.Or(n.EnforcementExempt, "Discovery.Enforcement.Exempt"),
	}
}

// scrapes reports whether targets of monitors are scraped.
func (o *Options) scrapes() bool { return o.Engine == nil || o.AlsoScrape }

// discovers reports whether any targets are looked for.
func (o *Options) discovers() bool { return o.scrapes() || o.Kubelets != nil }

// onDemand reports whether only series that somebody reads are stored.
func (o *Options) onDemand() bool { return !o.StoreAll }

// check returns an error for each field that is missing or that New fills.
func (o *Options) check() error {
	var errs []error
	refuse := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf("new promlet: "+format, args...))
		}
	}
	refuse(o.Source == nil, "Options.Source is required")
	refuse(o.Dir == "" && o.scrapes(), "Options.Dir is required")
	refuse(o.Kubelets != nil && !o.ResourceMetrics, "leave out Options.Kubelets, or set Options.ResourceMetrics")
	refuse(o.ResourceMetrics && o.Discovery.Shard.Partial(), "leave out ResourceMetrics or Discovery.Shard: a shard serves no values")
	refuse(o.Engine != nil && o.Discovery.Shard.Partial(), "leave out Engine or Discovery.Shard: a shard serves no values, so it queries no engine")
	filled := map[string]bool{
		"Discovery.Annotations":  o.Discovery.Annotations,
		"Discovery.Events":       o.Discovery.Events != nil,
		"Discovery.Kubelets":     o.Discovery.Kubelets != nil,
		"Discovery.Logger":       o.Discovery.Logger != nil,
		"Discovery.Registerer":   o.Discovery.Registerer != nil,
		"Scrape.Appendable":      o.Scrape.Appendable != nil,
		"Scrape.Logger":          o.Scrape.Logger != nil,
		"Scrape.MaxSampleAge":    o.Scrape.MaxSampleAge != 0,
		"Scrape.Namespace":       o.Scrape.Namespace != nil,
		"Scrape.Now":             o.Scrape.Now != nil,
		"Scrape.OnDemand":        o.Scrape.OnDemand,
		"Scrape.Owner":           o.Scrape.Owner != nil,
		"Scrape.Registerer":      o.Scrape.Registerer != nil,
		"Scrape.Sinks":           o.Scrape.Sinks != nil,
		"Scrape.SeriesRoom":      o.Scrape.SeriesRoom != nil,
		"Storage.CountStarts":    o.Storage.CountStarts,
		"Storage.Dir":            o.Storage.Dir != "",
		"Storage.Logger":         o.Storage.Logger != nil,
		"Storage.Now":            o.Storage.Now != nil,
		"Storage.Registerer":     o.Storage.Registerer != nil,
		"Storage.SeriesCallback": o.Storage.SeriesCallback != nil,
	}
	for _, field := range slices.Sorted(maps.Keys(filled)) {
		refuse(filled[field], "leave out Options.%s: it follows from the other Options", field)
	}
	return errors.Join(errs...)
}

func (o Options) withDefaults() Options {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	o.SeriesLimit = max(0, cmp.Or(o.SeriesLimit, DefaultSeriesLimit))
	o.Names = o.Names.withDefaults()
	o.Discovery.MonitorTargetLimit = max(0, cmp.Or(o.Discovery.MonitorTargetLimit, DefaultTargetLimit))
	o.Discovery.NamespaceTargetLimit = max(0, cmp.Or(o.Discovery.NamespaceTargetLimit, DefaultTargetLimit))
	return o
}
