package embedded

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	promtsdb "github.com/prometheus/prometheus/tsdb"
	apilabels "k8s.io/apimachinery/pkg/labels"

	"github.com/promlet/promlet/adapter"
	"github.com/promlet/promlet/adapter/demand"
	"github.com/promlet/promlet/adapter/resourcemetrics"
	"github.com/promlet/promlet/discovery"
	"github.com/promlet/promlet/discovery/kubelets"
	"github.com/promlet/promlet/discovery/objects"
	"github.com/promlet/promlet/scrape"
	"github.com/promlet/promlet/scrape/seriesroom"
	"github.com/promlet/promlet/scrape/sink"
	"github.com/promlet/promlet/tsdb"
)

// Promlet is one promlet. Its methods, and those of its parts, may be called from any
// goroutine. The fields must not be changed.
type Promlet struct {
	// Provider answers requests for metrics. Its SetRules may be called at any time. Run runs its
	// Demand and Autoscalers.
	Provider *adapter.Provider
	// Discoverer knows the monitors. Its SetInline may be called at any time.
	Discoverer *discovery.Discoverer
	// Scraper knows the targets and what they expose. Promlet applies targets and demand to it,
	// and stops it.
	Scraper *scrape.Manager
	// Resources gives what nodes and containers use. Package adapter/resourcemetrics/api serves
	// it as metrics.k8s.io. Nil without Options.ResourceMetrics.
	Resources resourcemetrics.Source
	// DB holds the samples. Promlet closes it.
	DB *tsdb.DB
	// Dir is the data directory.
	Dir string

	opts      Options
	objects   *objects.Store
	room      *seriesroom.Room       // nil without a limit
	kubelets  *kubelets.Job          // nil if kubelets are not scraped
	reported  *resourcemetrics.Store // what kubelets report; nil if they are not scraped
	demanded  atomic.Pointer[demand.Demand]
	readiness *readiness

	scrapedMtx     sync.Mutex
	scraped        scraped
	others         scraped // by other shards
	jobs           atomic.Pointer[[]*config.ScrapeConfig]
	targetsVersion atomic.Uint64 // counts changes of the targets; never 0

	closing  context.Context // ends when Close begins
	cancel   context.CancelFunc
	mtx      sync.Mutex
	ended    chan struct{} // closed when Run returns; nil before Run
	closers  []func() error
	once     sync.Once
	closeErr error
}

// New opens the data directory and makes the parts. They do nothing until Run. If Options are
// invalid, the error names them; those of the parts are checked as the parts are made. After
// an error nothing is left open. Otherwise the caller must call Close.
func New(opts Options) (*Promlet, error) {
	if err := opts.check(); err != nil {
		return nil, err
	}
	opts = opts.withDefaults()
	p := &Promlet{opts: opts, Dir: opts.Dir, objects: objects.NewStore()}
	p.closing, p.cancel = context.WithCancel(context.Background())
	p.targetsVersion.Store(1)
	p.jobs.Store(&[]*config.ScrapeConfig{})
	if err := p.open(); err != nil {
		if errors.As(err, new(prometheus.AlreadyRegisteredError)) {
			err = fmt.Errorf("%w: two Promlets need two Registerers: wrap one with prometheus.WrapRegistererWith", err)
		}
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// open makes the parts, and notes how to close each.
func (p *Promlet) open() (err error) {
	if p.Dir == "" {
		if p.Dir, err = os.MkdirTemp("", "promlet-"); err != nil {
			return fmt.Errorf("make a data directory: %w: name one with %s", err, p.opts.Names.Dir)
		}
		p.onClose(func() error { return os.RemoveAll(p.Dir) })
	}
	if err := p.openKubelets(); err != nil {
		return err
	}
	p.room = seriesroom.New(seriesroom.Limits{Series: p.opts.SeriesLimit, Bytes: p.opts.SeriesBytesLimit})
	if p.DB, err = tsdb.Open(p.storageOptions()); err != nil {
		return err
	}
	p.onClose(p.DB.Close)
	if err := p.forgetTargets(); err != nil {
		return err
	}
	if p.Scraper, err = scrape.NewManager(p.scrapeOptions()); err != nil {
		return err
	}
	// No samples are appended once this returns, so that DB can be closed.
	p.onClose(func() error { p.Scraper.Stop(); return nil })
	p.Discoverer = discovery.New(p.objects, p.discoveryOptions())
	p.readiness = p.newReadiness()
	if p.Provider, err = adapter.NewProvider(p.providerOptions()); err != nil {
		return err
	}
	p.onClose(func() error { p.Provider.Close(); return nil })
	p.Resources = p.Provider.Resources
	return nil
}

func (p *Promlet) storageOptions() tsdb.Options {
	options := p.opts.Storage
	options.Dir = p.Dir
	options.Logger = p.opts.Logger.With("component", "tsdb")
	options.Registerer = p.opts.Registerer
	options.Now = p.opts.Now
	options.CountStarts = true
	if options.Boot == nil {
		options.Boot = tsdb.SystemBoot
	}
	if p.room != nil {
		options.SeriesCallback = func() promtsdb.SeriesLifecycleCallback { return p.room.Storage() }
	}
	return options
}

func (p *Promlet) scrapeOptions() scrape.Options {
	options := p.opts.Scrape
	options.Appendable = p.DB
	options.Logger = p.opts.Logger.With("component", "scrape")
	options.Registerer = p.opts.Registerer
	options.Now = p.opts.Now
	options.OnDemand = p.opts.onDemand()
	options.MaxSampleAge = p.DB.MaxSampleAge()
	options.HistoryFile, options.LastSample = filepath.Join(p.Dir, targetsFile), p.DB.Newest()
	options.Namespace = p.opts.Discovery.Enforcement.Namespace
	options.SeriesRoom = p.room
	options.Owner = discovery.Owner
	if p.kubelets != nil {
		options.Sinks = map[string]sink.Sink{kubelets.JobName: p.kubeletSink()}
	}
	if options.SampleLimit == 0 {
		options.SampleLimit = p.opts.sampleLimit()
	}
	return options
}

func (p *Promlet) discoveryOptions() discovery.Options {
	options := p.opts.Discovery
	options.Logger = p.opts.Logger.With("component", "discovery")
	options.Registerer = p.opts.Registerer
	options.Annotations = !p.opts.IgnoreAnnotations
	options.Kubelets = p.kubelets
	if !p.opts.scrapes() { // only kubelets are scraped
		options.Annotations, options.MonitorSelector = false, apilabels.Nothing()
		options.ServiceMonitors, options.PodMonitors = nil, nil
	}
	if options.Shard.Index == 0 { // shard 0 writes the Events on monitors for all shards
		options.Events = p.opts.Events
	}
	return options
}

// reuse is as old as an answer may become by answering an equal question, such as those of two HPAs on one Service.
const reuse = time.Second

func (p *Promlet) providerOptions() adapter.Options {
	options := adapter.Options{
		Engine:  p.opts.Engine,
		Objects: p.objects.Lister,
		Mapper:  p.opts.Mapper,
		Rules:   p.opts.Rules,

		ResourceMetrics: p.opts.ResourceMetrics,
		Ready:           p.whole,
		Reuse:           reuse,
		Explain:         p.explaining(),
		Interval:        p.opts.Discovery.ScrapeInterval,
		Logger:          p.opts.Logger.With("component", "adapter"),
		Registerer:      p.opts.Registerer,
		Now:             p.opts.Now,
	}
	if p.kubelets != nil {
		options.KubeletsJob, options.Resources = kubelets.JobName, p.reported
	}
	if p.opts.scrapes() {
		options.DB, options.Exposed, options.Targets, options.Source = p.DB, p.exposed, p.targets, p.sourceOf
		options.Demand, options.Collecting = p.demand(), p.Scraper.Collecting
	}
	return options
}

// apply scrapes what was discovered.
func (p *Promlet) apply(configs []*config.ScrapeConfig, groups map[string][]*targetgroup.Group) error {
	p.jobs.Store(&configs)
	defer p.targetsVersion.Add(1)
	p.setNodes(groups)
	err := p.Scraper.Apply(configs, groups)
	p.noteKubeletsJob(groups, err)
	return err
}

// Jobs returns the configurations of the jobs that are scraped, in Prometheus's own type. They
// are shared: do not change them.
func (p *Promlet) Jobs() []*config.ScrapeConfig { return *p.jobs.Load() }
