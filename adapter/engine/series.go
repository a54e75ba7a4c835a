package engine

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/promlet/promlet/adapter/catalog"
	"github.com/promlet/promlet/adapter/rules"
)

// series has the engine's series names as of the last list.
type series struct {
	engine *Engine
	kick   chan struct{} // makes Run list now

	listing  sync.Mutex // held while a list is made
	relister *relister

	mu       sync.Mutex
	rules    []*rules.Compiled
	rulesAt  time.Time // when they came into force
	listed   *list     // nil before the first
	failing  string    // why the last attempt failed
	failedAt time.Time // of the first attempt that failed in a row
	endedAt  time.Time // of the last list
	missed   map[string]miss
}

// miss is what is known of a metric that requests named and that no series makes.
type miss struct {
	next  time.Time // the earliest list because of it
	pause time.Duration
}

// list has the series names of one time. It never changes.
type list struct {
	at      time.Time // when it began
	version uint64
	names   []string // sorted
	exposed []catalog.Exposed
	// labels has the label names by selector and series name.
	labels map[string]map[string][]string
}

func newSeries(e *Engine) *series {
	return &series{engine: e, kick: make(chan struct{}, 1), relister: newRelister(e)}
}

func (s *series) wake() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

func (s *series) last() *list {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.listed
}

// problem returns why the list is missing or old, "" if it is neither.
func (s *series) problem() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.failing == "":
		return ""
	case s.listed == nil:
		return "no series are known, because listing failed: " + s.failing
	default:
		return fmt.Sprintf("the list of series is from %s; listing has failed since %s: %s",
			s.listed.at.UTC().Format(time.TimeOnly), s.failedAt.UTC().Format(time.TimeOnly), s.failing)
	}
}

// SetRules sets the rules whose series are listed. Run makes a new list soon after.
func (e *Engine) SetRules(compiled []*rules.Compiled) {
	s := e.series
	s.mu.Lock()
	s.rules, s.rulesAt = compiled, e.opts.Now()
	s.mu.Unlock()
	s.wake()
}

// Listed returns an error until the series have been listed once.
func (e *Engine) Listed() error {
	if e.series.last() != nil {
		return nil
	}
	if problem := e.series.problem(); problem != "" {
		return fmt.Errorf("%s", problem)
	}
	return fmt.Errorf("the series of %s have not been listed yet", e.Name())
}

// ListedSince reports whether the last list began after a time.
func (e *Engine) ListedSince(since time.Time) bool {
	last := e.series.last()
	return last != nil && last.at.After(since)
}

// ListProblem returns why the list of series is missing or old, "" if it is neither.
func (e *Engine) ListProblem() string { return e.series.problem() }

// Names implements catalog.Index. It returns the names of the last list, none before the first.
func (e *Engine) Names(context.Context) ([]string, error) {
	if last := e.series.last(); last != nil {
		return slices.Clone(last.names), nil
	}
	return nil, nil
}

// LabelNames implements catalog.Index from the last list. It ignores the other matchers. It returns an [*Error] if the
// series of the rule have not been listed.
func (e *Engine) LabelNames(_ context.Context, m catalog.Mapping, _ ...*labels.Matcher) ([]string, error) {
	if last := e.series.last(); last != nil {
		if found, ok := last.labels[selectorText(m.Rule.Matchers)]; ok {
			return slices.Clone(found[m.Series]), nil
		}
	}
	reason := cmp.Or(e.series.problem(), "the series of "+m.Rule.String()+" have not been listed yet")
	return nil, &Error{Engine: e.Name(), Reason: reason, Unavailable: true}
}

// Exposed returns the series names with their labels and types, and a version that changes with them. It returns nil
// names if the version is the known one.
func (e *Engine) Exposed(known uint64) ([]catalog.Exposed, uint64) {
	last := e.series.last()
	if last == nil || last.version == known {
		return nil, known
	}
	return last.exposed, last.version
}

// firstRetry and lastRetry are the shortest and the longest pause after a failed list.
const firstRetry, lastRetry = time.Second, 30 * time.Second

// Run lists the engine's series until ctx is done: at once, then every [Options.RelistInterval], and sooner after a
// failure or [Engine.Missed]. After a failed list the last one stays.
func (e *Engine) Run(ctx context.Context) error {
	var retry time.Duration
	for {
		pause := e.opts.RelistInterval
		if err := e.Relist(ctx); err != nil && ctx.Err() == nil {
			retry = min(max(firstRetry, 2*retry), lastRetry, pause)
			pause = retry
		} else {
			retry = 0
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-e.series.kick:
			timer.Stop()
		case <-timer.C:
		}
	}
}

const (
	// missedEvery is the shortest time between the end of a list and the next list that Missed starts.
	missedEvery = 30 * time.Second
	// maxMissed is the maximum number of metrics that Missed remembers.
	maxMissed = 1000
)

// Missed makes Run list the engine's series at once. Callers call it after each request for an unknown metric: the engine
// may have got that metric after the last list. It does nothing within 30 seconds of the last list. For one metric the
// time to the next list doubles, up to [Options.RelistInterval].
func (e *Engine) Missed(metric string) {
	s, now := e.series, e.opts.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.missed[metric]
	if s.listed == nil || now.Before(m.next) || now.Sub(s.endedAt) < missedEvery {
		return
	}
	if s.missed == nil || len(s.missed) >= maxMissed {
		s.missed = map[string]miss{}
	}
	m.pause = min(max(missedEvery, 2*m.pause), e.opts.RelistInterval)
	m.next = now.Add(m.pause)
	s.missed[metric] = m
	s.endedAt = now // until that list ends
	s.wake()
}

// Relist lists the engine's series once. Without rules it does nothing.
func (e *Engine) Relist(ctx context.Context) error {
	s := e.series
	s.listing.Lock()
	defer s.listing.Unlock()
	s.mu.Lock()
	compiled, last := s.rules, s.listed
	s.mu.Unlock()
	if compiled == nil {
		return nil // SetRules wakes Run
	}
	next, err := s.relister.list(ctx, compiled, last)
	s.replace(ctx, next, err)
	s.mu.Lock()
	s.endedAt = e.opts.Now()
	s.mu.Unlock()
	return err
}

// replace sets the list to the next one, unless that is nil, and notes the error.
func (s *series) replace(ctx context.Context, next *list, err error) {
	e := s.engine
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.failing
	s.failing = ""
	if err != nil {
		s.failing = clip(err.Error(), maxReported)
	}
	switch {
	case s.failing == "":
		s.failedAt = time.Time{}
		e.metrics.listed.Set(float64(next.at.UnixMilli()) / 1000)
	case before == "":
		s.failedAt = e.opts.Now()
		if ctx.Err() == nil {
			e.opts.Logger.Warn("could not list the engine's series, the last list stays", "engine", e.Name(), "err", err)
		}
	}
	if next == nil {
		return
	}
	if s.listed != nil {
		next.version = s.listed.version
	}
	if s.listed == nil || !slices.Equal(s.listed.names, next.names) || !sameExposed(s.listed.exposed, next.exposed) {
		next.version++
	}
	if s.listed == nil || before != "" && s.failing == "" {
		e.opts.Logger.Info("the engine's series are listed", "engine", e.Name(), "names", len(next.names))
	}
	s.listed = next
	e.metrics.names.Set(float64(len(next.names)))
}

func sameExposed(a, b []catalog.Exposed) bool {
	return slices.EqualFunc(a, b, func(x, y catalog.Exposed) bool {
		return x.Name == y.Name && x.Type == y.Type && slices.Equal(x.LabelNames, y.LabelNames)
	})
}

// newList makes a list from label names by selector and series name.
func newList(at time.Time, found map[string]map[string][]string, typeOf func(string) model.MetricType) *list {
	l := &list{at: at, labels: found}
	all := map[string][]string{}
	for _, byName := range found {
		for name, labelNames := range byName {
			if known, ok := all[name]; ok && !slices.Equal(known, labelNames) {
				labelNames = slices.Concat(known, labelNames)
				slices.Sort(labelNames)
				labelNames = slices.Compact(labelNames)
			}
			all[name] = labelNames
		}
	}
	l.names = slices.Sorted(maps.Keys(all))
	for _, name := range l.names {
		isLabel := func(label string) bool { return label == model.MetricNameLabel }
		l.exposed = append(l.exposed, catalog.Exposed{Name: name, LabelNames: slices.DeleteFunc(slices.Clone(all[name]), isLabel), Type: typeOf(name)})
	}
	return l
}

// selectorText returns matchers in PromQL. The same matchers in another order give the same text.
func selectorText(matchers []*labels.Matcher) string {
	parts := make([]string, len(matchers))
	for i, m := range matchers {
		parts[i] = m.String()
	}
	slices.Sort(parts)
	return "{" + strings.Join(parts, ",") + "}"
}
