package scrape

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	promscrape "github.com/prometheus/prometheus/scrape"
	"github.com/stretchr/testify/require"

	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"

	"github.com/promlet/promlet/scrape/internal/reason"
)

// loopsByAddress returns the running loops of a job.
func loopsByAddress(m *Manager, job string) map[string]*loop {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := map[string]*loop{}
	if j := m.jobs[job]; j != nil {
		for _, l := range j.loops {
			out[l.target.GetValue(model.AddressLabel)] = l
		}
	}
	return out
}

func one(cfg *config.ScrapeConfig) []*config.ScrapeConfig { return []*config.ScrapeConfig{cfg} }

func TestApplyKeepsWhatDidNotChange(t *testing.T) {
	m := newManager(t, &recorder{})
	cfg := jobConfig("j", every(time.Hour))
	a, b := group("10.0.0.1:1", "10.0.0.2:1"), group("10.0.0.3:1")
	require.NoError(t, m.Apply(one(cfg), groups("j", a, b)))
	before := loopsByAddress(m, "j")
	require.Len(t, before, 3)

	for name, apply := range map[string]func() error{
		"same pointers":         func() error { return m.Apply(one(cfg), groups("j", a, b)) },
		"other order":           func() error { return m.Apply(one(cfg), groups("j", b, a)) },
		"equal groups":          func() error { return m.Apply(one(cfg), groups("j", group("10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1"))) },
		"the same target twice": func() error { return m.Apply(one(cfg), groups("j", a, b, group("10.0.0.3:1"))) },
		"equal configuration":   func() error { return m.Apply(one(jobConfig("j", every(time.Hour))), groups("j", a, b)) },
		"relabelling that has no effect": func() error {
			return m.Apply(one(jobConfig("j", every(time.Hour), func(c *config.ScrapeConfig) {
				c.RelabelConfigs = []*relabel.Config{dropRule("nothing")}
			})), groups("j", a, b))
		},
		"other labels before relabelling": func() error {
			g := group("10.0.0.1:1", "10.0.0.2:1")
			g.Labels = model.LabelSet{"__meta_x": "y"}
			return m.Apply(one(cfg), groups("j", g, b))
		},
	} {
		require.NoError(t, apply(), name)
		after := loopsByAddress(m, "j")
		require.Len(t, after, 3, name)
		for address, l := range before {
			require.Same(t, l, after[address], name)
			require.NoError(t, l.ctx.Err(), name)
		}
	}

	// One goes, one comes, the others stay.
	require.NoError(t, m.Apply(one(cfg), groups("j", group("10.0.0.1:1", "10.0.0.4:1"), b)))
	after := loopsByAddress(m, "j")
	require.Len(t, after, 3)
	require.Same(t, before["10.0.0.1:1"], after["10.0.0.1:1"])
	require.Same(t, before["10.0.0.3:1"], after["10.0.0.3:1"])
	require.NotNil(t, after["10.0.0.4:1"])
	require.Error(t, before["10.0.0.2:1"].ctx.Err())
}

func dropRule(value string) *relabel.Config {
	rc := relabel.DefaultRelabelConfig
	rc.Action = relabel.Drop
	rc.SourceLabels = model.LabelNames{model.AddressLabel}
	rc.Regex = relabel.MustNewRegexp(value)
	return &rc
}

func dropMetric(name string) []*relabel.Config {
	rc := dropRule(name)
	rc.SourceLabels = model.LabelNames{model.MetricNameLabel}
	return []*relabel.Config{rc}
}

// Labels before relabelling, which status pages show, are updated.
func TestDiscoveredLabelsFollow(t *testing.T) {
	m := newManager(t, &recorder{})
	cfg := jobConfig("j", every(time.Hour))
	require.NoError(t, m.Apply(one(cfg), groups("j", group("10.0.0.1:1"))))
	g := group("10.0.0.1:1")
	g.Labels = model.LabelSet{"__meta_pod": "p"}
	require.NoError(t, m.Apply(one(cfg), groups("j", g)))
	lb := labels.NewBuilder(labels.EmptyLabels())
	require.Equal(t, "p", targetAt(t, m, "j", "10.0.0.1:1").DiscoveredLabels(lb).Get("__meta_pod"))
}

func TestApplyDoesNotChangeItsArguments(t *testing.T) {
	m := newManager(t, &recorder{})
	cfg := jobConfig("j", every(time.Hour), func(c *config.ScrapeConfig) {
		c.RelabelConfigs = []*relabel.Config{dropRule("x")}
		c.ScrapeProtocols = nil
	})
	require.NoError(t, m.Apply(one(cfg), groups("j", group("10.0.0.1:1"))))
	require.Nil(t, cfg.ScrapeProtocols)
	require.Equal(t, model.UnsetValidation, cfg.RelabelConfigs[0].NameValidationScheme)
}

func TestChangesThatNeedNewLoops(t *testing.T) {
	yes := true
	for name, change := range map[string]func(*config.ScrapeConfig){
		"honor_labels":           func(c *config.ScrapeConfig) { c.HonorLabels = true },
		"interval":               every(2 * time.Hour),
		"sample_limit":           func(c *config.ScrapeConfig) { c.SampleLimit = 5 },
		"basic auth":             func(c *config.ScrapeConfig) { c.HTTPClientConfig.FollowRedirects = false },
		"path":                   func(c *config.ScrapeConfig) { c.MetricsPath = "/x" },
		"params":                 func(c *config.ScrapeConfig) { c.Params = map[string][]string{"a": {"b", "c"}} },
		"metric relabelling":     func(c *config.ScrapeConfig) { c.MetricRelabelConfigs = []*relabel.Config{dropRule("x")} },
		"native histograms":      func(c *config.ScrapeConfig) { c.ScrapeNativeHistograms = &yes },
		"extra synthetic series": func(c *config.ScrapeConfig) { c.ExtraScrapeMetrics = &yes },
	} {
		t.Run(name, func(t *testing.T) {
			m := newManager(t, &recorder{})
			g := group("10.0.0.1:1")
			require.NoError(t, m.Apply(one(jobConfig("j", every(time.Hour))), groups("j", g)))
			before := loopsByAddress(m, "j")["10.0.0.1:1"]
			require.NoError(t, m.Apply(one(jobConfig("j", every(time.Hour), change)), groups("j", g)))
			after := loopsByAddress(m, "j")["10.0.0.1:1"]
			require.NotSame(t, before, after)
			require.Error(t, before.ctx.Err())
			require.NoError(t, after.ctx.Err())
			require.Len(t, m.TargetsActive()["j"], 1)
		})
	}
}

// New settings take effect without a gap in the series, and series that they no longer
// produce go stale with the first scrape.
func TestSettingsChangeLeavesNoGap(t *testing.T) {
	t.Parallel()
	s := serveBody(t, textType, "a 1\nb 1\n")
	r := &recorder{next: newTSDB(t)}
	m := newManager(t, r)
	g := group(addressOf(s))
	require.NoError(t, m.Apply(one(jobConfig("j")), groups("j", g)))
	running(t, r, addressOf(s), 2)

	cfg := jobConfig("j", func(c *config.ScrapeConfig) {
		c.MetricRelabelConfigs = dropMetric("b")
	})
	require.NoError(t, m.Apply(one(cfg), groups("j", g)))
	n := len(r.all())
	eventually(t, func() bool { return len(r.all()) > n+1 }, "scrapes with the new settings")
	stale := 0
	for i, batch := range r.all() {
		for _, e := range batch {
			if e.stale() {
				stale++
				require.Equal(t, []string{`{__name__="b"} stale`}, values([]sample{e}))
				require.NoError(t, e.err)
				require.GreaterOrEqual(t, i, n-1)
			}
		}
	}
	require.Equal(t, 1, stale)
	dropped, of := m.DroppedOf("j")
	require.Equal(t, []int{1, 2}, []int{dropped, of})
}

// A pod that comes back under another address, with the same labels, continues its
// series, and the series that it no longer has go stale.
func TestTargetMovesAddress(t *testing.T) {
	t.Parallel()
	old := serveBody(t, textType, "a 1\nb 1\n")
	replacement := serveBody(t, textType, "a 5\n")
	r := &recorder{next: newTSDB(t)}
	m := newManager(t, r)
	cfg := jobConfig("j")
	at := func(address string) *targetgroup.Group {
		g := group(address)
		g.Labels = model.LabelSet{"instance": "pod-0"}
		return g
	}
	require.NoError(t, m.Apply(one(cfg), groups("j", at(addressOf(old)))))
	running(t, r, "pod-0", 2)
	require.NoError(t, m.Apply(one(cfg), groups("j", at(addressOf(replacement)))))
	running(t, r, "pod-0", 4)
	var stale []sample
	for _, e := range r.byInstance("pod-0") {
		if e.stale() {
			stale = append(stale, e)
		}
	}
	require.Equal(t, []string{`{__name__="b"} stale`}, values(stale))

	// Gone before its second has scraped: then the markers are written after all.
	require.NoError(t, m.Apply(one(jobConfig("j", every(time.Hour))), groups("j", at(addressOf(replacement)))))
	require.NoError(t, m.Apply(nil, nil))
	body, _ := r.last(t)
	require.Equal(t, []string{`{__name__="a"} stale`}, values(body))
	require.Len(t, r.all()[len(r.all())-1], 6)
}

// With other synthetic series nothing is taken over: all markers first.
func TestExtraMetricsSwitchedOff(t *testing.T) {
	t.Parallel()
	s := serveBody(t, textType, "a 1\n")
	r := &recorder{next: newTSDB(t)}
	m := newManager(t, r)
	yes := true
	g := group(addressOf(s))
	require.NoError(t, m.Apply(one(jobConfig("j", func(c *config.ScrapeConfig) { c.ExtraScrapeMetrics = &yes })), groups("j", g)))
	running(t, r, addressOf(s), 1)
	require.NoError(t, m.Apply(one(jobConfig("j")), groups("j", g)))
	n := slices.IndexFunc(r.all(), func(b []sample) bool { return len(b) > 0 && b[0].stale() })
	require.GreaterOrEqual(t, n, 1)
	require.Len(t, r.all()[n], 9)
	require.Contains(t, sorted(values(r.all()[n])), `{__name__="scrape_body_size_bytes"} stale`)
	running(t, r, addressOf(s), n+2)
	_, report := r.last(t)
	require.Len(t, report, 5)
}

// No loop writes after the one that has replaced it, however often that happens.
func TestOldLoopsStopFirst(t *testing.T) {
	t.Parallel()
	s := serveBody(t, textType, "a 1\n")
	r := &recorder{next: newTSDB(t)}
	m := newManager(t, r)
	g := group(addressOf(s))
	for i := range 50 {
		cfg := jobConfig("j", every(10*time.Millisecond), func(c *config.ScrapeConfig) { c.SampleLimit = uint(i + 1) })
		require.NoError(t, m.Apply(one(cfg), groups("j", g)))
		require.Len(t, loopsByAddress(m, "j"), 1)
		time.Sleep(12 * time.Millisecond)
	}
	m.Stop()
	last := int64(0)
	for _, batch := range r.all() {
		for _, e := range batch {
			require.NoError(t, e.err)
			if e.name() == "up" {
				require.Greater(t, e.t, last)
				last = e.t
			}
		}
	}
	require.Positive(t, last)
}

func TestBadJobsDoNotHinderOthers(t *testing.T) {
	t.Parallel()
	s := serveBody(t, textType, "a 1\n")
	r := &recorder{}
	m := newManager(t, r)
	g := group(addressOf(s))
	good, bad := jobConfig("good"), jobConfig("bad")
	both := map[string][]*targetgroup.Group{"good": {g}, "bad": {g}}
	require.NoError(t, m.Apply([]*config.ScrapeConfig{good, bad}, both))
	goodLoop := loopsByAddress(m, "good")[addressOf(s)]
	eventually(t, func() bool { return targetAt(t, m, "bad", addressOf(s)).Health() == promscrape.HealthGood }, "a scrape")

	for name, c := range map[string]struct {
		change func(*config.ScrapeConfig)
		reason string
	}{
		"missing CA file":    {func(c *config.ScrapeConfig) { c.HTTPClientConfig.TLSConfig.CAFile = "/no/such/file" }, "/no/such/file"},
		"timeout > interval": {func(c *config.ScrapeConfig) { c.ScrapeTimeout = model.Duration(time.Hour) }, "scrape timeout greater than scrape interval"},
		"relabelling":        {func(c *config.ScrapeConfig) { c.RelabelConfigs = []*relabel.Config{{}} }, "relabel action cannot be empty"},
		"empty relabelling":  {func(c *config.ScrapeConfig) { c.MetricRelabelConfigs = []*relabel.Config{nil} }, "empty relabelling rule"},
		"two authentications": {func(c *config.ScrapeConfig) {
			c.HTTPClientConfig.BearerToken, c.HTTPClientConfig.BearerTokenFile = "x", "y"
		}, "at most one of bearer_token"},
		"escaping":         {func(c *config.ScrapeConfig) { c.MetricNameEscapingScheme = "nonsense" }, "nonsense"},
		"unknown protocol": {func(c *config.ScrapeConfig) { c.ScrapeProtocols = []config.ScrapeProtocol{"Morse"} }, "Morse"},
		"unknown fallback": {func(c *config.ScrapeConfig) { c.ScrapeFallbackProtocol = "Morse" }, "Morse"},
	} {
		wrong := jobConfig("bad", c.change)
		for range 2 {
			// The error is about the set, not about what has changed.
			err := m.Apply([]*config.ScrapeConfig{wrong, good}, both)
			require.ErrorContains(t, err, `job "bad": `, name)
			require.ErrorContains(t, err, c.reason, name)
			require.NotContains(t, err.Error(), `"good"`, name)
		}
		require.NotContains(t, m.TargetsActive(), "bad", name)
		require.Same(t, goodLoop, loopsByAddress(m, "good")[addressOf(s)], name)
		require.NoError(t, m.Apply([]*config.ScrapeConfig{good, bad}, both), name)
		require.Contains(t, m.TargetsActive(), "bad", name)
	}
	// Its loops had stopped with markers.
	require.True(t, slices.ContainsFunc(r.byInstance(addressOf(s)), func(e sample) bool {
		return e.stale() && e.lset.Get("job") == "bad" && e.name() == "a"
	}))
}

func TestBadTargetsDoNotHinderOthers(t *testing.T) {
	m := newManager(t, &recorder{})
	g := group("10.0.0.1:1", "host/path", "", "10.0.0.2:1")
	g.Targets = append(g.Targets,
		model.LabelSet{model.AddressLabel: "10.0.0.5:1", "__scrape_interval__": "never"},
		model.LabelSet{model.AddressLabel: "10.0.0.6:1", "__unix_socket__": "/run/x"},
		model.LabelSet{model.AddressLabel: "10.0.0.7:1", "bad": "\xff"},
	)
	cfg := jobConfig("j", every(time.Hour))
	for range 2 {
		err := m.Apply(one(cfg), groups("j", g, nil))
		require.ErrorContains(t, err, `job "j": target 1 of group test: "host/path" is not a valid hostname`)
		require.ErrorContains(t, err, `target 2 of group test: no address`)
		require.ErrorContains(t, err, `and 2 more targets`)
		require.Len(t, m.TargetsActive()["j"], 2)
	}
	g = group()
	g.Targets = []model.LabelSet{{model.AddressLabel: "10.0.0.6:1", "__unix_socket__": "/run/x"}}
	require.ErrorContains(t, m.Apply(one(cfg), groups("j", g)), "unix sockets are not supported")
}

func TestOddSets(t *testing.T) {
	m := newManager(t, &recorder{})
	cfg := jobConfig("j", every(time.Hour))
	both := groups("j", group("10.0.0.1:1"))
	both["unknown"] = []*targetgroup.Group{group("10.0.0.2:1")}
	bare := &config.ScrapeConfig{JobName: "bare", ScrapeInterval: model.Duration(time.Second)}
	err := m.Apply([]*config.ScrapeConfig{nil, cfg, cfg, jobConfig(""), bare}, both)
	require.ErrorContains(t, err, "job 0 has no name")
	require.ErrorContains(t, err, `job "j": given twice`)
	require.ErrorContains(t, err, "job 3 has no name")
	require.ErrorContains(t, err, `job "unknown": it has target groups, but no configuration`)
	require.ErrorContains(t, err, `job "bare": it has no scheme: start from a copy of config.DefaultScrapeConfig`)
	require.Len(t, m.TargetsActive()["j"], 1)
	// A job without groups is there, without targets.
	require.NoError(t, m.Apply(one(cfg), nil))
	require.Contains(t, m.TargetsActive(), "j")
	require.Empty(t, m.TargetsActive()["j"])
}

func TestTargetLimit(t *testing.T) {
	t.Parallel()
	s := serveBody(t, textType, "a 1\n")
	r := &recorder{}
	m := newManager(t, r)
	limited := func(n uint) *config.ScrapeConfig {
		return jobConfig("j", func(c *config.ScrapeConfig) { c.TargetLimit = n })
	}
	address := addressOf(s)
	g, extra := group(address), group("127.0.0.1:2")
	require.NoError(t, m.Apply(one(limited(1)), groups("j", g)))
	l := loopsByAddress(m, "j")[address]
	eventually(t, func() bool { return targetAt(t, m, "j", address).Health() == promscrape.HealthGood }, "up")

	// One too many: all fail, with the reason.
	require.NoError(t, m.Apply(one(limited(1)), groups("j", g, extra)))
	eventually(t, func() bool {
		err := targetAt(t, m, "j", address).LastError()
		return err != nil && err.Error() == "target_limit exceeded (number of targets: 2, limit: 1)"
	}, "down")
	body, _ := split(r.byInstance(address))
	require.True(t, slices.ContainsFunc(body, sample.stale))

	// Enough room: the loop is still the same.
	require.NoError(t, m.Apply(one(limited(2)), groups("j", g, extra)))
	eventually(t, func() bool { return targetAt(t, m, "j", address).Health() == promscrape.HealthGood }, "up again")
	require.Same(t, l, loopsByAddress(m, "j")[address])
}

// The error of a job with thousands of bad targets stays readable.
func TestErrorsAreBounded(t *testing.T) {
	m := newManager(t, &recorder{})
	g := group()
	for range 5000 {
		g.Targets = append(g.Targets, model.LabelSet{model.AddressLabel: model.LabelValue("x/" + strings.Repeat("y", 5000))})
	}
	err := m.Apply(one(jobConfig("j")), groups("j", g))
	require.ErrorContains(t, err, "and 4997 more targets")
	require.Less(t, len(err.Error()), 4*reason.Max)
	require.Regexp(t, regexp.MustCompile(`(?s)target 0 .*target 1 .*target 2 `), err.Error())
}
