package embedded_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apilabels "k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/promlet/promlet/adapter/embedded"
	"github.com/promlet/promlet/adapter/engine"
	"github.com/promlet/promlet/discovery"
	"github.com/promlet/promlet/discovery/manifests"
	"github.com/promlet/promlet/discovery/monitors"
	"github.com/promlet/promlet/scrape"
	"github.com/promlet/promlet/tsdb"
	"github.com/promlet/promlet/tsdb/httpapi"
)

const patience = 30 * time.Second

// workers returns a Source with a worker whose queue has a depth.
func workers(t *testing.T, depth int) discovery.Source {
	t.Helper()
	worker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		_, _ = fmt.Fprintf(w, "# TYPE queue_depth gauge\nqueue_depth %d\n# TYPE other gauge\nother 1\n", depth)
	}))
	t.Cleanup(worker.Close)
	_, port, _ := strings.Cut(worker.Listener.Addr().String(), ":")
	source, err := manifests.FromText([]byte(strings.Replace(workerManifests, "PORT", port, 1)))
	require.NoError(t, err)
	return source
}

// run runs a Promlet until stop is called, which returns what Run returns.
func run(t *testing.T, p *embedded.Promlet, serve ...func(context.Context) error) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx, serve...) }()
	return func() error {
		cancel()
		return <-done
	}
}

// depth returns the value of queue_depth, or why there is none.
func depth(t *testing.T, p *embedded.Promlet) string {
	info := provider.CustomMetricInfo{GroupResource: schema.GroupResource{Resource: "services"}, Namespaced: true, Metric: "queue_depth"}
	v, err := p.Provider.GetMetricByName(t.Context(), types.NamespacedName{Namespace: "default", Name: "worker"}, info, apilabels.Everything())
	if err != nil {
		return err.Error()
	}
	return v.Value.String()
}

func requireDepth(t *testing.T, p *embedded.Promlet, want string) {
	t.Helper()
	require.EventuallyWithT(t, func(c *assert.CollectT) { assert.Equal(c, want, depth(t, p)) }, patience, 50*time.Millisecond)
}

// Two Promlets of a process have their own data, and end in any order.
func TestTwoInOneProcess(t *testing.T) {
	open := func(depth int) *embedded.Promlet {
		p, err := embedded.New(embedded.Options{Source: workers(t, depth), Dir: t.TempDir(), Registerer: prometheus.NewRegistry()})
		require.NoError(t, err)
		return p
	}
	first, second := open(7), open(8)
	stopFirst, stopSecond := run(t, first), run(t, second)
	requireDepth(t, first, "7")
	requireDepth(t, second, "8")
	require.NoError(t, first.Ready())
	require.NoError(t, first.WhyNotReady())
	require.Empty(t, first.Problems())
	require.Len(t, first.Jobs(), 3, "the monitor's, and those of annotated pods and services")

	require.NoError(t, stopFirst())
	require.Equal(t, "7", depth(t, first), "samples can be read until Close")
	require.NoError(t, first.Close())
	requireDepth(t, second, "8")
	require.NoError(t, second.Close(), "which ends Run")
	require.NoError(t, stopSecond())
	require.NoError(t, second.Close())
}

// What nobody has asked for is not stored, and a restart on the same directory and Registerer has the samples.
func TestOnDemandAndAgain(t *testing.T) {
	dir, registry, source := t.TempDir(), prometheus.NewRegistry(), workers(t, 7)
	stored := func(p *embedded.Promlet, name string) bool {
		found, err := p.DB.Instant(t.Context(), tsdb.Query{Expr: name, At: time.Now()})
		require.NoError(t, err)
		return len(found) > 0
	}
	for _, storeAll := range []bool{false, true} {
		p, err := embedded.New(embedded.Options{Source: source, Dir: dir, Registerer: registry, StoreAll: storeAll})
		require.NoError(t, err)
		stop := run(t, p)
		requireDepth(t, p, "7")
		if storeAll {
			require.Eventually(t, func() bool { return stored(p, "other") }, patience, 50*time.Millisecond)
		} else {
			require.False(t, stored(p, "other"))
		}
		metrics, err := registry.Gather()
		require.NoError(t, err)
		require.NotEmpty(t, metrics)
		require.NoError(t, stop())
		require.NoError(t, p.Close())
	}
	metrics, err := registry.Gather()
	require.NoError(t, err)
	require.Empty(t, metrics, "Close unregisters them")
}

// The functions of Run end first, and their end is that of Run.
func TestRunEndsWithItsFunctions(t *testing.T) {
	open := func() *embedded.Promlet {
		p, err := embedded.New(embedded.Options{Source: workers(t, 7), Dir: t.TempDir()})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, p.Close()) })
		return p
	}
	p := open()
	fault := errors.New("the port is in use")
	var ended bool
	require.Equal(t, fault, p.Run(t.Context(), func(context.Context) error { return fault }, func(ctx context.Context) error {
		<-ctx.Done()
		ended = true
		return nil
	}))
	require.True(t, ended)
	require.ErrorContains(t, p.Run(t.Context()), "it has been run before")
	require.ErrorContains(t, open().Run(t.Context(), nil), "a function is nil")

	p = open()
	stop := run(t, p, func(ctx context.Context) error {
		<-ctx.Done()
		requireDepth(t, p, "7") // targets are found and scraped meanwhile
		return nil
	})
	require.NoError(t, stop())

	p = open()
	require.NoError(t, p.Close())
	require.ErrorContains(t, p.Run(t.Context()), "it is closed")
}

// A Promlet answers from an engine behind a URL, here the Prometheus API of another Promlet, and needs no data directory.
func TestEngineAlone(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	scraping, err := embedded.New(embedded.Options{Source: workers(t, 9), Dir: t.TempDir(), StoreAll: true})
	require.NoError(t, err)
	stopScraping := run(t, scraping)
	requireDepth(t, scraping, "9")
	api, err := httpapi.New(httpapi.Options{
		DB: scraping.DB, Targets: scraping.Scraper.TargetsActive, Selected: scraping.Provider.Demand.Selected,
		Config: func() config.Config { return config.Config{ScrapeConfigs: scraping.Jobs()} },
	})
	require.NoError(t, err)
	server := httptest.NewServer(api)
	defer server.Close()

	e, err := engine.New(engine.Options{Connection: engine.Connection{URL: server.URL}})
	require.NoError(t, err)
	p, err := embedded.New(embedded.Options{Source: workers(t, 7), Engine: e})
	require.NoError(t, err)
	stop := run(t, p)
	requireDepth(t, p, "9")
	require.Empty(t, p.Jobs())
	require.NoError(t, stop())
	require.DirExists(t, p.Dir)
	require.NoError(t, p.Close())
	require.NoDirExists(t, p.Dir)
	require.NoError(t, e.Close())
	require.NoError(t, stopScraping())
	require.NoError(t, scraping.Close())
}

// A shard with an enforced namespace: it says that it has no values, and names the option.
func TestShard(t *testing.T) {
	p, err := embedded.New(embedded.Options{Source: workers(t, 7), Dir: t.TempDir(), Discovery: discovery.Options{
		Shard: monitors.Shard{Index: 0, Count: 2}, Enforcement: monitors.Enforcement{Enabled: true},
	}})
	require.NoError(t, err)
	stop := run(t, p)
	require.Eventually(t, func() bool {
		return strings.Contains(depth(t, p), "this promlet scrapes shard 0 of 2 only (Discovery.Shard): query the engine that all shards write to")
	}, patience, 50*time.Millisecond)
	require.Eventually(t, func() bool {
		active := 0
		for _, targets := range p.Scraper.TargetsActive() {
			active += len(targets)
		}
		return active+len(p.OtherShards()) == 1
	}, patience, 50*time.Millisecond)
	require.NoError(t, stop())
	require.NoError(t, p.Close())
}

func TestNewChecksOptions(t *testing.T) {
	_, err := embedded.New(embedded.Options{})
	require.EqualError(t, err, "new promlet: Options.Source is required\nnew promlet: Options.Dir is required")
	source, err := manifests.FromText(nil)
	require.NoError(t, err)
	f := func(want string, change func(*embedded.Options)) {
		t.Helper()
		opts := embedded.Options{Source: source, Dir: t.TempDir()}
		change(&opts)
		_, err := embedded.New(opts)
		require.ErrorContains(t, err, want)
		_, err = os.Stat(opts.Dir + "/wal")
		require.ErrorIs(t, err, os.ErrNotExist, "nothing is opened")
	}
	f("leave out Options.Scrape.OnDemand: it follows from the other Options", func(o *embedded.Options) { o.Scrape.OnDemand = true })
	f("leave out Options.Scrape.Owner", func(o *embedded.Options) {
		o.Scrape = scrape.Options{Owner: func(string, model.LabelSet) string { return "" }}
	})
	f("leave out Options.Storage.Dir", func(o *embedded.Options) { o.Storage.Dir = "elsewhere" })
	f("leave out Options.Discovery.Annotations", func(o *embedded.Options) { o.Discovery.Annotations = true })
	f("a shard serves no values", func(o *embedded.Options) {
		o.Engine, o.Discovery.Shard = new(engine.Engine), monitors.Shard{Count: 2}
	})
	f("Retention is -1s", func(o *embedded.Options) { o.Storage.Retention = -time.Second })

	registry := prometheus.NewRegistry()
	p, err := embedded.New(embedded.Options{Source: source, Dir: t.TempDir(), Registerer: registry})
	require.NoError(t, err)
	_, err = embedded.New(embedded.Options{Source: source, Dir: t.TempDir(), Registerer: registry})
	require.ErrorContains(t, err, "two Promlets need two Registerers")
	require.NoError(t, p.Close())
}
