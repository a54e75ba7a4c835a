package queried_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	commonconfig "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"github.com/promlet/promlet/adapter"
	"github.com/promlet/promlet/adapter/catalog"
	"github.com/promlet/promlet/adapter/demand"
	"github.com/promlet/promlet/adapter/rules"
	"github.com/promlet/promlet/scrape"
	"github.com/promlet/promlet/scrape/sink"
	"github.com/promlet/promlet/tsdb"
)

// exposer serves the usage of a container that takes half a core, with timestamps of its own: how busy the machine is changes
// no rate. A kubelet measures twice a second. It returns its address.
func exposer(t *testing.T, kubelet bool) model.LabelValue {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		of, measured := `container="c",namespace="mine",pod="a",id="/1"`, time.Now()
		if kubelet {
			of, measured = `container="c",namespace="mine",pod="a"`, measured.Truncate(500*time.Millisecond)
		}
		at := fmt.Sprint(" ", measured.UnixMilli())
		seconds := float64(measured.UnixMilli()) / 1000
		_, _ = fmt.Fprintf(w, "# TYPE container_cpu_usage_seconds_total counter\ncontainer_cpu_usage_seconds_total{%s} %f%s\n", of, seconds/2, at)
		_, _ = fmt.Fprintf(w, "# TYPE container_memory_working_set_bytes gauge\ncontainer_memory_working_set_bytes{%s} 1048576%s\n", of, at)
		if kubelet {
			_, _ = fmt.Fprintf(w, "node_cpu_usage_seconds_total %f%s\nnode_memory_working_set_bytes 2097152%s\n", seconds, at, at)
		}
	}))
	t.Cleanup(server.Close)
	return model.LabelValue(strings.TrimPrefix(server.URL, "http://"))
}

// scraped is a Provider over a scraper with a job kubelets, whose samples are stored as Demand.OfKubelets says.
type scraped struct {
	*fixture
	scraper *scrape.Manager
	jobs    []*config.ScrapeConfig
	groups  map[string][]*targetgroup.Group
}

func newScraped(t *testing.T, set rules.Set) *scraped {
	s := &scraped{groups: map[string][]*targetgroup.Group{}}
	var current atomic.Pointer[demand.Demand]
	db := openDB(t)
	var err error
	s.scraper, err = scrape.NewManager(scrape.Options{Appendable: db, OnDemand: true, Sinks: map[string]sink.Sink{"kubelets": {
		Stored: func(name string) bool { d := current.Load(); return d != nil && d.OfKubelets(name) },
	}}})
	require.NoError(t, err)
	t.Cleanup(s.scraper.Stop)
	s.fixture = newFixture(t, func(o *adapter.Options) {
		o.Rules, o.DB, o.KubeletsJob, o.Now, o.Interval = set, db, "kubelets", nil, time.Second
		o.Demand = demand.Options{FirstValue: time.Second}
		o.Exposed = func(uint64) (names []catalog.Exposed, version uint64) {
			all, version := s.scraper.Catalog()
			for _, m := range all {
				names = append(names, catalog.Exposed{Name: m.Name, LabelNames: m.LabelNames, Type: m.Type})
			}
			return names, version
		}
		o.Source = func(series labels.Labels) (tsdb.Source, bool) {
			source, known := s.scraper.Source(series)
			if !known {
				return tsdb.Source{Target: &tsdb.Target{}, Exposed: series.Hash()}, true
			}
			return tsdb.Source{Target: (*tsdb.Target)(source.Target), Exposed: source.Exposed, First: source.First, Since: source.Since}, true
		}
	}, "mine/a", "n1")
	s.db = db
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- s.Demand.Run(ctx, func(ctx context.Context, d *demand.Demand) error {
			current.Store(d)
			return s.scraper.SetDemand(ctx, scrape.Demand{Wanted: d.Wanted, Vital: d.Scaled})
		})
	}()
	t.Cleanup(func() { cancel(); require.NoError(t, <-done) })
	return s
}

// add adds a job with a target.
func (s *scraped) add(job string, address model.LabelValue, of model.LabelSet) {
	cfg := config.DefaultScrapeConfig
	cfg.JobName, cfg.HonorLabels, cfg.HTTPClientConfig = job, job != "kubelets", commonconfig.DefaultHTTPClientConfig
	cfg.ScrapeInterval, cfg.ScrapeTimeout = model.Duration(time.Second), model.Duration(time.Second)
	s.jobs = append(s.jobs, &cfg)
	s.groups[job] = []*targetgroup.Group{{Source: "s", Labels: of, Targets: []model.LabelSet{{model.AddressLabel: address}}}}
	require.NoError(s.t, s.scraper.Apply(s.jobs, s.groups))
}

// half reports whether the pod takes half a core and a mebibyte.
func (s *scraped) half() bool {
	values, err := s.Usage.PodMetrics(s.t.Context(), []*corev1.Pod{pod("mine", "a")})
	require.NoError(s.t, err)
	if len(values) == 0 {
		return false
	}
	usage := values[0].Containers[0].Usage
	require.InDelta(s.t, 500, usage.Cpu().MilliValue(), 75)
	require.Equal(s.t, "1Mi", usage.Memory().String())
	require.WithinDuration(s.t, time.Now(), values[0].Timestamp.Time, 5*time.Second)
	return true
}

// storedOf counts the series of a job that are current.
func (s *scraped) storedOf(job string) int {
	got, err := s.db.Instant(s.t.Context(), tsdb.Query{Expr: fmt.Sprintf(`count({__name__=~"(container|node)_.*",job=%q})`, job), At: time.Now(), Lookback: 3 * time.Second})
	require.NoError(s.t, err)
	if len(got) == 0 {
		return 0
	}
	return int(got[0].Value)
}

// Without other targets, what kubelets report is stored once it is read. Once the target of a monitor exposes the same, that
// counts alone.
func TestKubelets(t *testing.T) {
	s := newScraped(t, rulesOf(t, ofDeploy))
	s.add("kubelets", exposer(t, true), model.LabelSet{"node": "n1"})
	require.Eventually(t, s.half, time.Minute, 50*time.Millisecond)
	require.Eventually(t, func() bool {
		stored := s.storedOf("kubelets")
		require.LessOrEqual(t, stored, 2, "nobody has read nodes")
		return stored == 2
	}, time.Minute, 50*time.Millisecond)
	require.Eventually(t, func() bool {
		values, err := s.Usage.NodeMetrics(t.Context(), []*corev1.Node{node("n1")})
		require.NoError(t, err)
		return len(values) == 1 && values[0].Usage.Memory().String() == "2Mi"
	}, time.Minute, 50*time.Millisecond)

	s.add("serviceMonitor/monitoring/kubelet/0", exposer(t, false), nil)
	require.Eventually(t, func() bool {
		s.half()
		return s.storedOf("kubelets") == 2 && s.storedOf("serviceMonitor/monitoring/kubelet/0") == 2
	},
		time.Minute, 50*time.Millisecond, "nodes are still the kubelets'")
	for range 20 {
		s.half()
		time.Sleep(50 * time.Millisecond)
	}
	require.Eventually(t, s.half, time.Minute, 50*time.Millisecond)
}
