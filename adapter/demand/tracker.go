package demand

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	autoscalingv2 "k8s.io/api/autoscaling/v2"

	"github.com/promlet/promlet/adapter/catalog"
	"github.com/promlet/promlet/adapter/objects"
	"github.com/promlet/promlet/adapter/rules"
)

const (
	// period is how often HPAs and what targets expose are read anew. A metric asked for
	// over the API is seen to at once.
	period = time.Second
	// savePeriod is how often at most the file is written when only the times of the last
	// reads have changed.
	savePeriod = time.Minute
	// maxReads bounds the metrics that are remembered: an API client may ask for anything.
	maxReads = 10_000
)

// Options say whose reading makes series wanted, and for how long.
type Options struct {
	// TTL is how long after its last read, over the API or by a query, a metric stays
	// wanted. 0 is DefaultTTL.
	TTL time.Duration
	// File keeps the demand over restarts; it is made if missing. Empty: nothing is
	// kept.
	File string
	// FirstValue is about how long it takes from a series becoming wanted until it has
	// two samples. The first request for a new metric returns it. 0: series are stored
	// whether they are wanted or not.
	FirstValue time.Duration
}

// DefaultTTL outlives a rollout, a node's reboot, and a lunch break with a terminal open.
const DefaultTTL = time.Hour

// Tracker notes who reads what.
type Tracker struct {
	opts    Options
	catalog *catalog.Catalog
	objects objects.Reader
	logger  *slog.Logger
	now     func() time.Time
	kick    chan struct{} // something new is read

	mu      sync.Mutex
	keep    [][]*labels.Matcher
	usage   map[rules.Metric][][]*labels.Matcher // what resourceRules read, on names
	reads   map[rules.Metric]time.Time           // last read, over the API
	queries map[string]*query                    // by their text
	since   map[rules.Metric]time.Time           // when metrics became wanted
	current *Demand                              // the last

	saved   string // key of the Demand in the file
	savedAt time.Time
	failing bool // to save
}

// New returns a Tracker that knows what Options.File holds.
func New(opts Options, c *catalog.Catalog, o objects.Reader, logger *slog.Logger, now func() time.Time) *Tracker {
	opts.TTL = cmp.Or(opts.TTL, DefaultTTL)
	t := &Tracker{
		opts: opts, catalog: c, objects: o, logger: logger, now: now, kick: make(chan struct{}, 1),
		reads: map[rules.Metric]time.Time{}, queries: map[string]*query{}, since: map[rules.Metric]time.Time{},
	}
	t.load()
	return t
}

// SetKeep replaces the matchers on names of series that are always wanted.
func (t *Tracker) SetKeep(keep [][]*labels.Matcher) {
	t.mu.Lock()
	t.keep = keep
	t.mu.Unlock()
	t.Wake()
}

// SetUsage replaces the queries of resourceRules; nil: there are none. The series that they read
// are wanted while HPAs scale on CPU or memory, and after reads of rules.Usage.
func (t *Tracker) SetUsage(queries *rules.ResourceQueries) {
	usage := map[rules.Metric][][]*labels.Matcher{}
	if queries != nil {
		usage[rules.Usage(objects.Pod())] = queries.Pods.Reads()
		usage[rules.Usage(objects.Node())] = queries.Nodes.Reads()
	}
	t.mu.Lock()
	t.usage = usage
	t.mu.Unlock()
	t.Wake()
}

// OfKubelets returns how many of the selectors that resourceRules have for a metric read the
// series of kubelets, and how many selectors there are.
func (t *Tracker) OfKubelets(metric rules.Metric) (taken, all int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, on := range t.usage[metric] {
		all++
		if t.current == nil || !t.current.fromElsewhere(on) {
			taken++
		}
	}
	return taken, all
}

// Read notes that an API client asks for a metric.
func (t *Tracker) Read(metric rules.Metric) {
	now := t.now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, known := t.reads[metric]; known || len(t.reads) < maxReads {
		t.reads[metric] = now
	}
	if _, known := t.since[metric]; !known && len(t.since) < 2*maxReads {
		t.since[metric] = now
		t.Wake()
	}
}

// Wake makes Run look for changes at once.
func (t *Tracker) Wake() {
	select {
	case t.kick <- struct{}{}:
	default:
	}
}

// Starting returns how long it is until a metric has its first value. It returns 0 if the
// metric should have one: its collection began long enough ago or does not depend on
// demand.
func (t *Tracker) Starting(metric rules.Metric) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.untilFirstValue(t.since[metric])
}

// untilFirstValue returns how long it is until what is collected since then has its first
// value, 0 if it should have one.
func (t *Tracker) untilFirstValue(since time.Time) time.Duration {
	now := t.now()
	// A slow target may take twice that long.
	if since.IsZero() || now.Sub(since) > 2*t.opts.FirstValue || t.opts.FirstValue == 0 {
		return 0
	}
	return max(time.Second, since.Add(t.opts.FirstValue).Sub(now))
}

// Counts returns how much is wanted, by who wants it: metrics that HPAs scale on (hpa) as of
// the last Demand, metrics that API clients ask for (api), selectors of queries (query) and
// patterns of the configuration (keep).
func (t *Tracker) Counts() map[string]int {
	t.mu.Lock()
	defer t.mu.Unlock()
	counts := map[string]int{"api": len(t.reads), "query": len(t.queries), "keep": len(t.keep)}
	if t.current != nil {
		for _, r := range t.current.metrics {
			counts["hpa"] += min(1, len(r.hpas))
		}
	}
	return counts
}

// Current returns who reads what now.
func (t *Tracker) Current(ctx context.Context) (*Demand, error) {
	if _, err := t.catalog.Mappings(ctx); err != nil {
		return nil, err
	}
	hpas, err := t.objects.Autoscalers("")
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	usage := t.usage
	t.mu.Unlock()
	d := newDemand(t.catalog, t.now())
	d.noteUsage(usage)
	for _, hpa := range hpas {
		for _, metric := range scaledBy(hpa) {
			if _, made := usage[metric]; made || metric.API != rules.ResourceAPI {
				d.addAutoscaler(metric, hpa.Namespace+"/"+hpa.Name)
			}
		}
	}
	t.settle(d)
	for metric, r := range d.metrics {
		for _, on := range append(t.catalog.Reads(metric), usage[metric]...) {
			d.add(on, *r)
		}
	}
	t.mu.Lock()
	t.current = d
	t.mu.Unlock()
	return d, nil
}

// settle forgets what was not read for Options.TTL, and adds the rest to a Demand.
func (t *Tracker) settle(d *Demand) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for metric, last := range t.reads {
		if d.at.Sub(last) > t.opts.TTL {
			delete(t.reads, metric)
			continue
		}
		d.of(metric).api = last
	}
	for text, q := range t.queries {
		if d.at.Sub(q.last) > t.opts.TTL {
			delete(t.queries, text)
			continue
		}
		d.add(q.on, readers{query: q.last})
	}
	for _, on := range t.keep {
		d.add(on, readers{keep: true})
	}
	for metric := range t.since {
		if d.metrics[metric] == nil {
			delete(t.since, metric)
		}
	}
	for metric, r := range d.metrics {
		if _, known := t.since[metric]; !known && len(r.hpas) > 0 {
			t.since[metric] = d.at
		}
	}
}

// Run calls apply with what is wanted, first at once and then whenever that changes, until
// ctx is done. apply is called again when it has returned an error. Run also keeps
// Options.File.
func (t *Tracker) Run(ctx context.Context, apply func(context.Context, *Demand) error) error {
	ticker := time.NewTicker(period)
	defer ticker.Stop()
	var last string
	var applied time.Time
	for first := true; ; first = false {
		d, err := t.Current(ctx)
		if err != nil && ctx.Err() == nil {
			t.logger.Warn("could not find out what is wanted; the last demand stays", "err", err)
		}
		if err == nil {
			if key := d.key(); first || key != last {
				last, applied = key, time.Now()
				if err := apply(ctx, d); err != nil {
					last = ""
				}
			}
			t.save(d, false)
		}
		select {
		case <-ctx.Done():
			if d != nil {
				t.save(d, true)
			}
			return nil
		case <-ticker.C:
			continue
		case <-t.kick:
		}
		// A client that asks for one metric after the other does not make all targets be
		// scraped for each.
		select {
		case <-ctx.Done():
		case <-time.After(period - time.Since(applied)):
		}
	}
}

// scaledBy returns the metrics that an HPA scales on.
func scaledBy(hpa *autoscalingv2.HorizontalPodAutoscaler) (metrics []rules.Metric) {
	for i := range hpa.Spec.Metrics {
		switch m := &hpa.Spec.Metrics[i]; {
		case m.Pods != nil:
			metrics = append(metrics, rules.Metric{API: rules.CustomAPI, Name: m.Pods.Metric.Name})
		case m.Object != nil:
			metrics = append(metrics, rules.Metric{API: rules.CustomAPI, Name: m.Object.Metric.Name})
		case m.External != nil:
			metrics = append(metrics, rules.Metric{API: rules.ExternalAPI, Name: m.External.Metric.Name})
		case m.Resource != nil, m.ContainerResource != nil:
			metrics = append(metrics, rules.Usage(objects.Pod()))
		}
	}
	return metrics
}
