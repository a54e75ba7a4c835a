package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/require"

	"github.com/promlet/promlet/adapter/catalog"
	"github.com/promlet/promlet/adapter/objects"
	"github.com/promlet/promlet/adapter/rules"
)

// fakeEngine has series in PromQL's notation, and answers the requests of a list.
type fakeEngine struct {
	mu     sync.Mutex
	series []string
	types  string         // the answer of /api/v1/metadata
	broken map[string]int // code by a part of the query
	asked  []string
}

func (f *fakeEngine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	match := r.FormValue("match[]")
	f.asked = append(f.asked, strings.TrimPrefix(r.URL.Path, "/api/v1/")+" "+match)
	for part, code := range f.broken {
		if strings.Contains(r.URL.Path+" "+match, part) {
			w.WriteHeader(code)
			return
		}
	}
	if strings.HasSuffix(r.URL.Path, "/metadata") {
		_, _ = fmt.Fprintf(w, `{"status":"success","data":%s}`, f.types)
		return
	}
	p := parser.NewParser(parser.Options{})
	matchers, err := p.ParseMetricSelector(match)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	found := map[string]bool{}
	for _, text := range f.series {
		series, err := p.ParseMetric(text)
		if err != nil {
			panic(err)
		}
		taken := true
		for _, m := range matchers {
			taken = taken && m.Matches(series.Get(m.Name))
		}
		if taken && strings.HasSuffix(r.URL.Path, "/values") {
			found[series.Get("__name__")] = true
		} else if taken {
			for name := range series.Map() {
				found[name] = true
			}
		}
	}
	list := []string{}
	for name := range found {
		list = append(list, name)
	}
	data, _ := json.Marshal(list) //nolint:errchkjson // strings
	_, _ = fmt.Fprintf(w, `{"status":"success","data":%s}`, data)
}

func (f *fakeEngine) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
	f.asked = nil
}

func compiled(t *testing.T, queries ...string) []*rules.Compiled {
	t.Helper()
	var set rules.Set
	for _, query := range queries {
		set.Custom = append(set.Custom, rules.Rule{
			SeriesQuery: query, Resources: rules.Resources{Template: "<<.Resource>>"}, MetricsQuery: "sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)",
		})
	}
	all, _, err := set.Compile(objects.NewKinds(nil, time.Now))
	require.NoError(t, err)
	return all
}

func TestList(t *testing.T) {
	f := &fakeEngine{types: `{"a_total":[{"type":"counter"}],"b":[{"type":"gauge"},{"type":"counter"}],"h":[{"type":"histogram"}],"om":[{"type":"counter"}]}`, series: []string{
		`a_total{namespace="x",pod="p"}`, `a_total{namespace="y",node="n"}`, `b{namespace="x"}`, `h_count{namespace="x",pod="p"}`, `om_total{namespace="x"}`,
		`other{job="z"}`, `unasked{pod="p"}`,
	}}
	e := newEngine(t, serving(t, f.ServeHTTP).URL)
	require.EqualError(t, e.Listed(), "the series of "+e.Name()+" have not been listed yet")
	require.NoError(t, e.Relist(t.Context()), "without rules nothing is asked")
	require.Empty(t, f.asked)
	all := compiled(t, `{namespace!=""}`, `other`, `missing{namespace!=""}`)
	e.SetRules(all)
	require.NoError(t, e.Relist(t.Context()))
	require.NoError(t, e.Listed())
	names, err := e.Names(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"a_total", "b", "h_count", "om_total", "other"}, names)
	var shown []string
	exposed, version := e.Exposed(0)
	for _, x := range exposed {
		shown = append(shown, fmt.Sprintf("%s %s %v", x.Name, x.Type, x.LabelNames))
	}
	require.Equal(t, []string{
		"a_total counter [namespace node pod]", "b unknown [namespace]", "h_count histogram [namespace pod]", "om_total counter [namespace]", "other  [job]",
	}, shown)
	labelNames := func(rule int, series string) []string {
		found, err := e.LabelNames(t.Context(), catalog.Mapping{Rule: all[rule], Series: series})
		require.NoError(t, err)
		return found
	}
	require.Equal(t, []string{"__name__", "namespace", "node", "pod"}, labelNames(0, "a_total"))
	require.Empty(t, labelNames(1, "a_total"))
	require.Equal(t, []string{"__name__", "job"}, labelNames(1, "other"))
	require.Empty(t, labelNames(2, "missing"))

	// A list does not read all known label names again. It reads those of a new name.
	f.set(func() { f.series = append(f.series, `new{namespace="x"}`) })
	require.NoError(t, e.Relist(t.Context()))
	names, err = e.Names(t.Context())
	require.NoError(t, err)
	require.Contains(t, names, "new")
	again, next := e.Exposed(version)
	require.Len(t, again, 6)
	require.NotEqual(t, version, next)
	again, last := e.Exposed(next)
	require.Nil(t, again)
	require.Equal(t, next, last)
}

// The number of requests of a list does not grow with names that are known.
func TestListAsksForLabelsOfAPart(t *testing.T) {
	f := &fakeEngine{types: `{}`}
	for i := range 300 {
		f.series = append(f.series, fmt.Sprintf(`s%d{namespace="x"}`, i))
	}
	e := newEngine(t, serving(t, f.ServeHTTP).URL)
	e.SetRules(compiled(t, `{namespace!=""}`))
	require.NoError(t, e.Relist(t.Context()))
	require.Len(t, f.asked, 302)
	for range labelsLists {
		f.set(func() {})
		require.NoError(t, e.Relist(t.Context()))
		require.Len(t, f.asked, 2+leastLabels)
	}
	require.Len(t, e.series.relister.intern, 1, "equal label names are one slice")
}

func TestListThatFails(t *testing.T) {
	f := &fakeEngine{types: `{}`, series: []string{`a{namespace="x"}`, `b{job="y"}`}}
	e := newEngine(t, serving(t, f.ServeHTTP).URL, func(o *Options) { o.Now = func() time.Time { return time.Unix(0, 0) } })
	all := compiled(t, `{namespace!=""}`, `{job!=""}`)
	e.SetRules(all)
	f.set(func() { f.broken = map[string]int{"values": http.StatusInternalServerError} })
	require.Error(t, e.Relist(t.Context()))
	require.EqualError(t, e.Listed(), e.Problems()[0][len("queries: "):])
	f.set(func() { f.broken = nil })
	require.NoError(t, e.Relist(t.Context()))
	require.Empty(t, e.Problems())

	// If the engine refuses a seriesQuery, its last names stay.
	f.set(func() {
		f.broken = map[string]int{`values {job`: http.StatusUnprocessableEntity}
		f.series = append(f.series, `c{namespace="x"}`, `d{job="y"}`)
	})
	require.Error(t, e.Relist(t.Context()))
	names, err := e.Names(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"a", "b", "c"}, names)
	require.Len(t, e.Problems(), 1)
	require.Contains(t, e.Problems()[0], `queries: the list of series is from 00:00:00; listing has failed since 00:00:00: seriesQuery {job!=""}: `)
	f.set(func() { f.broken = nil })
	require.NoError(t, e.Relist(t.Context()))

	// If it refuses a name, the labels of that name stay.
	f.set(func() { f.broken = map[string]int{`__name__="a"`: http.StatusUnprocessableEntity} })
	require.Error(t, e.Relist(t.Context()))
	require.Contains(t, e.Problems()[0], "labels of a: ")
	f.set(func() { f.broken = nil })
	require.NoError(t, e.Relist(t.Context()))

	// An engine that is down leaves the list as it was.
	f.set(func() { f.broken = map[string]int{"/": http.StatusBadGateway} })
	require.Error(t, e.Relist(t.Context()))
	names, err = e.Names(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"a", "b", "c", "d"}, names)
	require.Len(t, e.Problems(), 2)

	// The series of a new rule are not known yet.
	changed := compiled(t, `c`)
	e.SetRules(changed)
	_, err = e.LabelNames(t.Context(), catalog.Mapping{Rule: changed[0], Series: "c"})
	require.ErrorContains(t, err, "listing has failed since")
}

// Run lists at once, when the rules change and after a failure.
func TestRun(t *testing.T) {
	f := &fakeEngine{types: `{}`, series: []string{`a{namespace="x"}`, `b{job="y"}`}, broken: map[string]int{"values": http.StatusInternalServerError}}
	e := newEngine(t, serving(t, f.ServeHTTP).URL, func(o *Options) { o.RelistInterval = time.Hour })
	e.SetRules(compiled(t, `{namespace!=""}`))
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- e.Run(ctx) }()
	require.Eventually(t, func() bool { return len(e.Problems()) == 1 }, 5*time.Second, time.Millisecond)
	before := time.Now()
	f.set(func() { f.broken = nil })
	require.Eventually(t, func() bool { names, _ := e.Names(ctx); return len(names) == 1 }, 5*time.Second, time.Millisecond)
	e.SetRules(compiled(t, `{job!=""}`))
	require.Eventually(t, func() bool { names, _ := e.Names(ctx); return len(names) == 1 && names[0] == "b" }, 5*time.Second, time.Millisecond)
	require.True(t, e.ListedSince(before))
	stop()
	require.NoError(t, <-done)
}

func TestTargets(t *testing.T) {
	server := serving(t, says(http.StatusOK, `{"status":"success","data":{"activeTargets":[
		{"labels":{"namespace":"x","pod":"p","instance":"10.0.0.1:80"},"scrapeUrl":"http://10.0.0.1:80/metrics?token=secret","health":"up"},
		{"labels":{"namespace":"x","pod":"q"},"scrapeUrl":"http://10.0.0.2:80/metrics","health":"down","lastError":"<body>"},
		{"labels":{"namespace":"y","pod":"p"},"health":"up"}]}}`))
	require.Equal(t, []Target{{Address: "10.0.0.1:80/metrics", Up: true}, {Address: "10.0.0.2:80/metrics"}},
		newEngine(t, server.URL).Targets(t.Context(), "x", []string{"p", "q"}))
	require.Empty(t, newEngine(t, serving(t, http.NotFound).URL).Targets(t.Context(), "x", []string{"p"}))
}

// The targets of a large engine take megabytes: explanations at the same time ask for them once.
func TestTargetsAreListedOnce(t *testing.T) {
	var asked atomic.Int64
	release := make(chan struct{})
	server := serving(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		<-release
		says(http.StatusOK, `{"status":"success","data":{"activeTargets":[{"labels":{"namespace":"x","pod":"p"},"scrapeUrl":"http://a/metrics","health":"up"}]}}`)(w, r)
	})
	e := newEngine(t, server.URL)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if found := e.Targets(t.Context(), "x", []string{"p"}); len(found) != 1 {
				t.Errorf("%v", found)
			}
		})
	}
	require.Eventually(t, func() bool { return asked.Load() == 1 }, 5*time.Second, time.Millisecond)
	time.Sleep(20 * time.Millisecond) // for those that wait
	close(release)
	wg.Wait()
	require.EqualValues(t, 1, asked.Load())
}

// A request for an unknown metric starts a new list, but seldom, and ever more seldom for one metric.
func TestMissed(t *testing.T) {
	f := &fakeEngine{types: `{}`, series: []string{`a{namespace="x"}`}}
	now := time.Unix(1000, 0)
	e := newEngine(t, serving(t, f.ServeHTTP).URL, func(o *Options) { o.Now = func() time.Time { return now } })
	e.SetRules(compiled(t, `{namespace!=""}`))
	<-e.series.kick
	missed := func(after time.Duration, metric string) bool {
		now = now.Add(after)
		for range 3 {
			e.Missed(metric)
		}
		if len(e.series.kick) == 0 {
			return false
		}
		<-e.series.kick
		require.NoError(t, e.Relist(t.Context()))
		return true
	}
	require.False(t, missed(time.Hour, "b"), "Run has still to make the first list")
	require.NoError(t, e.Relist(t.Context()))
	require.False(t, missed(missedEvery-time.Second, "b"), "the list is new")
	require.True(t, missed(time.Second, "b"))
	require.False(t, missed(missedEvery-time.Second, "b"))
	require.True(t, missed(time.Second, "b"))
	require.False(t, missed(missedEvery, "b"), "it was in no list")
	require.True(t, missed(0, "c"), "another may be in the next one")
	require.True(t, missed(missedEvery, "b"))
	require.False(t, missed(3*missedEvery, "b"))
	require.True(t, missed(missedEvery, "b"))
	for range 10 {
		missed(e.opts.RelistInterval, "b")
	}
	require.Equal(t, e.opts.RelistInterval, e.series.missed["b"].pause)
}
