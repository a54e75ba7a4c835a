package discovery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	// DefaultScrapeInterval is that of prometheus-operator; Prometheus's own
	// default of a minute is slow for an autoscaler.
	DefaultScrapeInterval = 30 * time.Second
	// DefaultScrapeTimeout is Prometheus's.
	DefaultScrapeTimeout = 10 * time.Second
)

const (
	// settle is how long no change must come before targets are computed, so that
	// the many changes of one rollout step cost one computation.
	settle = 100 * time.Millisecond
	// settleLimit bounds the wait when changes do not cease.
	settleLimit = time.Second
	// applyRetry is when a failed apply is tried again without a change.
	applyRetry = 5 * time.Second
)

// applyFunc takes a full set of jobs and targets.
type applyFunc = func([]*config.ScrapeConfig, map[string][]*targetgroup.Group) error

// Source fills Objects and says when they have changed. [Cluster] and [Manifests]
// are the two there are; others fill what [Objects.Indexer] returns.
type Source interface {
	// Run fills objects until ctx is done, and then stops all it has started and
	// returns nil. It calls changed, which never blocks, after every change that
	// may matter to targets and when HasSynced has become true. An error means
	// that it cannot go on.
	Run(ctx context.Context, objects *Objects, changed func()) error
	// HasSynced tells whether all objects there are have been put into Objects
	// once; from then on it stays true.
	HasSynced() bool
	// Problems tells what keeps the source from knowing the objects as they are
	// now: one line each, sorted; none when all is well.
	Problems() []string
}

// Options are the settings of a Discoverer. The zero value is usable.
type Options struct {
	// Logger gets monitors' rejections, each when its reason changes. nil is silent.
	Logger *slog.Logger
	// ScrapeInterval is for monitors that give none. Zero or negative means
	// DefaultScrapeInterval.
	ScrapeInterval time.Duration
	// ScrapeTimeout is for monitors that give none, and is never above their
	// interval. Zero or negative means DefaultScrapeTimeout.
	ScrapeTimeout time.Duration
	// ServiceMonitors and PodMonitors are taken besides those of the Source, for
	// clusters without the CRDs. One without a namespace is in "default"; one with
	// the name of a monitor of the Source is rejected. They are copied.
	ServiceMonitors []*monitoringv1.ServiceMonitor
	PodMonitors     []*monitoringv1.PodMonitor
	// Annotations says whether to scrape Services and Pods that are annotated
	// prometheus.io/scrape: "true" (with prometheus.io/port, path and scheme).
	Annotations bool
}

// Discoverer turns Objects into scrape configurations and targets. Its methods may
// be called at any time.
type Discoverer struct {
	objects  *Objects
	options  Options
	defaults defaults
	logger   *slog.Logger
	synced   atomic.Bool

	mtx        sync.Mutex
	compiled   map[string]*compiled
	last       *pass // nil before the first
	rejections rejections
}

// New returns a Discoverer of what objects hold.
func New(objects *Objects, opts Options) *Discoverer {
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.ScrapeInterval <= 0 {
		opts.ScrapeInterval = DefaultScrapeInterval
	}
	if opts.ScrapeTimeout <= 0 {
		opts.ScrapeTimeout = DefaultScrapeTimeout
	}
	opts.ServiceMonitors = inline(opts.ServiceMonitors,
		func(m *monitoringv1.ServiceMonitor) *metav1.ObjectMeta { return &m.ObjectMeta },
		(*monitoringv1.ServiceMonitor).DeepCopy)
	opts.PodMonitors = inline(opts.PodMonitors,
		func(m *monitoringv1.PodMonitor) *metav1.ObjectMeta { return &m.ObjectMeta },
		(*monitoringv1.PodMonitor).DeepCopy)
	return &Discoverer{
		objects:    objects,
		options:    opts,
		defaults:   defaults{interval: opts.ScrapeInterval, timeout: min(opts.ScrapeTimeout, opts.ScrapeInterval)},
		logger:     opts.Logger,
		rejections: rejections{logger: opts.Logger},
	}
}

// Resolve computes the jobs and their targets from the objects as they are: the
// configurations ordered by job name, and the groups of targets by job name. A job
// without targets has a configuration and no groups. Run calls it; a program that
// fills Objects by itself may.
//
// A configuration or group that has not changed is the same pointer as in the last
// call. Everything returned is shared: read only.
//
// A target carries its final labels, save for the effect of the configuration's
// own RelabelConfigs. Its job label is set, and is not the job's name.
func (d *Discoverer) Resolve() ([]*config.ScrapeConfig, map[string][]*targetgroup.Group, error) {
	next, err := d.resolve()
	if err != nil {
		return nil, nil, err
	}
	return slices.Clone(next.configs), maps.Clone(next.groups), nil
}

// resolve makes a pass over the objects, which becomes d.last.
func (d *Discoverer) resolve() (*outcome, error) {
	d.mtx.Lock()
	defer d.mtx.Unlock()
	p := &pass{
		objects: d.objects,
		memos:   map[string]map[string]*memo{},
		outcome: &outcome{groups: map[string][]*targetgroup.Group{}},

		services: map[*discoveryv1.EndpointSlice]*corev1.Service{},
	}
	if d.last != nil {
		p.old = d.last.memos
	}
	d.objects.batch.RLock()
	defer d.objects.batch.RUnlock()
	for _, c := range d.compile() {
		status := c.status
		for _, j := range c.jobs {
			status.Targets += p.job(j)
		}
		p.monitors = append(p.monitors, status)
	}
	if d.options.Annotations {
		services, pods, err := d.annotationConfigs()
		if err != nil {
			return nil, err
		}
		p.annotations(services, pods)
	}
	p.sort()
	p.old, p.services = nil, nil
	d.last = p
	d.rejections.report(p.monitors)
	return p.outcome, nil
}

// annotationConfigs returns the configurations of the jobs of annotated objects,
// those of the last pass if there was one.
func (d *Discoverer) annotationConfigs() (services, pods *config.ScrapeConfig, err error) {
	if d.last != nil {
		for _, c := range d.last.configs {
			switch c.JobName {
			case jobAnnotatedServices:
				services = c
			case jobAnnotatedPods:
				pods = c
			}
		}
	}
	if services != nil && pods != nil {
		return services, pods, nil
	}
	if services, err = d.defaults.plain(jobAnnotatedServices); err != nil {
		return nil, nil, fmt.Errorf("configure annotated services: %w", err)
	}
	if pods, err = d.defaults.plain(jobAnnotatedPods); err != nil {
		return nil, nil, fmt.Errorf("configure annotated pods: %w", err)
	}
	return services, pods, nil
}

// Monitors tells what became of each monitor when targets were last computed,
// ordered by origin, kind, namespace and name. The slices within are shared: read
// only.
func (d *Discoverer) Monitors() []MonitorStatus {
	d.mtx.Lock()
	defer d.mtx.Unlock()
	if d.last == nil {
		return nil
	}
	return slices.Clone(d.last.monitors)
}

// HasSynced tells whether Run has called apply with the targets of a source that has
// synced, whatever came of it; from then on it stays true.
func (d *Discoverer) HasSynced() bool { return d.synced.Load() }

// Run runs src, and calls apply with what [Discoverer.Resolve] returns: first when
// the source has synced, and then after every change that changes the result.
// Changes are gathered for a moment, but none waits longer than about a second.
// When apply fails, the error is logged and apply is called again a few seconds
// later. apply is not called twice at a time.
//
// Run returns nil when ctx is done, after src has ended; or an error when src ends
// before.
func (d *Discoverer) Run(ctx context.Context, src Source, apply func([]*config.ScrapeConfig, map[string][]*targetgroup.Group) error) error {
	parent := ctx
	ctx, cancel := context.WithCancelCause(parent)
	var wg sync.WaitGroup
	defer func() {
		cancel(nil)
		wg.Wait()
	}()
	changes := make(chan struct{}, 1)
	changed := func() {
		select {
		case changes <- struct{}{}:
		default: // one is waiting already
		}
	}
	wg.Go(func() {
		err := src.Run(ctx, d.objects, changed)
		if err == nil {
			err = errors.New("it has ended")
		}
		cancel(fmt.Errorf("run source: %w", err))
	})
	d.loop(ctx, src, changes, apply)
	if parent.Err() != nil {
		return nil
	}
	return context.Cause(ctx)
}

// loop runs until ctx is done.
func (d *Discoverer) loop(ctx context.Context, src Source, changes <-chan struct{}, apply applyFunc) {
	var (
		applied *outcome
		retry   <-chan time.Time
		failure string
	)
	for {
		select {
		case <-ctx.Done():
			return
		case <-changes:
		case <-retry:
		}
		if !src.HasSynced() {
			continue
		}
		if applied != nil && !gather(ctx, changes) {
			return
		}
		next, err := d.resolve()
		if err == nil && applied.same(next) {
			continue
		}
		if err == nil {
			err = apply(slices.Clone(next.configs), maps.Clone(next.groups))
			// Also when it failed: one job that cannot be scraped must not keep
			// all others from being served.
			d.synced.Store(true)
		}
		if err != nil {
			if failure != err.Error() {
				d.logger.Error("cannot apply targets", "error", err)
			}
			failure, retry = err.Error(), time.After(applyRetry)
			continue
		}
		applied, retry, failure = next, nil, ""
	}
}

// gather waits until changes have ceased for a moment, or for so long that they
// must be applied all the same. It returns false when ctx is done.
func gather[T any](ctx context.Context, changes <-chan T) bool {
	limit := time.NewTimer(settleLimit)
	defer limit.Stop()
	quiet := time.NewTimer(settle)
	defer quiet.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-changes:
			quiet.Reset(settle)
		case <-quiet.C:
			return true
		case <-limit.C:
			return true
		}
	}
}
