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

	"github.com/promlet/promlet/discovery/monitors"
	"github.com/promlet/promlet/discovery/objects"
	"github.com/promlet/promlet/discovery/reach"
)

const (
	// referencePatience is how long the first targets wait for the Secrets and
	// ConfigMaps that monitors refer to.
	referencePatience = 10 * time.Second
	// rejectionRepeat is how often rejected and adjusted monitors get their Event again.
	rejectionRepeat = 30 * time.Minute
	// applyRetry is when a failed apply is tried again without a change.
	applyRetry = 5 * time.Second
)

// applyFunc takes a full set of jobs and targets.
type applyFunc = func([]*config.ScrapeConfig, map[string][]*targetgroup.Group) error

// Discoverer makes scrape configurations and targets of the objects in a Store. Its
// methods may be called at any time.
type Discoverer struct {
	store   *objects.Store
	options Options
	logger  *slog.Logger
	synced  atomic.Bool
	woken   chan struct{} // holds one: something may have changed
	metrics metrics
	// changedAt is when the first change came since one was looked at, in Unix
	// nanoseconds; 0 for none.
	changedAt atomic.Int64

	mtx        sync.Mutex
	compiler   *monitors.Compiler
	recompile  bool // the inline monitors have changed
	changes    *objects.Changes
	state      *state // nil before the first resolve
	rejections rejections
}

// New returns a Discoverer of what store holds. The Store gathers changes for it from
// then on, for as long as the Store is in use: make one Discoverer for a Store.
func New(store *objects.Store, opts Options) *Discoverer {
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.ScrapeInterval <= 0 {
		opts.ScrapeInterval = DefaultScrapeInterval
	}
	opts.ScrapeInterval = max(opts.ScrapeInterval, MinScrapeInterval)
	if opts.ScrapeTimeout <= 0 {
		opts.ScrapeTimeout = DefaultScrapeTimeout
	}
	compiler := monitors.NewCompiler(store, monitors.Options{
		Interval: opts.ScrapeInterval, Timeout: min(opts.ScrapeTimeout, opts.ScrapeInterval),
		Selector: opts.MonitorSelector, NamespaceSelector: opts.MonitorNamespaceSelector, FileAccess: opts.FileAccess,
		Enforcement: opts.Enforcement, IgnoreNamespaceSelectors: opts.IgnoreNamespaceSelectors, Shard: opts.Shard,
	})
	compiler.SetInline(opts.ServiceMonitors, opts.PodMonitors)
	return &Discoverer{
		store:      store,
		options:    opts,
		logger:     opts.Logger,
		woken:      make(chan struct{}, 1),
		metrics:    newMetrics(),
		compiler:   compiler,
		changes:    store.Follow(),
		rejections: rejections{logger: opts.Logger, events: opts.Events},
	}
}

// SetInline replaces the ServiceMonitors and PodMonitors of the Options, which it
// copies. A Run under way computes targets anew soon after; monitors and jobs that
// are as before, and what was discovered, stay as they are.
func (d *Discoverer) SetInline(serviceMonitors []*monitoringv1.ServiceMonitor, podMonitors []*monitoringv1.PodMonitor) {
	d.mtx.Lock()
	d.compiler.SetInline(serviceMonitors, podMonitors)
	d.recompile = true
	d.mtx.Unlock()
	d.wake()
}

// wake makes Run look for changes.
func (d *Discoverer) wake() {
	d.noteChange()
	select {
	case d.woken <- struct{}{}:
	default: // one is waiting already
	}
}

// Resolve computes the jobs and their targets from the objects as they are: the
// configurations ordered by job name, and the groups of targets by job name. A job
// without targets has a configuration and no groups. Run calls it; a program that
// fills the Store by itself may.
//
// A configuration or group that has not changed is the same pointer as in the last
// call. Everything returned is shared: read only.
//
// A target carries its final labels, before the configuration's own RelabelConfigs. Its
// job label is set, and is not the job's name.
func (d *Discoverer) Resolve() ([]*config.ScrapeConfig, map[string][]*targetgroup.Group, error) {
	next, _, err := d.resolve()
	if err != nil {
		return nil, nil, err
	}
	return slices.Clone(next.configs), maps.Clone(next.groups), nil
}

// resolve brings the state up to date with the objects. pending reports whether a
// monitor refers to something that has not been read yet.
func (d *Discoverer) resolve() (next *outcome, pending bool, err error) {
	d.mtx.Lock()
	defer d.mtx.Unlock()
	d.store.Read(func() { err = d.update() })
	if err != nil {
		return nil, false, err
	}
	return d.state.settle(), d.state.pending(), nil
}

func (d *Discoverer) update() (err error) {
	c := d.changes.Take()
	recompile := c.Monitors || d.recompile || c.Namespaces && d.options.MonitorNamespaceSelector != nil
	if d.state == nil {
		// All jobs are new, and new jobs are computed from all objects.
		c, recompile = objects.Changed{}, true
		next := &state{store: d.store}
		if d.options.Annotations {
			if next.annotated, err = newAnnotatedTargets(d.compiler, d.store); err != nil {
				return fmt.Errorf("configure annotated objects: %w", err)
			}
		}
		if job := d.options.Kubelets; job != nil && !d.options.Shard.Partial() {
			next.kubelets = newKubeletTargets(job, d.store)
		}
		d.state = next
	}
	s := d.state
	if recompile {
		d.recompile = false
		s.setMonitors(d.compiler.Compile(s.monitors))
		d.store.References().Want(monitors.ReferencesOf(s.monitors))
	}
	s.update(c)
	limited := s.limit(targetLimits{monitor: d.options.MonitorTargetLimit, namespace: d.options.NamespaceTargetLimit})
	if recompile || limited || s.annotated != nil && s.annotated.rejected {
		d.rejections.report(s.statuses())
	}
	s.kubelets.log(d.logger)
	return nil
}

// Monitors returns the status of each monitor, and annotated object, as of when targets
// were last computed, ordered by origin, kind, namespace and name. The slices within are
// shared: read only.
func (d *Discoverer) Monitors() []monitors.Status {
	d.mtx.Lock()
	defer d.mtx.Unlock()
	if d.state == nil {
		return nil
	}
	return d.state.statuses()
}

// UnreachableNodes returns the Nodes whose kubelet has no target, with the reason by their names.
// It is as of the last time that targets were computed.
func (d *Discoverer) UnreachableNodes() map[string]error {
	d.mtx.Lock()
	defer d.mtx.Unlock()
	if d.state == nil || d.state.kubelets == nil {
		return nil
	}
	return maps.Clone(d.state.kubelets.unreachable)
}

// ReachService reports which ServiceMonitors, and annotations of its own, select a
// Service, and what each of their endpoints makes of it. Objects are as they are now,
// monitors as they were when targets were last computed; before that, and for a Service
// that is not known, the report is empty.
func (d *Discoverer) ReachService(namespace, name string) (r reach.Report) {
	e, _ := d.explainer("")
	d.store.Read(func() { r = e.Service(namespace, name) })
	return r
}

// ReachPod is ReachService for the PodMonitors, and annotations of its own, that select
// a Pod.
func (d *Discoverer) ReachPod(namespace, name string) (r reach.Report) {
	e, through := d.explainer(namespace + "/" + name)
	d.store.Read(func() { r = e.Pod(namespace, name, through) })
	return r
}

// WhyNoTargets returns why a monitor or an annotated object has no targets, "" if that is not
// known. of is its status.
func (d *Discoverer) WhyNoTargets(of *monitors.Status) (why string) {
	if of.Origin != monitors.OriginAnnotation {
		e, _ := d.explainer("")
		d.store.Read(func() { why = e.NoTargets(of.Kind, of.Namespace, of.Name) })
		return why
	}
	report := d.ReachPod
	if of.Kind == "Service" {
		report = d.ReachService
	}
	for _, m := range report(of.Namespace, of.Name).Monitors {
		if m.Origin == of.Origin && len(m.Jobs) > 0 {
			return m.Jobs[0].Missing
		}
	}
	return ""
}

// explainer returns what explains the targets last computed, and the name of the
// annotated Service that a pod is scraped through, if any.
func (d *Discoverer) explainer(pod string) (e *reach.Explainer, through string) {
	d.mtx.Lock()
	defer d.mtx.Unlock()
	e = &reach.Explainer{Store: d.store, Compiler: d.compiler}
	if d.state == nil {
		return e, ""
	}
	e.Monitors = d.state.limited() // which never change
	if d.state.annotated != nil {
		e.Annotations = true
		through = d.state.annotated.coveredBy(pod)
	}
	return e, through
}

// HasSynced reports whether Run has called apply with the targets of a source that has
// synced, even if apply failed; from then on it stays true.
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
	if src == nil || apply == nil {
		return errors.New("run discovery: a source and apply are required")
	}
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
		err := src.Run(ctx, d.store, d.wake)
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
		patience time.Time // when the first targets stop waiting for references
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
		if resolved && !objects.Settle(ctx, d.woken) {
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
		if applied != nil && !pending.IsZero() { // the first time waits for the source
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
