package main

import (
	"compress/gzip"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	"k8s.io/metrics/pkg/apis/custom_metrics/v1beta2"
)

// exporter serves a body as an exporter does.
func exporter(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// counting serves http_requests_total, which grows by perSecond, and a gauge.
func counting(t *testing.T, perSecond float64) string {
	start := time.Now()
	return exporter(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		fmt.Fprintf(w, "# TYPE http_requests_total counter\nhttp_requests_total %f\n", perSecond*time.Since(start).Seconds())
		fmt.Fprintf(w, "# TYPE queue_depth gauge\nqueue_depth 3\n")
	})
}

// The scenario, from a selector to an answer, through a real process.
func TestServeTheScenario(t *testing.T) {
	manifests := t.TempDir()
	writeManifests(t, manifests, map[string]string{"app-1": counting(t, 100), "app-2": counting(t, 200)})
	p := startProcess(t, manifests, t.TempDir())
	p.eventually("pods/*/queue_depth", "app-1=3 app-2=3")
	require.Eventually(t, func() bool {
		_, items := p.metric("services/app/http_requests")
		return len(items) == 1 && items[0].Value.AsApproximateFloat64() > 270 && items[0].Value.AsApproximateFloat64() < 330
	}, patience, 200*time.Millisecond, "the rate is 300 a second")
	// The window grows with what has been collected.
	var items []v1beta2.MetricValue
	require.Eventually(t, func() bool {
		_, items = p.metric("services/app/http_requests")
		return len(items) == 1 && *items[0].WindowSeconds == 10
	}, patience, 200*time.Millisecond)
	require.WithinDuration(t, time.Now(), items[0].Timestamp.Time, 20*time.Second)

	// A third pod comes, and the first one goes.
	writeManifests(t, manifests, map[string]string{"app-2": counting(t, 200), "app-3": counting(t, 1)})
	p.eventually("pods/*/queue_depth", "app-2=3 app-3=3")

	// A file with a mistake is named, and nothing stops.
	require.NoError(t, os.WriteFile(filepath.Join(manifests, "bad.yaml"), []byte("apiVersion: v1\nkind: Service\nmetadata: {name: bad, surname: x}\n"), 0o600))
	require.Eventually(t, func() bool {
		_, body, err := p.get(p.web + "/")
		return err == nil && strings.Contains(string(body), "bad.yaml:")
	}, patience, 100*time.Millisecond, "the status page names the file")
	got, _ := p.metric("pods/*/queue_depth")
	require.Equal(t, "app-2=3 app-3=3", got)

	require.NoError(t, p.terminate(), "SIGTERM ends it with status 0: %s", p.log)
	require.Contains(t, p.log.String(), "promlet stopped")
}

// Killed and started again on the same data, it answers from the window it had.
func TestServeAfterKill(t *testing.T) {
	manifests, data := t.TempDir(), t.TempDir()
	// Too slow for a rate over the time since the start alone.
	writeManifests(t, manifests, map[string]string{"app-1": counting(t, 10)})
	flags := []string{"--scrape-interval=20s", "--rate-window=1m20s"}
	p := startProcess(t, manifests, data, flags...)
	require.Eventually(t, func() bool {
		_, items := p.metric("services/app/http_requests")
		return len(items) == 1
	}, patience, 100*time.Millisecond)
	_, before := p.metric("services/app/http_requests")
	p.kill()

	again := time.Now()
	p = startProcess(t, manifests, data, flags...)
	message, after := p.metric("services/app/http_requests")
	require.Len(t, after, 1, message)
	require.InDelta(t, before[0].Value.AsApproximateFloat64(), after[0].Value.AsApproximateFloat64(), 2)
	require.False(t, after[0].Timestamp.Before(&before[0].Timestamp))
	require.Greater(t, *after[0].WindowSeconds, int64(time.Since(again).Seconds()))
}

// Whatever a pod serves, it is down with a reason and the others are not.
func TestServeAmongHostilePods(t *testing.T) {
	manifests := t.TempDir()
	stop := make(chan struct{})
	defer close(stop)
	hostile := map[string]struct {
		serve http.HandlerFunc
		want  string
	}{
		"garbage": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain; version=0.0.4")
			fmt.Fprint(w, "good 1\n\xff{{{ this is no metric\n")
		}, "line 2"},
		"truncated": {func(w http.ResponseWriter, _ *http.Request) {
			var b strings.Builder
			zipped := gzip.NewWriter(&b)
			fmt.Fprint(zipped, strings.Repeat("some_metric 1\n", 1000))
			_ = zipped.Close()
			w.Header().Set("Content-Type", "text/plain; version=0.0.4")
			w.Header().Set("Content-Encoding", "gzip")
			fmt.Fprint(w, b.String()[:b.Len()/2])
		}, "gzip"},
		"endless": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/plain; version=0.0.4")
			for r.Context().Err() == nil {
				if _, err := fmt.Fprint(w, strings.Repeat("# nothing but comments\n", 1000)); err != nil {
					return
				}
			}
		}, ""},
		"hanging": {func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-r.Context().Done():
			case <-stop:
			}
		}, "1s"},
		"broken": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }, "500"},
	}
	pods := map[string]string{"healthy": counting(t, 10)}
	for name, h := range hostile {
		pods[name] = exporter(t, h.serve)
	}
	writeManifests(t, manifests, pods)
	p := startProcess(t, manifests, t.TempDir())
	p.eventually("pods/*/up", "broken=0 endless=0 garbage=0 hanging=0 healthy=1 truncated=0")
	p.eventually("pods/*/queue_depth", "healthy=3")
	errs := p.lastErrors()
	require.Empty(t, errs["healthy"])
	for name, h := range hostile {
		require.NotEmpty(t, errs[name], name)
		require.Contains(t, errs[name], h.want, name)
	}
	time.Sleep(3 * time.Second) // a few more scrapes of the endless one
	got, _ := p.metric("pods/*/queue_depth")
	require.Equal(t, "healthy=3", got)
}

// In a cluster scrapes do not reach what trusts promlet's own machine, unless a flag says so.
func TestWhereScrapesGo(t *testing.T) {
	loopback, metadata, pod := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("169.254.169.254"), netip.MustParseAddr("10.244.0.7")
	f := func(allowed []netip.Addr, change func(*options)) {
		t.Helper()
		opts := newOptions()
		change(opts)
		require.NoError(t, opts.validate())
		for _, addr := range []netip.Addr{loopback, metadata, pod} {
			require.Equal(t, slices.Contains(allowed, addr), opts.destinations.Check(addr) == nil, addr)
		}
	}
	f([]netip.Addr{pod}, func(*options) {})
	f([]netip.Addr{loopback, pod}, func(o *options) { o.allowedNetworks = []string{"127.0.0.0/8"} })
	f(nil, func(o *options) { o.refusedNetworks = []string{"10.0.0.0/8"} })
	f([]netip.Addr{loopback, metadata, pod}, func(o *options) { o.manifests = t.TempDir() })
	opts := newOptions()
	opts.allowedNetworks = []string{"ten"}
	require.ErrorContains(t, opts.validate(), "--scrape-allowed-networks=ten: give networks such as 10.0.0.0/8, or IP addresses")
}

// Nothing that one promlet does belongs to the whole process.
func TestTwoInstancesInOneProcess(t *testing.T) {
	address := counting(t, 10)
	ctx, cancel := context.WithCancel(t.Context())
	var running errgroup.Group
	var apis []string
	for range 2 {
		manifests := t.TempDir()
		writeManifests(t, manifests, map[string]string{"app-1": address})
		opts := newOptions()
		opts.manifests, opts.dataDir, opts.scrapeInterval = manifests, t.TempDir(), time.Second
		opts.webListenAddress = "127.0.0.1:0"
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		opts.serving.Listener = listener
		require.NoError(t, opts.validate())
		apis = append(apis, "https://"+listener.Addr().String())
		running.Go(func() error { return serve(ctx, opts, slog.New(slog.DiscardHandler)) })
	}
	for _, api := range apis {
		p := &process{t: t, api: api, client: insecureClient()}
		require.Eventually(t, func() bool {
			code, _, err := p.get(api + "/readyz")
			return err == nil && code == http.StatusOK
		}, patience, 100*time.Millisecond)
		p.eventually("services/app/queue_depth", "app=3")
	}
	cancel()
	require.NoError(t, running.Wait())
}
