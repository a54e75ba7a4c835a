package scrape

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	config_util "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/prometheus/prometheus/discovery/targetgroup"
)

// phase is what the two scrapers are given at some moment, and what the targets serve from
// then on, for as long as Prometheus takes to end what is gone.
type phase struct {
	job     string // YAML
	noJob   bool
	lasts   time.Duration // 0 is phaseLasts
	targets []model.LabelSet
	bodies  map[string]string // by host; "" for those not named
}

// phaseLasts is no multiple of the interval, so that no phase begins while a target is being
// scraped.
const phaseLasts = 6*stepEvery + 3*time.Second

func at(addresses ...string) []model.LabelSet {
	var out []model.LabelSet
	for _, a := range addresses {
		out = append(out, model.LabelSet{model.AddressLabel: model.LabelValue(a)})
	}
	return out
}

// runPhases takes one of the two scrapers through the phases. It returns the values and ends that were
// stored of each series, without repetitions.
func runPhases(t *testing.T, phases []phase, scraperOf newScraper) map[string][]string {
	var now atomic.Int64
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p := phases[now.Load()]
		body, ok := p.bodies[r.Host]
		if !ok {
			body = p.bodies[""]
		}
		if body == "500" {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", textType)
		_, _ = w.Write([]byte(body))
	})
	r := &recorder{next: newHeadModel(0, 0)}
	inBubbleWith(t, h, func(t *testing.T, opts ...config_util.HTTPClientOption) {
		var s scraper
		for i, p := range phases {
			now.Store(int64(i))
			cfg := difference{job: p.job}.config(t)
			g := groups("j", &targetgroup.Group{Source: "s", Targets: p.targets})
			if p.noJob {
				cfg.ScrapeConfigs, g = nil, nil
			}
			if i == 0 {
				s = scraperOf(t, difference{reload: 10 * time.Millisecond}, cfg, r, opts...)
				defer s.stop()
			} else {
				s.configure(cfg)
			}
			s.start(g)
			time.Sleep(cmp.Or(p.lasts, phaseLasts))
			synctest.Wait()
		}
	})
	return histories(r)
}

func histories(r *recorder) map[string][]string {
	out := map[string][]string{}
	for _, batch := range r.all() {
		for _, s := range batch {
			if s.err != nil {
				continue
			}
			v, key := fmt.Sprint(s.v), s.lset.String()
			if s.stale() {
				v = "stale"
			}
			if h := out[key]; len(h) == 0 || h[len(h)-1] != v {
				out[key] = append(h, v)
			}
		}
	}
	return out
}

func TestTargetsSameAsPrometheus(t *testing.T) {
	t.Parallel()
	const dropB = "relabel_configs: [{source_labels: [__address__], regex: 'b:80', action: drop}]"
	named := func(address, x string) []model.LabelSet {
		return []model.LabelSet{{model.AddressLabel: model.LabelValue(address), "instance": "i", "x": model.LabelValue(x)}}
	}
	body := func(b string) map[string]string { return map[string]string{"": b} }
	for name, phases := range map[string][]phase{
		"target goes":          {{targets: at("a:80", "b:80"), bodies: body("m 1\n")}, {targets: at("a:80"), bodies: body("m 2\n")}},
		"all go and come back": {{targets: at("a:80", "b:80"), bodies: body("m 1\n")}, {}, {targets: at("b:80"), bodies: body("m 2\nn 1\n")}},
		"target comes":         {{targets: at("a:80"), bodies: body("m 1\n")}, {targets: at("a:80", "b:80"), bodies: body("m 1\n")}},
		"the same twice":       {{targets: at("a:80", "a:80", "a:80"), bodies: body("m 1\n")}, {targets: at("a:80"), bodies: body("m 2\n")}, {}},
		"failing target goes":  {{targets: at("a:80"), bodies: body("500")}, {}},
		"target fails, then goes": {
			{targets: at("a:80"), bodies: body("m 1\n")}, {targets: at("a:80"), bodies: body("500")}, {},
		},
		"target fails half-way, then goes": {
			{targets: at("a:80"), bodies: body("m 1\nn 1\n")}, {targets: at("a:80"), bodies: body("m 2\n&\n")}, {},
		},
		"relabelling drops a target": {
			{targets: at("a:80", "b:80"), bodies: body("m 1\n")}, {job: dropB, targets: at("a:80", "b:80"), bodies: body("m 1\n")}, {targets: at("a:80", "b:80"), bodies: body("m 2\n")},
		},
		"relabelling relabels targets": {
			{targets: at("a:80"), bodies: body("m 1\n")}, {job: "relabel_configs: [{target_label: x, replacement: y}]", targets: at("a:80"), bodies: body("m 1\n")},
		},
		"labels of a target change": {{targets: named("a:80", "1"), bodies: body("m 1\n")}, {targets: named("a:80", "2"), bodies: body("m 1\n")}},
		"target moves":              {{targets: named("a:80", "1"), bodies: body("m 1\nn 1\n")}, {targets: named("b:80", "1"), bodies: body("m 2\no 1\n")}},
		"target moves and fails":    {{targets: named("a:80", "1"), bodies: body("m 1\nn 1\n")}, {targets: named("b:80", "1"), bodies: body("500")}},
		"limit changes":             {{targets: at("a:80"), bodies: body("m 1\nn 1\n")}, {job: "sample_limit: 1", targets: at("a:80"), bodies: body("m 1\nn 1\n")}, {targets: at("a:80"), bodies: body("m 1\n")}},
		"metric relabelling changes": {
			{targets: at("a:80"), bodies: body("m 1\nn 1\n")}, {job: "metric_relabel_configs: [{source_labels: [__name__], regex: n, action: drop}]", targets: at("a:80"), bodies: body("m 2\nn 2\n")},
		},
		"honor_labels changes": {
			{targets: at("a:80"), bodies: body("m{job=\"k\"} 1\nn 1\n")}, {job: "honor_labels: true", targets: at("a:80"), bodies: body("m{job=\"k\"} 1\nn 2\n")},
		},
		"target limit": {
			{targets: at("a:80", "b:80"), bodies: body("m 1\n")}, {job: "target_limit: 1", targets: at("a:80", "b:80"), bodies: body("m 1\n")}, {job: "target_limit: 1", targets: at("a:80"), bodies: body("m 1\n")},
		},
		"explicit timestamps": {{targets: at("a:80"), bodies: body("m 1 946684800000\nn 1\n")}, {}},
		"explicit timestamps, staleness tracked": {
			{job: "track_timestamps_staleness: true", targets: at("a:80"), bodies: body("m 1 946684800000\nn 1\n")}, {job: "track_timestamps_staleness: true"},
		},
		"interval by label changes": {
			{targets: at("a:80"), bodies: body("m 1\n")}, {targets: []model.LabelSet{{model.AddressLabel: "a:80", "__scrape_interval__": "8s", "__scrape_timeout__": "3s"}}, bodies: body("m 2\n")}, {},
		},
		"bad targets beside good ones": {
			{targets: append(at("a:80", "b:80:80", ""), model.LabelSet{model.AddressLabel: "c:80", "__scrape_interval__": "x"}), bodies: body("m 1\n")}, {},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ours, theirs := runPhases(t, phases, newOurs), runPhases(t, phases, newTheirs)
			require.NotEmpty(t, theirs)
			// Prometheus restarts loops at other times than ours, and then counts series as
			// new.
			for _, h := range []map[string][]string{ours, theirs} {
				maps.DeleteFunc(h, func(series string, _ []string) bool { return strings.Contains(series, "scrape_series_added") })
			}
			require.Empty(t, gocmp.Diff(theirs, ours), "- Prometheus, + ours")
		})
	}
}

// A difference that doc.go describes: stale markers are written at once.
func TestTargetsUnlikePrometheus(t *testing.T) {
	t.Parallel()
	m1 := map[string]string{"": "m 1\n"}
	for name, phases := range map[string][]phase{
		"target goes for less than two intervals": {{targets: at("a:80"), bodies: m1}, {lasts: stepEvery}, {targets: at("a:80"), bodies: m1}},
		"job goes": {{targets: at("a:80"), bodies: m1}, {noJob: true}, {targets: at("a:80"), bodies: m1}},
	} {
		const series = `{__name__="m", instance="a:80", job="j"}`
		require.Equal(t, []string{"1"}, runPhases(t, phases, newTheirs)[series], name)
		require.Equal(t, []string{"1", "stale", "1"}, runPhases(t, phases, newOurs)[series], name)
	}
}
