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
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/tools/record"
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
	// referencePatience is how long the first targets wait for the Secrets and
	// ConfigMaps that monitors refer to.
	referencePatience = 10 * time.Second
	// rejectionRepeat is how often rejected monitors get their Event again.
	rejectionRepeat = 30 * time.Minute
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
	// the name of a monitor of the Source is rejected. They are copied. SetInline
	// replaces them.
	ServiceMonitors []*monitoringv1.ServiceMonitor
	PodMonitors     []*monitoringv1.PodMonitor
	// MonitorSelector and MonitorNamespaceSelector say which monitors of the Source
	// count, by their labels and by those of their namespace. nil means all.
	MonitorSelector          labels.Selector
	MonitorNamespaceSelector labels.Selector
	// FileAccess allows monitors to name files of promlet's own: bearerTokenFile and
	// the files of tlsConfig. Whoever may write a monitor can then have any such file
	// sent to a server of theirs.
	FileAccess bool
	// Events gets an Event on each rejected monitor. nil means none.
	Events record.EventRecorder
	// Registerer has the Discoverer's own metrics, promlet_discovery_*, while Run runs.
	// Nil: none are exported.
	Registerer prometheus.Registerer
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
	woken    chan struct{} // holds one: something may have changed
	metrics  metrics
	// changedAt is when the first change came since one was looked at, in Unix
	// nanoseconds; 0 for none.
	changedAt atomic.Int64

	mtx        sync.Mutex // guards the inline monitors among the options too
	changes    *changes
	state      *state // nil before the first resolve
	rejections rejections
}

// New returns a Discoverer of what objects hold, which take note of every change for
// it from then on: one for an Objects, as long as that is in use.
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
	opts.ServiceMonitors, opts.PodMonitors = inlineServiceMonitors(opts.ServiceMonitors), inlinePodMonitors(opts.PodMonitors)
	return &Discoverer{
		objects:    objects,
		options:    opts,
		defaults:   defaults{interval: opts.ScrapeInterval, timeout: min(opts.ScrapeTimeout, opts.ScrapeInterval)},
		logger:     opts.Logger,
		woken:      make(chan struct{}, 1),
		metrics:    newMetrics(),
		changes:    objects.follow(),
		rejections: rejections{logger: opts.Logger, events: opts.Events},
	}
}

// SetInline replaces the ServiceMonitors and PodMonitors of the Options, which it
// copies. A Run under way computes targets anew soon after; monitors and jobs that
// are as before, and what was discovered, stay as they are.
func (d *Discoverer) SetInline(serviceMonitors []*monitoringv1.ServiceMonitor, podMonitors []*monitoringv1.PodMonitor) {
	serviceMonitors, podMonitors = inlineServiceMonitors(serviceMonitors), inlinePodMonitors(podMonitors)
	d.mtx.Lock()
	d.options.ServiceMonitors, d.options.PodMonitors = serviceMonitors, podMonitors
	d.changes.record(func(c *changed) { c.monitors = true })
	d.mtx.Unlock()
	d.wake()
}

// wake makes Run look for changes.
func (d *Discoverer) wake() {
	d.noteChange()
	select {
	case d.woken <- struct{}{}:
	default: // it is about to
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
	next, _, err := d.resolve()
	if err != nil {
		return nil, nil, err
	}
	return slices.Clone(next.configs), maps.Clone(next.groups), nil
}

// resolve brings the state up to date with the objects. pending says that a monitor
// refers to something that has not been read yet.
func (d *Discoverer) resolve() (next *outcome, pending bool, err error) {
	d.mtx.Lock()
	defer d.mtx.Unlock()
	d.objects.batch.RLock()
	defer d.objects.batch.RUnlock()
	c := d.changes.take()
	if d.state == nil {
		c = changed{monitors: true}
		d.state = &state{objects: d.objects}
		if d.options.Annotations {
			if d.state.annotated, err = newAnnotatedTargets(d.defaults, d.objects); err != nil {
				d.state = nil
				return nil, false, fmt.Errorf("configure annotated objects: %w", err)
			}
		}
	}
	s := d.state
	monitors := c.monitors || c.namespaces && d.options.MonitorNamespaceSelector != nil
	if monitors {
		s.setMonitors(d.compile(s.compiledByKey()))
		d.objects.references.want(referred(s.compiled))
	}
	s.update(c)
	next = s.settle()
	if monitors || s.annotated != nil && s.annotated.rejected {
		d.rejections.report(s.statuses())
	}
	return next, s.pending(), nil
}

// Monitors tells what became of each monitor when targets were last computed,
// ordered by origin, kind, namespace and name. The slices within are shared: read
// only.
func (d *Discoverer) Monitors() []MonitorStatus {
	d.mtx.Lock()
	defer d.mtx.Unlock()
	if d.state == nil {
		return nil
	}
	return d.state.statuses()
}

// HasSynced tells whether Run has called apply with the targets of a source that has
// synced, whatever came of it; from then on it stays true.
func (d *Discoverer) HasSynced() bool { return d.synced.Load() }

// Run runs src, and calls apply with what [Discoverer.Resolve] returns: first when
// the source has synced, and then after every change that changes the result.
// Changes are gathered for a moment, but none waits longer than about a second.
// When apply fails, the error is logged and apply is called again a few seconds
// later. apply is not called twice at a time. Run may be called again when it has
// returned.
//
// Run returns nil when ctx is done, after src has ended; or an error when src ends
// before.
func (d *Discoverer) Run(ctx context.Context, src Source, apply func([]*config.ScrapeConfig, map[string][]*targetgroup.Group) error) error {
	unregister, err := d.register(src)
	if err != nil {
		return err
	}
	defer unregister()
	parent := ctx
	ctx, cancel := context.WithCancelCause(parent)
	var wg sync.WaitGroup
	defer func() {
		cancel(nil)
		wg.Wait()
	}()
	wg.Go(func() {
		err := src.Run(ctx, d.objects, d.wake)
		if err == nil {
			err = errors.New("it has ended")
		}
		cancel(fmt.Errorf("run source: %w", err))
	})
	d.loop(ctx, src, apply)
	if parent.Err() != nil {
		return nil
	}
	return context.Cause(ctx)
}

// loop runs until ctx is done.
func (d *Discoverer) loop(ctx context.Context, src Source, apply applyFunc) {
	repeat := time.NewTicker(rejectionRepeat)
	defer repeat.Stop()
	var (
		applied  *outcome
		resolved bool
		pending  time.Time // since when changes wait; zero for none
		patience time.Time // when what monitors refer to is no longer waited for
		retry    <-chan time.Time
		failure  string
	)
	for {
		select {
		case <-ctx.Done():
			return
		case <-repeat.C:
			d.repeatRejections()
			continue
		case <-d.woken:
		case <-retry:
		}
		if !src.HasSynced() {
			continue
		}
		if resolved && !gather(ctx, d.woken) {
			return
		}
		pending = d.pendingSince(pending)
		start := time.Now()
		next, unread, err := d.resolve()
		d.metrics.resolving.Observe(time.Since(start).Seconds())
		resolved = true
		if err == nil && applied == next {
			pending = time.Time{}
			continue
		}
		if patience.IsZero() {
			patience = time.Now().Add(referencePatience)
		}
		if err == nil && unread && applied == nil && time.Now().Before(patience) {
			retry = time.After(time.Until(patience))
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
			d.metrics.failures.Inc()
			continue
		}
		if applied != nil && !pending.IsZero() { // not the first time, which lists are waited for
			d.metrics.delay.Observe(time.Since(pending).Seconds())
		}
		d.metrics.applied.SetToCurrentTime()
		applied, retry, failure, pending = next, nil, "", time.Time{}
	}
}

func (d *Discoverer) repeatRejections() {
	d.mtx.Lock()
	defer d.mtx.Unlock()
	d.rejections.repeat()
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
