package scrape

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/metadata"

	"github.com/promlet/promlet/scrape/seriesroom"
)

// wants is a demand for some names, and for the synthetic series, which show what scrapes did.
func wants(names ...string) Demand {
	return Demand{Wanted: func(name string) bool { return isReport(name) || slices.Contains(names, name) }}
}

func onDemand(o *Options) { o.OnDemand = true }

// demandConfigs are jobs whose relabelling renames and drops series in ways that the names
// in the body decide, and in ways that they do not.
func demandConfigs() map[string]string {
	return map[string]string{
		"plain":             "",
		"honor":             "honor_labels: true",
		"tracked":           "track_timestamps_staleness: true",
		"dropped by name":   "metric_relabel_configs: [{source_labels: [__name__], regex: 'a|d', action: drop}]",
		"kept by name":      "metric_relabel_configs: [{source_labels: [__name__], regex: 'a|b', action: keep}]",
		"renamed":           "metric_relabel_configs: [{source_labels: [__name__], regex: 'c', replacement: 'a', target_label: __name__}]",
		"renamed by label":  "metric_relabel_configs: [{source_labels: [x], regex: '(.+)', replacement: 'a', target_label: __name__}]",
		"renamed by both":   "metric_relabel_configs: [{source_labels: [__name__, x], regex: 'b;1', replacement: 'a', target_label: __name__}]",
		"mapped":            "metric_relabel_configs: [{regex: 'x', replacement: 'z$1', action: labelmap}]",
		"other labels":      "metric_relabel_configs: [{regex: y, action: labeldrop}, {target_label: z, replacement: '1'}]",
		"native histograms": "convert_classic_histograms_to_nhcb: true",
	}
}

// On demand, wanted series are stored as they are when everything is stored: the same
// samples and markers at the same times. The synthetic series are the same as well.
func TestOnDemandIsExact(t *testing.T) {
	for name, job := range demandConfigs() {
		for seed := range uint64(4) {
			t.Run(fmt.Sprint(name, " ", seed), func(t *testing.T) {
				t.Parallel()
				rnd := rand.New(rand.NewPCG(seed, 7))
				start := time.Now()
				bodies := randomTexts(rnd, 40, start)
				all, some := record(t, job, bodies, start, noMutation), record(t, job, bodies, start, onDemand)
				for i := range all {
					wantedOf := func(batch []sample) (out []string) {
						for _, s := range batch {
							// The metadata of a series depends on all lines before it.
							s.ref, s.family, s.meta = 0, "", metadata.Metadata{}
							if s.name() == "a" || s.name() == "up" || s.name() == "scrape_samples_scraped" || s.name() == "scrape_samples_post_metric_relabeling" {
								out = append(out, s.String())
							}
						}
						slices.Sort(out)
						return out
					}
					require.Equal(t, wantedOf(all[i]), wantedOf(some[i]), "scrape %d of\n%s", i, bodies[i])
				}
			})
		}
	}
}

func noMutation(*Options) {}

// record scrapes the bodies, a second apart, into a storage.
func record(t *testing.T, job string, bodies []string, start time.Time, mutate func(*Options)) [][]sample {
	s := serveSequence(t, textType, bodies...)
	r := &recorder{next: newTSDB(t)}
	m := newManager(t, r, mutate)
	require.NoError(t, m.SetDemand(context.Background(), wants("a")))
	l := testLoop(t, m, jobOf(t, job), model.LabelSet{model.AddressLabel: model.LabelValue(addressOf(s.Server)), model.InstanceLabel: "i"})
	for i := range bodies {
		l.scrape(start.Add(time.Duration(i) * time.Second))
	}
	return r.all()
}

// jobOf is a job from YAML.
func jobOf(t testing.TB, job string) *config.ScrapeConfig {
	return (difference{job: job}).config(t).ScrapeConfigs[0]
}

// randomTexts makes n bodies over a few names: with series that come and go, explicit
// timestamps, repetitions, garbage, nothing, or a failure.
func randomTexts(rnd *rand.Rand, n int, start time.Time) []string {
	var out []string
	for range n {
		var b strings.Builder
		typed := map[string]bool{}
		for range rnd.IntN(8) {
			name := string(rune('a' + rnd.IntN(4)))
			if rnd.IntN(3) == 0 && !typed[name] {
				typed[name] = true
				if rnd.IntN(3) == 0 {
					b.WriteString("# HELP a \" Help.\n")
				}
				b.WriteString([]string{"# TYPE ", "# TYPE ", "#  TYPE\t", "#\tTYPE  ", " \t# TYPE ", "#TYPE "}[rnd.IntN(6)])
				fmt.Fprintf(&b, "%s %s\n", name, []string{"counter", "gauge", "histogram", "untyped"}[rnd.IntN(4)])
			}
			b.WriteString(name)
			b.WriteString([]string{"", fmt.Sprintf(`{x="%d"}`, rnd.IntN(3)), fmt.Sprintf(`{y="%d",x="%d"}`, rnd.IntN(2), rnd.IntN(2)), fmt.Sprintf(`{le="%d",job="z"}`, rnd.IntN(2))}[rnd.IntN(4)])
			fmt.Fprintf(&b, " %d", rnd.IntN(3))
			if rnd.IntN(6) == 0 {
				fmt.Fprintf(&b, " %d", start.Add(-time.Duration(rnd.IntN(20))*time.Second).UnixMilli())
			}
			b.WriteByte('\n')
		}
		if rnd.IntN(10) == 0 {
			b.WriteString("}{\n")
		}
		if rnd.IntN(15) == 0 {
			b.Reset()
			b.WriteString("!")
		}
		out = append(out, b.String())
	}
	return out
}

func TestDemandGrowsAndShrinks(t *testing.T) {
	s := serveBody(t, textType, "# TYPE a counter\n# HELP a As.\na{x=\"1\"} 1\na{x=\"2\"} 1\nb 1\n# TYPE c gauge\nc 1\n")
	r := &recorder{next: newTSDB(t)}
	m := newManager(t, r, onDemand)
	require.NoError(t, m.SetDemand(context.Background(), wants("a")))
	l := testLoop(t, m, jobConfig("j", slow), model.LabelSet{model.AddressLabel: model.LabelValue(addressOf(s))})
	m.jobs["j"] = l.job
	defer delete(m.jobs, "j")
	start := time.Now()
	scrape := func(i int) (body []string, report map[string]float64) {
		l.scrape(start.Add(time.Duration(i) * time.Second))
		samples, report := r.last(t)
		return sorted(values(samples)), report
	}
	for i := range 2 {
		body, report := scrape(i)
		require.Equal(t, []string{`{__name__="a", x="1"} 1`, `{__name__="a", x="2"} 1`}, body)
		require.EqualValues(t, 4, report["scrape_samples_scraped"])
		require.EqualValues(t, 4, report["scrape_samples_post_metric_relabeling"])
		require.EqualValues(t, []int{4, 0}[i], report["scrape_series_added"])
	}
	metrics, version := m.Catalog()
	slices.SortFunc(metrics, func(a, b Metric) int { return strings.Compare(a.Name, b.Name) })
	require.Equal(t, []string{"instance", "job", "x"}, metrics[0].LabelNames)
	require.Equal(t, "As.", metrics[0].Help)
	require.Equal(t, model.MetricTypeCounter, metrics[0].Type)
	require.Equal(t, []bool{true, false, false}, []bool{metrics[0].Stored, metrics[1].Stored, metrics[2].Stored})
	require.Equal(t, []int{2, 1, 1}, []int{metrics[0].Series, metrics[1].Series, metrics[2].Series})
	require.Equal(t, model.MetricTypeGauge, metrics[2].Type)
	require.Equal(t, version, m.CatalogVersion())

	require.NoError(t, m.SetDemand(context.Background(), wants("b", "nobody has it")))
	body, _ := scrape(2)
	require.Equal(t, []string{`{__name__="a", x="1"} stale`, `{__name__="a", x="2"} stale`, `{__name__="b"} 1`}, body)
	require.NoError(t, m.SetDemand(context.Background(), wants("a", "b")))
	body, _ = scrape(3)
	require.Equal(t, []string{`{__name__="a", x="1"} 1`, `{__name__="a", x="2"} 1`, `{__name__="b"} 1`}, body)
	require.Equal(t, version, m.CatalogVersion())
	require.NoError(t, m.SetDemand(context.Background(), wants()))
	body, report := scrape(4)
	require.Equal(t, []string{`{__name__="a", x="1"} stale`, `{__name__="a", x="2"} stale`, `{__name__="b"} stale`}, body)
	require.EqualValues(t, 1, report["up"])
	require.EqualValues(t, 4, report["scrape_samples_scraped"])
	require.Empty(t, l.cache.index)

	l.finish()
	metrics, _ = m.Catalog()
	require.Empty(t, metrics)
	require.NotEqual(t, version, m.CatalogVersion())
}

// Formats in which a series is not a line are parsed whole, and then filtered.
func TestOnDemandOfOtherFormats(t *testing.T) {
	for name, contentType := range map[string]string{"protobuf": pbType, "quoted": textType} {
		t.Run(name, func(t *testing.T) {
			body := "{\"things_total\"} 1\n{\"other\",x=\"1\"} 1\n"
			if contentType == pbType {
				body = protobuf(1)[0].body
			}
			s := serveSequence(t, contentType, body, body, body, body)
			r := &recorder{next: newTSDB(t)}
			m := newManager(t, r, onDemand)
			l := testLoop(t, m, jobConfig("j", slow), model.LabelSet{model.AddressLabel: model.LabelValue(addressOf(s.Server))})
			m.jobs["j"] = l.job
			defer delete(m.jobs, "j")
			start := time.Now()
			for i, d := range []Demand{wants(), wants("things_total"), wants("things_total"), wants()} {
				require.NoError(t, m.SetDemand(context.Background(), d))
				l.scrape(start.Add(time.Duration(i) * time.Second))
				samples, report := r.last(t)
				require.EqualValues(t, report["scrape_samples_scraped"], report["scrape_samples_post_metric_relabeling"])
				require.Greater(t, report["scrape_samples_scraped"], 1.)
				if _, known := l.target.GetMetadata("things_total"); contentType == pbType && i > 0 {
					require.Equal(t, i < 3, known, "the metadata of wanted names stays, scrape %d", i)
				}
				require.Equal(t, [][]string{{}, {`{__name__="things_total"} 1`}, {`{__name__="things_total"} 1`}, {`{__name__="things_total"} stale`}}[i], append([]string{}, values(samples)...))
			}
			metrics, _ := m.Catalog()
			require.GreaterOrEqual(t, len(metrics), 2)
		})
	}
}

// An error is reported with its line in the whole body.
func TestErrorsOfWhatIsWanted(t *testing.T) {
	s := serveSequence(t, textType, "a 1\nb 1\nb 2\nc 3\n", "a 1\nb 1\n\nb 2\nc x\n", "a 1\nb x\nc 1\n")
	r := &recorder{}
	m := newManager(t, r, onDemand)
	require.NoError(t, m.SetDemand(context.Background(), wants("c")))
	l := testLoop(t, m, jobConfig("j", slow), model.LabelSet{model.AddressLabel: model.LabelValue(addressOf(s.Server))})
	for range 2 {
		l.scrape(time.Now())
	}
	require.EqualError(t, l.target.LastError(), `line 5: "x" is not a number, in "c x"`)
	// Parse errors in skipped lines are not reported.
	l.scrape(time.Now())
	require.NoError(t, l.target.LastError())
}

// A name that becomes wanted is scraped at once, although its scheduled time is far.
func TestDemandIsMetAtOnce(t *testing.T) {
	inBubble(t, plain("a 1\nb 1\n"), func(t *testing.T, r *recorder, m *Manager) {
		m.opts.OnDemand = true
		require.NoError(t, m.SetDemand(context.Background(), wants()))
		require.NoError(t, m.Apply(one(jobConfig("j", every(time.Hour))), groups("j", group("target:80"))))
		time.Sleep(time.Minute)
		before, _ := ups(r)
		require.NoError(t, m.SetDemand(context.Background(), wants("z")))
		time.Sleep(time.Minute)
		times, _ := ups(r)
		require.Len(t, times, len(before), "nobody exposes it")
		start := time.Now().UnixMilli()
		require.NoError(t, m.SetDemand(context.Background(), wants("a")))
		time.Sleep(10 * time.Second)
		var got []int64
		for _, batch := range r.all() {
			for _, s := range batch {
				require.NotEqual(t, "b", s.name())
				if s.name() == "a" {
					got = append(got, s.t-start)
				}
			}
		}
		require.Equal(t, []int64{5, 5 + QuickGap.Milliseconds()}, got)
		require.NoError(t, m.SetDemand(context.Background(), wants()))
		time.Sleep(10 * time.Second)
		all, _ := ups(r)
		require.Len(t, all, len(times)+2, "nothing is scraped because a name is no longer wanted")
	})
}

// A name is being collected until all targets that expose it have been scraped since it has been wanted, or have failed.
func TestCollecting(t *testing.T) {
	var mode atomic.Int32 // of the second target: 0 answers, 1 waits, 2 fails
	goOn := make(chan struct{})
	second := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		switch mode.Load() {
		case 1:
			<-goOn
		case 2:
			w.WriteHeader(http.StatusTeapot)
		}
		w.Header().Set("Content-Type", textType)
		_, _ = io.WriteString(w, "a 1\nb 1\n")
	})
	first := serveBody(t, textType, "a 1\nb 1\n")
	r := &recorder{}
	m := newManager(t, r, onDemand)
	require.NoError(t, m.Apply(one(jobConfig("j", slow)), groups("j", group(addressOf(first), addressOf(second)))))
	scraped := func(n int) bool {
		metrics, _ := m.Catalog()
		i := slices.IndexFunc(metrics, func(metric Metric) bool { return metric.Name == "a" })
		return i >= 0 && metrics[i].Series == n
	}
	eventually(t, func() bool { return scraped(2) }, "both are scraped")
	require.True(t, m.Collecting("a"), "nobody has wanted it")
	require.False(t, m.Collecting("z"), "nobody exposes it")
	time.Sleep(2 * time.Millisecond) // so that it is wanted after the first scrapes

	mode.Store(1)
	require.NoError(t, m.SetDemand(t.Context(), wants("a")))
	eventually(t, func() bool {
		return slices.ContainsFunc(slices.Concat(r.all()...), func(s sample) bool { return s.name() == "a" })
	}, "one is stored")
	require.True(t, m.Collecting("a"))
	mode.Store(0)
	close(goOn)
	eventually(t, func() bool { return !m.Collecting("a") }, "both are stored")

	mode.Store(2)
	require.NoError(t, m.SetDemand(t.Context(), wants("a", "b")))
	eventually(t, func() bool { return !m.Collecting("b") }, "the other is down")
}

// Near the limit unread series are refused first, and vital ones last.
func TestSeriesLimit(t *testing.T) {
	handler := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", textType)
		for _, name := range []string{"unread", "read", "scaled"} {
			for i := range 60 {
				_, _ = fmt.Fprintf(w, "%s{i=\"%d\"} 1\n", name, i)
			}
		}
	}
	s := serve(t, handler)
	room := seriesroom.New(seriesroom.Limits{Series: 100})
	stored := map[string]int{}
	r := &recorder{next: newTSDB(t, counted(room)), refuse: func(s sample) error {
		if s.ref == 0 && !isReport(s.name()) {
			stored[s.name()]++
		}
		return nil
	}}
	m := newManager(t, r, func(o *Options) { o.SeriesRoom = room })
	require.NoError(t, m.SetDemand(context.Background(), Demand{
		Wanted: func(name string) bool { return name != "unread" },
		Vital:  func(name string) bool { return name == "scaled" },
	}))
	l := testLoop(t, m, jobConfig("j", slow), model.LabelSet{model.AddressLabel: model.LabelValue(addressOf(s))})
	for range 2 {
		l.scrape(time.Now())
		_, report := r.last(t)
		require.EqualValues(t, 1, report["up"])
		require.EqualValues(t, 180, report["scrape_samples_post_metric_relabeling"])
		require.Equal(t, map[string]int{"unread": 60, "read": 30, "scaled": 10}, stored)
		unneeded, needed := m.Refused()
		require.Zero(t, unneeded)
		require.Equal(t, 30+50, needed)
	}
	l.finish()
	_, needed := m.Refused()
	require.Zero(t, needed)
}
