package scrape

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	promscrape "github.com/prometheus/prometheus/scrape"
	"github.com/stretchr/testify/require"

	"github.com/prometheus/prometheus/config"
)

func TestFormats(t *testing.T) {
	for _, c := range []struct {
		name, contentType, body string
		want                    []string
	}{
		{
			"text 0.0.4", textType,
			"# HELP a Help.\n# TYPE a counter\na{x=\"1\"} 1\na{x=\"2\"} 2.5e3\n\n# a comment\nb NaN\nc +Inf\n",
			[]string{`{__name__="a", x="1"} 1`, `{__name__="a", x="2"} 2500`, `{__name__="b"} NaN`, `{__name__="c"} +Inf`},
		},
		{
			"text 1.0.0", "text/plain; version=1.0.0; escaping=allow-utf-8",
			`{"my.metric", "a.b"="c"} 1` + "\n",
			[]string{`{__name__="my.metric", "a.b"="c"} 1`},
		},
		{
			"OpenMetrics", omType,
			"# TYPE a counter\n# UNIT a_seconds seconds\na_total 1\na_created 2\n# EOF\n",
			[]string{`{__name__="a_total"} 1`, `{__name__="a_created"} 2`},
		},
		{
			"classic histogram, le normalised", textType,
			"# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 3\nh_count 2\n",
			[]string{`{__name__="h_bucket", le="1.0"} 1`, `{__name__="h_bucket", le="+Inf"} 2`, `{__name__="h_sum"} 3`, `{__name__="h_count"} 2`},
		},
		{"no body", "", "", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, l := scrapeOnce(t, serveBody(t, c.contentType, c.body), jobConfig("j", slow))
			require.NoError(t, l.target.LastError())
			require.Equal(t, promscrape.HealthGood, l.target.Health())
			body, report := r.last(t)
			require.ElementsMatch(t, c.want, values(body))
			require.EqualValues(t, 1, report["up"])
			require.EqualValues(t, len(c.want), report["scrape_samples_scraped"])
			require.EqualValues(t, len(c.want), report["scrape_samples_post_metric_relabeling"])
			require.EqualValues(t, len(c.want), report["scrape_series_added"])
		})
	}
}

func TestContentTypes(t *testing.T) {
	fallback := func(p config.ScrapeProtocol) func(*config.ScrapeConfig) {
		return func(c *config.ScrapeConfig) { c.ScrapeFallbackProtocol = p }
	}
	none := func(*config.ScrapeConfig) {}
	for _, c := range []struct {
		name, contentType string
		cfg               func(*config.ScrapeConfig)
		reason            string // "" for success
	}{
		{"blank", "", none, "blank Content-Type"},
		{"blank with fallback", "", fallback(config.PrometheusText0_0_4), ""},
		{"unknown", "text/html", none, `unsupported Content-Type "text/html"`},
		{"unknown with fallback", "text/html", fallback(config.PrometheusText0_0_4), ""},
		{"nonsense", ";;;", none, `cannot parse Content-Type ";;;"`},
		{"fallback of another format", "text/html", fallback(config.OpenMetricsText1_0_0), "# EOF"},
		{"OpenMetrics 2", "application/openmetrics-text; version=2.0.0", none, "OpenMetrics 2.0"},
		{"very long", "text/" + strings.Repeat("x", 2000), none, "content type of 2005 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header()["Content-Type"] = []string{c.contentType}
				_, _ = io.WriteString(w, "a 1\n")
			})
			r, l := scrapeOnce(t, s, jobConfig("j", slow, c.cfg))
			_, report := r.last(t)
			if c.reason == "" {
				require.NoError(t, l.target.LastError())
				require.EqualValues(t, 1, report["up"])
				return
			}
			require.ErrorContains(t, l.target.LastError(), c.reason)
			require.EqualValues(t, 0, report["up"])
		})
	}
}

// headersOf returns the headers that a scrape with the job sends.
func headersOf(t *testing.T, cfg *config.ScrapeConfig, mutate ...func(*Options)) http.Header {
	var got http.Header
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got = r.Header
		w.Header().Set("Content-Type", textType)
	})
	_, l := scrapeOnce(t, s, cfg, mutate...)
	require.NoError(t, l.target.LastError())
	return got
}

func TestNegotiation(t *testing.T) {
	h := headersOf(t, jobConfig("j", every(90*time.Second)), func(o *Options) { o.UserAgent = "promlet/v1.2.3" })
	require.Equal(t, "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.7,"+
		"application/openmetrics-text;version=0.0.1;q=0.6,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.5,"+
		"text/plain;version=0.0.4;q=0.4,*/*;q=0.3", h.Get("Accept"))
	require.Equal(t, "gzip", h.Get("Accept-Encoding"))
	require.Equal(t, "promlet/v1.2.3", h.Get("User-Agent"))
	require.Equal(t, "90", h.Get("X-Prometheus-Scrape-Timeout-Seconds"))

	yes := true
	h = headersOf(t, jobConfig("j", func(c *config.ScrapeConfig) {
		c.EnableCompression = false
		c.ScrapeNativeHistograms = &yes
		c.MetricNameValidationScheme = model.LegacyValidation
		c.ScrapeInterval, c.ScrapeTimeout = model.Duration(time.Minute), model.Duration(1500*time.Millisecond)
	}))
	require.Equal(t, "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7,"+
		"application/openmetrics-text;version=1.0.0;escaping=underscores;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,"+
		"text/plain;version=1.0.0;escaping=underscores;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2", h.Get("Accept"))
	require.Equal(t, "identity", h.Get("Accept-Encoding"))
	require.Equal(t, "promlet", h.Get("User-Agent"))
	require.Equal(t, "1.5", h.Get("X-Prometheus-Scrape-Timeout-Seconds"))

	h = headersOf(t, jobConfig("j", slow, func(c *config.ScrapeConfig) {
		c.ScrapeProtocols = []config.ScrapeProtocol{config.PrometheusText0_0_4, config.PrometheusProto}
	}))
	require.Equal(t, "text/plain;version=0.0.4;q=0.7,application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,*/*;q=0.5",
		h.Get("Accept"))

	h = headersOf(t, jobConfig("j", slow), func(o *Options) { o.Compression = false })
	require.Equal(t, "identity", h.Get("Accept-Encoding"))
}

func TestGzip(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", textType)
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(gzipped(t, "a 1\nb 2\n"))
	})
	m := newManager(t, &recorder{})
	l := testLoop(t, m, jobConfig("j", slow), model.LabelSet{model.AddressLabel: model.LabelValue(addressOf(s))})
	// Twice, for the decompressor is used again.
	for range 2 {
		l.scrape(time.Now())
		require.NoError(t, l.target.LastError())
		body, _ := m.opts.Appendable.(*recorder).last(t)
		require.Equal(t, []string{`{__name__="a"} 1`, `{__name__="b"} 2`}, values(body))
	}
}

func TestContentEncodings(t *testing.T) {
	for enc, reason := range map[string]string{
		"zstd":  `content encoding "zstd" was not asked for`,
		"br":    `content encoding "br" was not asked for`,
		"gzip":  "body is not gzip, though its Content-Encoding says so",
		"utf-8": "",
	} {
		s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", textType)
			w.Header().Set("Content-Encoding", enc)
			_, _ = io.WriteString(w, "some_metric 1\n")
		})
		_, l := scrapeOnce(t, s, jobConfig("j", slow))
		if reason == "" {
			require.NoError(t, l.target.LastError(), enc)
		} else {
			require.ErrorContains(t, l.target.LastError(), reason, enc)
		}
	}
}

// One connection serves all scrapes of a target, also after errors.
func TestConnectionIsReused(t *testing.T) {
	var remotes []string
	n := 0
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		remotes = append(remotes, r.RemoteAddr)
		n++
		if n == 2 {
			http.Error(w, "no", http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", textType)
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(gzipped(t, "a 1\n"))
	})
	l := testLoop(t, newManager(t, &recorder{}), jobConfig("j", slow), model.LabelSet{model.AddressLabel: model.LabelValue(addressOf(s))})
	for range 4 {
		l.scrape(time.Now())
	}
	require.Len(t, remotes, 4)
	for _, r := range remotes {
		require.Equal(t, remotes[0], r)
	}
}

func TestRedirects(t *testing.T) {
	end := serveBody(t, textType, "a 1\n")
	s := httptest.NewServer(http.RedirectHandler(end.URL, http.StatusFound))
	t.Cleanup(s.Close)
	_, l := scrapeOnce(t, s, jobConfig("j", slow))
	require.NoError(t, l.target.LastError())

	_, l = scrapeOnce(t, s, jobConfig("j", slow, func(c *config.ScrapeConfig) { c.HTTPClientConfig.FollowRedirects = false }))
	require.ErrorContains(t, l.target.LastError(), "server returned HTTP status 302 Found")
}

func TestParamsAndPath(t *testing.T) {
	var got string
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got = r.URL.String()
		w.Header().Set("Content-Type", textType)
	})
	_, l := scrapeOnce(t, s, jobConfig("j", slow, func(c *config.ScrapeConfig) {
		c.MetricsPath = "/federate"
		c.Params = map[string][]string{"match[]": {"a", "b"}}
	}))
	require.NoError(t, l.target.LastError())
	require.Equal(t, "/federate?match%5B%5D=a&match%5B%5D=b", got)
}
