package embedded

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apilabels "k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/metrics/pkg/apis/custom_metrics"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/promlet/promlet/adapter/rules"
	"github.com/promlet/promlet/discovery"
	"github.com/promlet/promlet/scrape"
)

const (
	fleetSteps = 40
	// fleetError is how far from the truth a value may be; spreadError is that of a load that
	// is spread anew with each change.
	fleetError, spreadError = 0.02, 0.05
)

// fleetsPart names the environment variable that has the part of the fleets that a process checks, such as 0/2.
const fleetsPart = "PROMLET_FLEETS_PART"

// In random fleets whose pods join, leave, restart and fail, and whose collection may
// begin late, every answer about pods, Services, the owner and the namespace is the true
// rate, or absent while it cannot be known.
//
// A process for each processor checks a part of the fleets, in one thread. Two threads that fire timers of one synctest
// bubble at once share a context of the race detector, which crashes the process now and then (Go 1.26.8,
// runtime.(*timer).unlockAndRun).
func TestFleets(t *testing.T) {
	fleets := 300
	if n, err := strconv.Atoi(os.Getenv("PROMLET_FLEETS")); err == nil {
		fleets = n
	}
	if testing.Short() {
		fleets = 20
	}
	if part := os.Getenv(fleetsPart); part != "" {
		checkPart(t, part, fleets)
		return
	}
	parts := runtime.GOMAXPROCS(0)
	for i := range parts {
		part := fmt.Sprintf("%d/%d", i, parts)
		t.Run(part, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestFleets$", "-test.v", "-test.timeout=30m")
			cmd.Env = append(os.Environ(), fleetsPart+"="+part, fmt.Sprintf("PROMLET_FLEETS=%d", fleets), "GOMAXPROCS=1")
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, "%s", out)
			require.Contains(t, string(out), fmt.Sprintf("--- PASS: TestFleets/%d ", i), "it has checked fleets")
		})
	}
}

func checkPart(t *testing.T, part string, fleets int) {
	var first, parts int
	_, err := fmt.Sscanf(part, "%d/%d", &first, &parts)
	require.NoError(t, err)
	for seed := first; seed < fleets; seed += parts {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { checkFleet(t, uint64(seed), fleetSteps) }) //nolint:gosec // Not negative.
	}
}

func FuzzFleets(f *testing.F) {
	f.Add(uint64(1000))
	f.Fuzz(func(t *testing.T, seed uint64) { checkFleet(t, seed, fleetSteps) })
}

// watched is a fleet that is scraped and asked about.
type watched struct {
	*fleet
	*fleetServer
	discoverer *discovery.Discoverer
	begun      time.Time // of collection
	changed    time.Time // the last pod that came or went
	disturbed  time.Time // the last restart, or step of the clock
	log        []string
}

func checkFleet(t *testing.T, seed uint64, steps int) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, seed)
		dial, stop := f.serve()
		defer stop()
		w := &watched{fleet: f, discoverer: discovery.New(f.objects, discovery.Options{}), changed: time.Now()}
		w.fleetServer = newFleetServer(f, dir, dial)
		defer func() { w.stop() }()
		w.apply()
		late := f.IntN(steps / 2)
		if f.IntN(2) == 0 {
			late = 0
		}
		for step := range steps {
			if step == late {
				w.collect()
			}
			w.live(step)
			if !w.begun.IsZero() {
				w.ask()
			}
		}
	})
}

// change notes that a pod came or went.
func (w *watched) change(what, p string) {
	w.note("%s %s", what, p)
	w.changed = time.Now()
	w.apply()
}

func (w *watched) apply() {
	w.settle()
	configs, groups, err := w.discoverer.Resolve()
	require.NoError(w.t, err)
	require.NoError(w.t, w.promlet.apply(configs, groups))
}

// collect makes both metrics wanted.
func (w *watched) collect() {
	w.begun = time.Now()
	w.demand()
	w.note("collection begins")
}

func (w *watched) note(format string, args ...any) {
	w.log = append(w.log, time.Now().Format("15:04:05.000 ")+fmt.Sprintf(format, args...))
}

// live lets time pass, in which something may happen.
func (w *watched) live(step int) {
	events := 8
	if w.troubled {
		events = 11
	}
	event := w.IntN(events)
	switch {
	case event == 0 && len(w.pods) < 8:
		w.join()
		w.change("join", w.pods[len(w.pods)-1].Name)
	case event == 1 && len(w.pods) > 1:
		w.leave()
		w.change("leave", w.gone[len(w.gone)-1].pod)
	case event == 2 && !w.spread && step > 0:
		w.restart()
	case event == 3 && !w.spread:
		w.fail()
	case event >= 8:
		w.disturb(event)
	}
	time.Sleep(time.Duration(500+w.IntN(12_000)) * time.Millisecond)
	synctest.Wait()
}

func (w *watched) anExporter() *fleetExporter {
	p := w.pods[w.IntN(len(w.pods))]
	return p.exporters[w.IntN(len(p.exporters))]
}

// restart lets a counter begin anew. What it counted after its last scrape is lost, as
// with Prometheus.
func (w *watched) restart() {
	w.mu.Lock()
	defer w.mu.Unlock()
	e := w.anExporter()
	e.base, e.since, e.restarted = 0, time.Now(), time.Now()
	w.note("restart %s", e.address)
}

func (w *watched) fail() {
	w.mu.Lock()
	defer w.mu.Unlock()
	e := w.anExporter()
	now := time.Now()
	if now.After(e.failUntil) {
		e.failedFrom = now
	}
	e.failUntil = now.Add(time.Duration(w.IntN(60)) * time.Second)
	w.note("fail %s until %s", e.address, e.failUntil.Format("15:04:05.000"))
}

// part is what an exporter may count for in a sum.
type part uint8

const (
	partNone  part = iota // it must not count
	partMaybe             // it may count, whole
	partSome              // it may count, with less than it has
	partWhole             // it must count
)

// partOf is what an exporter counts for now. It must count once it has been scraped for an interval.
func (w *watched) partOf(e *fleetExporter, counter bool) part {
	now := time.Now()
	known := e.joined
	if w.begun.After(known) {
		known = w.begun
	}
	scrapes := w.interval + scrape.QuickGap + 2*time.Second
	if e.stamps > 0 {
		scrapes += 2 * e.stamps
	}
	restarted := counter && !e.restarted.IsZero() && now.Sub(e.restarted) < rules.DefaultRateWindow+time.Minute+3*w.interval
	switch {
	case !e.left.IsZero() && now.Sub(e.left) > w.interval:
		return partNone
	case now.Before(e.failUntil) && now.Sub(e.failedFrom) > 3*w.interval+time.Second:
		return partNone
	case restarted:
		return partSome
	case !e.left.IsZero(), now.Sub(known) < scrapes:
		return partMaybe
	case e.failUntil.After(e.joined) && now.Sub(e.failUntil) < 2*scrapes && e.failUntil.Sub(e.failedFrom) > 0:
		return partMaybe
	default:
		return partWhole
	}
}

// monitored are the exporters that monitors reach, those that have left among them.
func (w *watched) monitored(of func(*fleetExporter) bool) (all []*fleetExporter) {
	reached := map[string]bool{}
	for _, targets := range w.promlet.Scraper.TargetsActive() {
		for _, t := range targets {
			reached[t.URL().Host] = true
		}
	}
	for _, p := range w.pods {
		for _, e := range p.exporters {
			if reached[e.address] && of(e) {
				all = append(all, e)
			}
		}
	}
	for _, e := range w.gone {
		if of(e) {
			all = append(all, e)
		}
	}
	return all
}

func (w *watched) ask() {
	everything := func(*fleetExporter) bool { return true }
	for _, metric := range []string{"http_requests", "queue_depth"} {
		w.askPods(metric)
		for i := range w.services {
			w.askOne("services", fmt.Sprint("s", i), metric, everything)
		}
		w.askOne("deployments.apps", "w", metric, everything)
		w.askOne("namespaces", "shop", metric, everything)
	}
}

func (w *watched) askPods(metric string) {
	info := provider.CustomMetricInfo{GroupResource: schema.GroupResource{Resource: "pods"}, Namespaced: true, Metric: metric}
	list, err := w.promlet.Provider.GetMetricBySelector(w.t.Context(), "shop", apilabels.Everything(), info, nil)
	if err != nil {
		require.True(w.t, apierrors.IsNotFound(err), "%v", err)
		list = &custom_metrics.MetricValueList{}
	}
	for _, p := range w.pods {
		of := func(e *fleetExporter) bool { return e.pod == p.Name }
		i := slices.IndexFunc(list.Items, func(v custom_metrics.MetricValue) bool { return v.DescribedObject.Name == p.Name })
		if i < 0 {
			w.check("pods/"+p.Name, metric, nil, err, of)
			continue
		}
		w.check("pods/"+p.Name, metric, &list.Items[i], nil, of)
	}
	require.LessOrEqual(w.t, len(list.Items), len(w.pods))
}

func (w *watched) askOne(resource, name, metric string, of func(*fleetExporter) bool) {
	gr := schema.ParseGroupResource(resource)
	object := types.NamespacedName{Namespace: "shop", Name: name}
	if resource == "namespaces" {
		object.Namespace = ""
	}
	v, err := w.promlet.Provider.GetMetricByName(w.t.Context(), object, provider.CustomMetricInfo{GroupResource: gr, Namespaced: object.Namespace != "", Metric: metric}, nil)
	if status := apierrors.APIStatus(nil); err != nil {
		require.True(w.t, errors.As(err, &status) && status.Status().Code == http.StatusNotFound, "%v", err)
	}
	w.check(resource+"/"+name, metric, v, err, of)
}

// check compares an answer with the truth.
func (w *watched) check(object, metric string, v *custom_metrics.MetricValue, absent error, of func(*fleetExporter) bool) {
	counter := metric == "http_requests"
	if w.spread && counter && object[:4] == "pods" && time.Since(w.changed) < rules.DefaultRateWindow+2*w.interval {
		return // its load is not steady
	}
	var sum, less float64
	var maybe []float64
	required := false
	oldest, ownStamps := time.Now(), time.Duration(0)
	for _, e := range w.monitored(of) {
		amount := e.depth
		if counter {
			amount = e.rate
		}
		switch w.partOf(e, counter) {
		case partWhole:
			sum += amount
			required = true
		case partSome:
			less += amount
		case partMaybe:
			maybe = append(maybe, amount)
		}
		if e.joined.Before(oldest) {
			oldest = e.joined
		}
		ownStamps = max(ownStamps, e.stamps)
	}
	if v == nil {
		if required && time.Since(w.disturbed) > w.patience() {
			w.fault("%s %s is absent, and should be %g (+%g, %v): %v", object, metric, sum, less, maybe, absent)
		}
		return
	}
	got := v.Value.AsApproximateFloat64()
	most := fleetError
	if w.spread {
		most = spreadError
		if counter && object[:4] != "pods" {
			sum, maybe = spreadLoad, nil
		}
		if counter && object[:4] == "depl" && time.Since(w.changed) < w.interval {
			return // of an owner only the pods that there are now are asked for
		}
	}
	if !within(got, sum, less, maybe, most) {
		w.fault("%s %s is %g, and should be %g (+%g, %v)", object, metric, got, sum, less, maybe)
	}
	w.checkTimes(object, metric, v, counter, oldest, ownStamps)
}

// patience is for how long after a disturbance there may be no values: until all targets have been scraped twice, or have
// failed. One that fails first takes longer.
func (w *watched) patience() time.Duration {
	for _, p := range w.pods {
		for _, e := range p.exporters {
			if e.failUntil.After(w.disturbed) {
				return 2*w.interval + readinessSlack + 3*time.Second
			}
		}
	}
	return max(w.interval, 10*time.Second) + scrape.QuickGap + 3*time.Second
}

// checkTimes compares what an answer says of itself with the truth. ownStamps is the longest time between the stamps
// that exporters put on their samples. A window that lacks about one interval counts as full, as in PromQL.
func (w *watched) checkTimes(object, metric string, v *custom_metrics.MetricValue, counter bool, oldest time.Time, ownStamps time.Duration) {
	slack := 3 * ownStamps
	if age := w.now().Sub(v.Timestamp.Time); age < 0 || age > 3*w.interval+slack+time.Second {
		w.fault("%s %s is of %s ago", object, metric, age)
	}
	if !counter {
		require.Nil(w.t, v.WindowSeconds)
		return
	}
	since := oldest
	if w.begun.After(since) {
		since = w.begun
	}
	if window := time.Duration(*v.WindowSeconds) * time.Second; window > rules.DefaultRateWindow+2*w.interval || window > time.Since(since)+slack+w.interval*11/10+time.Second {
		w.fault("%s %s has a window of %s, but was collected for %s", object, metric, window, time.Since(since))
	}
}

// within reports whether a value is a sum, with any of what it may hold beside.
func within(got, sum, less float64, maybe []float64, most float64) bool {
	if len(maybe) > 0 {
		return within(got, sum, less, maybe[1:], most) || within(got, sum+maybe[0], less, maybe[1:], most)
	}
	slack := math.Max(most*math.Abs(sum+less), 0.002)
	return got >= sum-slack && got <= sum+less+slack
}

func (w *watched) fault(format string, args ...any) {
	w.t.Helper()
	for _, line := range w.log {
		w.t.Log(line)
	}
	for _, p := range w.pods {
		for _, e := range p.exporters {
			w.t.Logf("%s: %g/s, depth %g, stamps %s, joined %s", e.address, e.rate, e.depth, e.stamps, e.joined.Format("15:04:05.000"))
		}
	}
	require.FailNow(w.t, time.Now().Format("15:04:05.000 ")+fmt.Sprintf(format, args...), "%d Services, every %s, spread %v, collection since %s", w.services, w.interval, w.spread, w.begun.Format("15:04:05.000"))
}
