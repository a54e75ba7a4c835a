package scrape

import (
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/common/promslog"
	promscrape "github.com/prometheus/prometheus/scrape"
	"github.com/stretchr/testify/require"

	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/model/timestamp"
	"github.com/prometheus/prometheus/tsdb"
)

// difference is a sequence of answers that Prometheus' scraper and ours must
// turn into the same appends, scrape for scrape.
type difference struct {
	name    string
	job     string // YAML, beyond the name and the interval
	labels  model.LabelSet
	parseST bool
	ooo     time.Duration // out of order window of the storage
	answers []answer
}

type answer struct {
	status      int    // 0 is 200
	contentType string // "" is textType, "-" is none
	body        string // @-30s@ is the time 30 s before the test, in ms or, OpenMetrics, s
	gzip        bool
}

func text(bodies ...string) []answer {
	var out []answer
	for _, b := range bodies {
		out = append(out, answer{body: b})
	}
	return out
}

func om(bodies ...string) []answer {
	var out []answer
	for _, b := range bodies {
		out = append(out, answer{body: b + "# EOF\n", contentType: omType})
	}
	return out
}

var placeholder = regexp.MustCompile(`@([+-][0-9a-z]+)@`)

// at fills in the times.
func (a answer) at(now time.Time) answer {
	a.body = placeholder.ReplaceAllStringFunc(a.body, func(s string) string {
		d, err := time.ParseDuration(strings.Trim(s, "@"))
		if err != nil {
			panic(err)
		}
		if a.contentType == omType {
			return strconv.FormatFloat(float64(now.Add(d).UnixMilli())/1000, 'f', 3, 64)
		}
		return strconv.FormatInt(now.Add(d).UnixMilli(), 10)
	})
	return a
}

// theatre serves the answers, the last one for ever.
func theatre(t *testing.T, answers []answer) (address string, served *atomic.Int64) {
	served = &atomic.Int64{}
	now := time.Now()
	answers = slices.Clone(answers)
	for i := range answers {
		answers[i] = answers[i].at(now)
	}
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		a := answers[min(int(served.Add(1)), len(answers))-1]
		switch a.contentType {
		case "":
			w.Header().Set("Content-Type", textType)
		case "-":
			w.Header()["Content-Type"] = nil
		default:
			w.Header().Set("Content-Type", a.contentType)
		}
		body := []byte(a.body)
		if a.gzip {
			w.Header().Set("Content-Encoding", "gzip")
			body = gzipped(t, a.body)
		}
		if a.status != 0 {
			w.WriteHeader(a.status)
		}
		_, _ = w.Write(body)
	})
	return addressOf(s), served
}

func (d difference) config(t *testing.T, interval string) *config.Config {
	cfg, err := config.Load("scrape_configs:\n- job_name: j\n  scrape_interval: "+interval+"\n  scrape_timeout: "+interval+"\n  "+
		strings.ReplaceAll(d.job, "\n", "\n  ")+"\n", promslog.NewNopLogger())
	require.NoError(t, err)
	return cfg
}

func (d difference) storage(t *testing.T) *recorder {
	return &recorder{next: newTSDB(t, func(o *tsdb.Options) { o.OutOfOrderTimeWindow = d.ooo.Milliseconds() })}
}

// comparison is a difference on its way.
type comparison struct {
	difference
	cfg          *config.Config
	target       model.LabelSet
	served       *atomic.Int64
	theirs, mine *recorder
}

func (d difference) prepare(t *testing.T, interval string) *comparison {
	address, served := theatre(t, d.answers)
	return &comparison{
		difference: d, cfg: d.config(t, interval), served: served, theirs: d.storage(t), mine: d.storage(t),
		target: model.LabelSet{model.AddressLabel: model.LabelValue(address)}.Merge(d.labels),
	}
}

// runTheirs scrapes with Prometheus' manager.
func (c *comparison) runTheirs() error {
	m, err := promscrape.NewManager(&promscrape.Options{
		AppendMetadata: true, ParseST: c.parseST,
		DiscoveryReloadOnStartup: true, DiscoveryReloadInterval: model.Duration(10 * time.Millisecond),
	}, nil, nil, nil, c.theirs, prometheus.NewRegistry())
	if err != nil {
		return err
	}
	if err := m.ApplyConfig(c.cfg); err != nil {
		return err
	}
	sets := make(chan map[string][]*targetgroup.Group)
	done := make(chan error)
	go func() { done <- m.Run(sets) }()
	sets <- groups("j", &targetgroup.Group{Source: "s", Targets: []model.LabelSet{c.target}})
	for end := time.Now().Add(2 * soon); len(c.theirs.all()) < len(c.answers) && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
	m.Stop()
	close(sets)
	return <-done
}

// runOurs scrapes with a loop of ours at the same times.
func (c *comparison) runOurs(t *testing.T) {
	c.served.Store(0)
	m := newManager(t, c.mine, noLimits, func(o *Options) { o.ParseStartTimestamps = c.parseST })
	l := testLoop(t, m, c.cfg.ScrapeConfigs[0], c.target)
	l.timeout = soon
	for _, batch := range c.theirs.commits[:min(len(c.answers), len(c.theirs.commits))] {
		l.scrape(timestamp.Time(timeOf(batch)))
	}
}

// canonical prints a scrape: samples in order, then stale markers by name. What
// is known to differ is taken out: how long it took, and the texts and family
// names of synthetic series.
func canonical(batch []sample) []string {
	var out, stale []string
	for _, s := range batch {
		if isReport(s.name()) && s.lset.Get("job") == "j" {
			s.family, s.meta.Help = "", ""
			switch s.name() {
			case "scrape_duration_seconds":
				s.v = 0
			case "scrape_timeout_seconds":
				s.v = 0 // The test's.
			}
		}
		if s.stale() {
			stale = append(stale, s.String())
		} else {
			out = append(out, s.String())
		}
	}
	return append(out, sorted(stale)...)
}

// timeOf is the timestamp of a scrape: the synthetic series are the last.
func timeOf(batch []sample) int64 {
	t := int64(0)
	for _, s := range batch {
		if s.name() == "scrape_samples_scraped" {
			t = s.t
		}
	}
	return t
}

// compare gives what differs, "" if nothing does.
func (c *comparison) compare() string {
	if len(c.theirs.commits) < len(c.answers) || len(c.mine.commits) != len(c.answers) {
		return fmt.Sprintf("%d scrapes by Prometheus, %d by us, of %d", len(c.theirs.commits), len(c.mine.commits), len(c.answers))
	}
	for i := range c.mine.commits {
		if diff := cmp.Diff(canonical(c.theirs.commits[i]), canonical(c.mine.commits[i])); diff != "" {
			return fmt.Sprintf("scrape %d: %.200q\n%s", i+1, c.answers[i].body, diff)
		}
	}
	// The scrapes beyond the answers repeat the last one.
	if len(c.theirs.rolledBack) < len(c.mine.rolledBack) {
		return fmt.Sprintf("%d rolled back by Prometheus, %d by us", len(c.theirs.rolledBack), len(c.mine.rolledBack))
	}
	for i := range c.mine.rolledBack {
		if diff := cmp.Diff(canonical(c.theirs.rolledBack[i]), canonical(c.mine.rolledBack[i])); diff != "" {
			return fmt.Sprintf("rolled back %d: %s", i+1, diff)
		}
	}
	return ""
}

// run runs all of the differences at once, and gives what came of each.
func run(t *testing.T, ds []difference, interval string) map[string]string {
	var wg sync.WaitGroup
	cs := make([]*comparison, len(ds))
	errs := make([]error, len(ds))
	for i, d := range ds {
		c := d.prepare(t, interval)
		cs[i] = c
		wg.Go(func() { errs[i] = c.runTheirs() })
	}
	wg.Wait()
	out := map[string]string{}
	for i, c := range cs {
		require.NoError(t, errs[i])
		c.runOurs(t)
		out[c.name] = c.compare()
	}
	return out
}

func TestSameAsPrometheus(t *testing.T) {
	t.Parallel()
	all := slices.Concat(differences(), randomDifferences(), exporterDifferences(t))
	results := map[string]string{}
	left := all
	// Prometheus' timeout is its interval. On a busy machine it may run into it,
	// which would be a difference: what differs gets more time.
	for _, interval := range []string{"250ms", "1s", "4s"} {
		maps.Copy(results, run(t, left, interval))
		left = slices.DeleteFunc(slices.Clone(left), func(d difference) bool { return results[d.name] == "" })
	}
	for _, d := range all {
		t.Run(d.name, func(t *testing.T) { require.Empty(t, results[d.name]) })
	}
}
