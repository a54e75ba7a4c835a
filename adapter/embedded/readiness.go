package embedded

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	promscrape "github.com/prometheus/prometheus/scrape"

	"github.com/promlet/promlet/discovery/kubelets"
	"github.com/promlet/promlet/scrape"
	"github.com/promlet/promlet/tsdb"
)

const (
	// maxReadinessWait is the longest time that a promlet waits for samples. After that it
	// answers, and the answers explain what is still missing.
	maxReadinessWait = 2 * time.Minute
	// readinessSlack is added to a wait for two scrape intervals.
	readinessSlack = 10 * time.Second
	// readinessTTL is how long the result of a check is cached.
	readinessTTL = 200 * time.Millisecond
)

// readiness decides when a promlet that has just started, or begun anew, has enough samples
// to answer. A rate needs two scrapes. If all targets go on from an earlier process and can be
// scraped, one of the two may be of that process. While another replica answers, there is time to
// scrape all targets for a whole interval: slow counters need it, and a sum may lack what only later
// scrapes find.
type readiness struct {
	unfit    func() error // why stored samples cannot be right, nil if they can
	storing  func() error // why samples are not stored, nil if they are
	synced   func() error // nil once targets are known
	targets  func() map[string][]*promscrape.Target
	observed func() map[*promscrape.Target]scrape.Observation
	earlier  func(from time.Time) earlier
	others   func() bool  // reports whether another replica answers
	listed   func() error // why the series of an engine are not known yet; nil without one
	kubelets func() error // why kubelets have not been scraped twice yet; nil if they are not scraped
	started  time.Time
	logger   *slog.Logger
	now      func() time.Time

	mtx     sync.Mutex
	since   time.Time       // when targets became known; zero: they are not
	waiting map[uint64]bool // the targets at that time, by the hash of their labels
	before  earlier         // nil: not read yet
	warm    bool
	looked  time.Time // when last was set
	last    error     // the result of the last check
}

func (p *Promlet) newReadiness() *readiness {
	r := &readiness{
		unfit:    p.DB.Unfit,
		storing:  p.DB.Storing,
		synced:   p.synced,
		targets:  p.monitored,
		observed: p.Scraper.Observed,
		earlier:  p.observedEarlier,
		others:   p.otherReplicaAnswers,
		logger:   p.opts.Logger,
		now:      p.opts.Now,
		started:  p.opts.Now(),
	}
	if p.opts.Engine != nil {
		r.listed = p.opts.Engine.Listed
	}
	if p.reported != nil {
		r.kubelets = p.reported.Ready
	}
	return r
}

// monitored returns the targets without kubelets. Kubelets have a readiness of their own, and
// metrics of applications do not depend on it.
func (p *Promlet) monitored() map[string][]*promscrape.Target {
	targets := p.Scraper.TargetsActive()
	delete(targets, kubelets.JobName)
	return targets
}

// synced returns why the targets are not known yet, nil when they are.
func (p *Promlet) synced() error {
	reason := "waiting for the list of objects to scrape"
	switch {
	case p.opts.discovers() && p.Discoverer.HasSynced(), !p.opts.discovers() && p.opts.Source.HasSynced():
		return nil
	case !p.opts.scrapes():
		reason = "waiting for the list of objects"
	}
	problems := p.opts.Source.Problems()
	if len(problems) == 0 {
		return errors.New(reason)
	}
	return &notReady{
		public:  fmt.Sprintf("%s (problems: %d, named in promlet's log and at /-/ready of its web port)", reason, len(problems)),
		details: ": " + strings.Join(problems, "; "),
	}
}

// ready returns why clients should ask another replica: promlet cannot answer, or soon cannot.
// It is nil if promlet is ready. Only those who may see all namespaces may read the details.
func (r *readiness) ready() error {
	if err := r.answerable(); err != nil {
		return err
	}
	if err := r.storing(); err != nil {
		return fmt.Errorf("samples are not stored: %w", err)
	}
	if r.kubelets != nil {
		if err := r.kubelets(); err != nil {
			return err
		}
	}
	if r.listed != nil && r.now().Sub(r.started) < maxReadinessWait {
		if err := r.listed(); err != nil {
			return &notReady{public: "waiting for the first list of the engine's series", details: ": " + err.Error()}
		}
	}
	return nil
}

// restart calls f and then forgets what was checked. answerable blocks meanwhile.
func (r *readiness) restart(f func()) {
	r.mtx.Lock()
	defer r.mtx.Unlock()
	f()
	r.warm, r.since, r.looked, r.before = false, time.Time{}, time.Time{}, nil
}

// answerable returns why promlet cannot answer yet, nil once it can.
func (r *readiness) answerable() error {
	if err := r.unfit(); err != nil {
		return err
	}
	if err := r.synced(); err != nil {
		return err
	}
	r.mtx.Lock()
	defer r.mtx.Unlock()
	if now := r.now(); !r.warm && now.Sub(r.looked) >= readinessTTL {
		r.last = r.look()
		r.looked = now
	}
	return r.last
}

func (r *readiness) look() error {
	active := r.active()
	if r.since.IsZero() {
		r.since = r.now()
		r.waiting = map[uint64]bool{}
		for hash := range active {
			r.waiting[hash] = true
		}
	}
	alone := !r.others()
	pending := r.pending(active, alone)
	var longest time.Duration // interval
	for _, t := range pending {
		longest = max(longest, interval(t))
	}
	waited := r.now().Sub(r.since)
	if len(pending) == 0 || waited > min(2*longest+readinessSlack, maxReadinessWait) {
		r.warm = true
		r.logger.Info("ready to answer", "targets", len(r.waiting), "withoutSamples", len(pending), "waited", waited.Round(time.Millisecond))
		return nil
	}
	reason := fmt.Sprintf("another replica answers, and %d of %d targets have not been scraped for an interval yet", len(pending), len(r.waiting))
	if alone {
		reason = fmt.Sprintf("%d of %d targets have not been scraped twice yet", len(pending), len(r.waiting))
	}
	// The URL's parameters may be secrets.
	return &notReady{public: reason, details: ", such as " + pending[0].URL().Host}
}

// active returns the current targets by the hash of their labels.
func (r *readiness) active() map[uint64]*promscrape.Target {
	active := map[uint64]*promscrape.Target{}
	builder := labels.NewBuilder(labels.EmptyLabels())
	for _, targets := range r.targets() {
		for _, t := range targets {
			active[t.Labels(builder).Hash()] = t
		}
	}
	return active
}

// pending returns the targets to wait for: those known at the start that still exist, are not
// down, and have too few samples.
func (r *readiness) pending(active map[uint64]*promscrape.Target, alone bool) (pending []*promscrape.Target) {
	observed := r.observed()
	goOn := true // all targets do so from an earlier process, and have been scraped
	for hash := range r.waiting {
		t := active[hash]
		if t == nil {
			continue
		}
		goOn = goOn && observed[t].Resumed && !observed[t].Last.IsZero() && t.Health() == promscrape.HealthGood
		if !r.enough(t, observed[t], alone) && !r.givenUp(t, alone) {
			pending = append(pending, t)
		}
	}
	if !goOn || len(pending) == 0 {
		return pending
	}
	if r.before == nil {
		var longest time.Duration // interval
		for _, t := range pending {
			longest = max(longest, interval(t))
		}
		r.before = r.earlier(r.started.Add(-tsdb.FreshIntervals * longest))
	}
	return slices.DeleteFunc(pending, func(t *promscrape.Target) bool {
		o := observed[t]
		unread := o.Stored == 0 // nobody reads the target's series: which are read is known from before
		return unread || r.enough(t, r.before.continued(o, interval(t)), alone)
	})
}

// enough reports whether a target has been observed for long enough, and lately.
func (r *readiness) enough(t *promscrape.Target, o scrape.Observation, alone bool) bool {
	span := tsdb.MinSpan
	if !alone {
		span = max(span, interval(t))
	}
	return r.now().Sub(o.Last) <= tsdb.FreshIntervals*interval(t) && o.Last.Sub(o.Since) >= span
}

// givenUp reports whether a target that is down is not waited for any more. While another
// replica answers, the target gets more time, because this pod's own network may not be up yet.
func (r *readiness) givenUp(t *promscrape.Target, alone bool) bool {
	return t.Health() == promscrape.HealthBad && (alone || r.now().Sub(r.since) > 2*interval(t)+readinessSlack)
}

// interval returns the time between two scrapes. It is valid, or the job is not scraped.
func interval(t *promscrape.Target) time.Duration {
	d, _ := model.ParseDuration(t.GetValue(model.ScrapeIntervalLabel))
	return time.Duration(d)
}

// notReady is why promlet cannot answer yet. The details name targets, namespaces and
// Secrets.
type notReady struct{ public, details string }

// Error implements error.
func (e *notReady) Error() string { return e.public + e.details }

// whole returns why no value can be right: promlet is not ready, or scrapes only one shard. It is nil if values can be right.
func (p *Promlet) whole() error {
	if shard := p.opts.Discovery.Shard; shard.Partial() {
		return fmt.Errorf("this promlet scrapes shard %d of %d only (%s): query the engine that all shards write to", shard.Index, shard.Count, p.opts.Names.Shard)
	}
	return public(p.readiness.answerable())
}

// public returns the error without its details, which name objects of all namespaces.
func public(err error) error {
	if reason, ok := errors.AsType[*notReady](err); ok {
		return errors.New(reason.public)
	}
	return err
}

// Ready returns why clients should ask another replica, nil if promlet has enough samples to
// answer and stores new ones. The reason may be shown to anyone: /readyz answers callers
// without credentials.
func (p *Promlet) Ready() error { return public(p.readiness.ready()) }

// WhyNotReady returns what Ready does, with details: names of targets, namespaces and Secrets.
func (p *Promlet) WhyNotReady() error { return p.readiness.ready() }
