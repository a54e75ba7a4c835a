package embedded

import (
	"errors"
	"log/slog"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
	promscrape "github.com/prometheus/prometheus/scrape"
	"github.com/stretchr/testify/require"

	"github.com/promlet/promlet/scrape"
)

// warmingUp is the readiness of a promlet with targets that are scraped every 10 s.
type warmingUp struct {
	*readiness
	clock    time.Time
	fault    error
	unstored error
	another  bool
	active   map[string][]*promscrape.Target
	seen     map[*promscrape.Target]scrape.Observation
	before   earlier
	resumed  bool
}

func newWarmingUp(instances ...string) *warmingUp {
	w := &warmingUp{clock: time.Now().Truncate(time.Second), active: map[string][]*promscrape.Target{}, seen: map[*promscrape.Target]scrape.Observation{}}
	for _, instance := range instances {
		w.active["job"] = append(w.active["job"], promscrape.NewTarget(
			labels.FromStrings("instance", instance, "__address__", instance, "__scheme__", "http", "__metrics_path__", "/metrics", "__scrape_interval__", "10s"),
			&config.ScrapeConfig{}, nil, nil))
	}
	w.readiness = &readiness{
		unfit:    func() error { return nil },
		storing:  func() error { return w.unstored },
		synced:   func() error { return w.fault },
		targets:  func() map[string][]*promscrape.Target { return w.active },
		observed: func() map[*promscrape.Target]scrape.Observation { return w.seen },
		earlier:  func(time.Time) earlier { return w.before },
		others:   func() bool { return w.another },
		logger:   slog.New(slog.DiscardHandler),
		now:      func() time.Time { return w.clock },
	}
	return w
}

// idOf is the ID of a target.
func idOf(t *promscrape.Target) uint64 {
	return t.Labels(labels.NewBuilder(labels.EmptyLabels())).Hash()
}

// scrape notes a scrape of instances that succeeds, and lets some time pass.
func (w *warmingUp) scrape(pass time.Duration, instances ...string) {
	for _, t := range w.active["job"] {
		if !slices.Contains(instances, t.URL().Host) {
			continue
		}
		t.Report(w.clock, time.Second, nil)
		o := w.seen[t]
		if o.Last = w.clock; o.Since.IsZero() {
			o.Since = w.clock
		}
		o.Target, o.Stored, o.Resumed = idOf(t), 1, w.resumed
		w.seen[t] = o
	}
	w.clock = w.clock.Add(pass)
}

func TestReadinessAlone(t *testing.T) {
	w := newWarmingUp("a:1", "b:1")
	w.fault = errors.New("pods have not been listed yet")
	require.Equal(t, w.fault, w.ready())
	w.fault = nil
	require.ErrorContains(t, w.ready(), "2 of 2 targets have not been scraped twice yet")
	w.scrape(3*time.Second, "a:1", "b:1")
	require.ErrorContains(t, w.ready(), "2 of 2")
	w.scrape(3*time.Second, "a:1")
	require.EqualError(t, w.ready(), "1 of 2 targets have not been scraped twice yet, such as b:1")
	w.scrape(3*time.Second, "b:1")
	require.NoError(t, w.ready())
	// And so it stays, whatever comes.
	w.another, w.active = true, newWarmingUp("c:1").active
	w.clock = w.clock.Add(time.Hour)
	require.NoError(t, w.ready())
}

// Alone, nobody would explain what is missing.
func TestReadinessAloneDoesNotWaitLong(t *testing.T) {
	w := newWarmingUp("slow:1")
	require.Error(t, w.ready())
	w.clock = w.clock.Add(30 * time.Second) // two intervals, and some
	require.Error(t, w.ready())
	w.clock = w.clock.Add(time.Second)
	require.NoError(t, w.ready())
}

// What cannot be scraped, is gone, or has come since is not waited for.
func TestReadinessWaitsForWhatCanBeHad(t *testing.T) {
	w := newWarmingUp("a:1", "down:1", "gone:1")
	require.ErrorContains(t, w.ready(), "3 of 3")
	w.active["job"][1].Report(w.clock, time.Second, errors.New("connection refused"))
	w.active["job"] = append(w.active["job"][:2], newWarmingUp("new:1").active["job"]...)
	w.clock = w.clock.Add(readinessTTL)
	require.EqualError(t, w.ready(), "1 of 3 targets have not been scraped twice yet, such as a:1")
	w.scrape(3*time.Second, "a:1")
	w.scrape(3*time.Second, "a:1")
	require.NoError(t, w.ready())
}

// Beside another replica there is time to try again what is down: the network of a
// new pod may come up after the pod.
func TestReadinessBesideAnotherTriesAgain(t *testing.T) {
	w := newWarmingUp("a:1")
	w.another = true
	w.active["job"][0].Report(w.clock, time.Second, errors.New("connection refused"))
	require.ErrorContains(t, w.ready(), "1 of 1")
	w.clock = w.clock.Add(2*10*time.Second + readinessSlack)
	require.ErrorContains(t, w.ready(), "1 of 1")
	w.clock = w.clock.Add(time.Second)
	require.NoError(t, w.ready())
}

// earlierBy is what an earlier process has observed of instances, from first to last ago.
func (w *warmingUp) earlierBy(first, last time.Duration, instances ...string) earlier {
	before := earlier{}
	for _, t := range w.active["job"] {
		if slices.Contains(instances, t.URL().Host) {
			before[idOf(t)] = &earlierSamples{w.clock.Add(-first), w.clock.Add(-last)}
		}
	}
	return before
}

// One of the two scrapes may be of the process before, unless it was too long ago.
func TestReadinessAfterARestart(t *testing.T) {
	w := newWarmingUp("a:1", "b:1", "new:1", "unread:1", "late:1", "long-ago:1")
	w.resumed = true
	w.before = w.earlierBy(10*time.Second, 5*time.Second, "a:1", "b:1")
	maps.Copy(w.before, w.earlierBy(35*time.Second, 25*time.Second, "long-ago:1"))
	require.ErrorContains(t, w.ready(), "6 of 6")
	w.scrape(time.Second, "a:1", "b:1", "new:1", "unread:1", "long-ago:1")
	unread := w.seen[w.active["job"][3]]
	unread.Stored = 0
	w.seen[w.active["job"][3]] = unread
	require.ErrorContains(t, w.ready(), "6 of 6", "some have not been scraped at all")
	w.scrape(2*time.Second, "late:1")
	require.ErrorContains(t, w.ready(), "3 of 6 targets have not been scraped twice yet")
	w.scrape(time.Second, "new:1", "late:1", "long-ago:1")
	require.NoError(t, w.ready())
}

// Without samples of an earlier process, nobody knows yet which series are read.
func TestReadinessOfWhatNobodyReads(t *testing.T) {
	w := newWarmingUp("a:1")
	w.scrape(time.Second, "a:1")
	o := w.seen[w.active["job"][0]]
	o.Stored = 0
	w.seen[w.active["job"][0]] = o
	require.ErrorContains(t, w.ready(), "1 of 1")
}

// A target that cannot be scraped at first is tried again before the sums lack it.
func TestReadinessAfterARestartWithATargetThatFails(t *testing.T) {
	w := newWarmingUp("a:1", "b:1")
	w.resumed = true
	w.before = w.earlierBy(10*time.Second, 5*time.Second, "a:1", "b:1")
	w.active["job"][1].Report(w.clock, time.Second, errors.New("connection refused"))
	w.scrape(time.Second, "a:1")
	require.ErrorContains(t, w.ready(), "1 of 2")
	w.scrape(time.Second, "b:1")
	require.NoError(t, w.ready())
}

// A sum is not known if targets have come or gone meanwhile.
func TestReadinessAfterARestartWithOtherTargets(t *testing.T) {
	w := newWarmingUp("a:1")
	w.before = w.earlierBy(10*time.Second, 5*time.Second, "a:1")
	w.scrape(time.Second, "a:1")
	require.ErrorContains(t, w.ready(), "1 of 1")
}

// Beside another replica the two processes must have observed an interval.
func TestReadinessAfterARestartBesideAnother(t *testing.T) {
	for _, long := range []bool{false, true} {
		w := newWarmingUp("a:1")
		w.another, w.resumed = true, true
		w.before = w.earlierBy(map[bool]time.Duration{false: 5 * time.Second, true: 12 * time.Second}[long], 5*time.Second, "a:1")
		w.scrape(time.Second, "a:1")
		if long {
			require.NoError(t, w.ready())
		} else {
			require.ErrorContains(t, w.ready(), "1 of 1")
		}
	}
}

func TestReadinessWithoutTargets(t *testing.T) {
	require.NoError(t, newWarmingUp().ready())
}

// Beside another replica there is time for what a slow counter takes: a scrape interval.
func TestReadinessBesideAnother(t *testing.T) {
	w := newWarmingUp("a:1")
	w.another = true
	for range 4 {
		require.ErrorContains(t, w.ready(), "another replica answers, and 1 of 1 targets have not been scraped for an interval yet")
		w.scrape(3*time.Second, "a:1")
	}
	w.scrape(time.Second, "a:1")
	require.NoError(t, w.ready())
}

func TestReadinessBesideAnotherDoesNotWaitForEver(t *testing.T) {
	w := newWarmingUp("slow:1")
	w.another = true
	require.Error(t, w.ready())
	w.clock = w.clock.Add(2*10*time.Second + readinessSlack + time.Second)
	require.NoError(t, w.ready())
}

// Two scrapes in a moment make no rate, and old ones make no value.
func TestReadinessIsThatOfValues(t *testing.T) {
	w := newWarmingUp("a:1")
	w.scrape(900*time.Millisecond, "a:1")
	w.scrape(2*time.Second, "a:1")
	require.ErrorContains(t, w.ready(), "1 of 1")
	w.scrape(21*time.Second, "a:1")
	require.ErrorContains(t, w.ready(), "1 of 1")
	w.scrape(19*time.Second, "a:1")
	require.NoError(t, w.ready())
}

// While samples are not stored, others are asked, but values are given as long as there are any.
func TestReadinessWhileNothingIsStored(t *testing.T) {
	w := newWarmingUp()
	require.NoError(t, w.ready())
	w.unstored = errors.New("no space left on device")
	require.EqualError(t, w.ready(), "samples are not stored: no space left on device")
	require.NoError(t, w.answerable())
	w.unstored = nil
	require.NoError(t, w.ready())
}

// What is stored may turn out not to be right; then it begins anew, and waits for samples again.
func TestReadinessBeginsAnew(t *testing.T) {
	w := newWarmingUp("a:1")
	w.scrape(3*time.Second, "a:1")
	w.scrape(0, "a:1")
	require.NoError(t, w.ready())
	w.unfit = func() error { return errors.New("the clock was set by -30s") }
	require.EqualError(t, w.answerable(), "the clock was set by -30s")
	w.restart(func() {
		clear(w.seen)
		w.clock = w.clock.Add(-30 * time.Second)
		w.unfit = func() error { return nil }
	})
	require.ErrorContains(t, w.ready(), "1 of 1")
	w.scrape(3*time.Second, "a:1")
	w.scrape(0, "a:1")
	require.NoError(t, w.ready())
}

// Callers without credentials are told how many targets are waited for, and no host.
func TestReadyNamesNoTarget(t *testing.T) {
	w := newWarmingUp("db.tenant.svc:1")
	p := &Promlet{readiness: w.readiness}
	for _, another := range []bool{false, true} {
		w.another = another
		w.clock = w.clock.Add(readinessTTL)
		require.ErrorContains(t, p.WhyNotReady(), ", such as db.tenant.svc:1")
		require.ErrorContains(t, p.Ready(), "1 of 1 targets have not been scraped")
		require.NotContains(t, p.Ready().Error(), "tenant")
	}
	w.fault = errors.New("waiting")
	require.Equal(t, w.fault, p.Ready())
}
