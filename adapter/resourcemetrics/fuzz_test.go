package resourcemetrics

import (
	"errors"
	"io"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// decode reads a body as scraping does, up to what it cannot parse.
func decode(t testing.TB, body []byte, scraped time.Time) *Batch {
	b := &Batch{}
	parser, err := textparse.New(body, "text/plain", labels.NewSymbolTable(), textparse.ParserOptions{})
	require.NoError(t, err)
	var series labels.Labels
	for {
		entry, err := parser.Next()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				t.Log(err)
			}
			return b
		}
		if entry != textparse.EntrySeries {
			continue
		}
		_, timestamp, value := parser.Series()
		parser.Labels(&series)
		ms := scraped.UnixMilli()
		if timestamp != nil {
			ms = *timestamp
		}
		b.Add(series, ms, value)
	}
}

// What a real kubelet serves (v1.36, a node with one pod), 15 seconds apart.
const (
	firstBody = `# HELP container_cpu_usage_seconds_total [STABLE] Cumulative cpu time consumed by the container in core-seconds
# TYPE container_cpu_usage_seconds_total counter
container_cpu_usage_seconds_total{container="coredns",namespace="kube-system",pod="coredns-7d764666f9-x2x9q"} 4.710169 1633253812125
# TYPE container_memory_working_set_bytes gauge
container_memory_working_set_bytes{container="coredns",namespace="kube-system",pod="coredns-7d764666f9-x2x9q"} 1.253376e+07 1633253812125
# TYPE container_start_time_seconds gauge
container_start_time_seconds{container="coredns",namespace="kube-system",pod="coredns-7d764666f9-x2x9q"} 1.6332527120000002e+09
# TYPE container_swap_usage_bytes gauge
container_swap_usage_bytes{container="coredns",namespace="kube-system",pod="coredns-7d764666f9-x2x9q"} 0 1633253812125
# TYPE node_cpu_usage_seconds_total counter
node_cpu_usage_seconds_total 357.35491 1633253809720
# TYPE node_memory_working_set_bytes gauge
node_memory_working_set_bytes 1.616273408e+09 1633253809720
# TYPE resource_scrape_error gauge
resource_scrape_error 0
`
	secondBody = `container_cpu_usage_seconds_total{container="coredns",namespace="kube-system",pod="coredns-7d764666f9-x2x9q"} 4.740169 1633253827125
container_memory_working_set_bytes{container="coredns",namespace="kube-system",pod="coredns-7d764666f9-x2x9q"} 1.263376e+07 1633253827125
container_start_time_seconds{container="coredns",namespace="kube-system",pod="coredns-7d764666f9-x2x9q"} 1.6332527120000002e+09
node_cpu_usage_seconds_total 360.35491 1633253824720
node_memory_working_set_bytes 1.616273408e+09 1633253824720
resource_scrape_error 0
`
)

func TestKubeletsBodies(t *testing.T) {
	s := NewStore(Options{})
	s.SetNodes([]string{"n"})
	require.NoError(t, s.Put("n", decode(t, []byte(firstBody), epoch)))
	require.NoError(t, s.Put("n", decode(t, []byte(secondBody), epoch)))
	values, err := s.PodMetrics(t.Context(), []*corev1.Pod{podOn("n", "kube-system", "coredns-7d764666f9-x2x9q")})
	require.NoError(t, err)
	require.Len(t, values, 1)
	require.Equal(t, time.UnixMilli(1633253827125), values[0].Timestamp.Time)
	require.Equal(t, 15*time.Second, values[0].Window.Duration)
	require.InDelta(t, 0.002, values[0].Containers[0].Usage.Cpu().AsApproximateFloat64(), 1e-9)
	require.EqualValues(t, 12_633_760, values[0].Containers[0].Usage.Memory().Value())
	nodes, err := s.NodeMetrics(t.Context(), []*corev1.Node{{ObjectMeta: metav1.ObjectMeta{Name: "n"}}})
	require.NoError(t, err)
	require.Equal(t, "200m", nodes[0].Usage.Cpu().String())
}

// Whatever two bodies say, nothing panics, and a pod or node has either a possible value or a reason.
func FuzzBodies(f *testing.F) {
	f.Add([]byte(firstBody), []byte(secondBody))
	f.Add([]byte(secondBody), []byte(firstBody))
	f.Add([]byte("node_cpu_usage_seconds_total 1e300 9223372036854775807\nnode_memory_working_set_bytes NaN\n"),
		[]byte("node_cpu_usage_seconds_total{a=\"b\"} -1 -5\nnode_memory_working_set_bytes 9.3e18\n"))
	f.Add([]byte("container_cpu_usage_seconds_total{namespace=\"a\",pod=\"p\",container=\"c\"} 1e10 12000\ncontainer_memory_working_set_bytes{namespace=\"a\",pod=\"p\",container=\"c\"} 1\n"), []byte(""))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		s := NewStore(Options{})
		s.SetNodes([]string{"n"})
		var last *snapshot
		for _, body := range [][]byte{first, second, first} {
			if s.Put("n", decode(t, body, epoch)) == nil {
				last = s.kubelets["n"].snapshot
			}
			if last == nil {
				continue
			}
			for i := range last.pods {
				object := podOn("n", last.pods[i].namespace, last.pods[i].name)
				values, err := s.PodMetrics(t.Context(), []*corev1.Pod{object})
				require.NoError(t, err)
				require.Equal(t, len(values) == 0, s.Pod(t.Context(), object).String() != "")
				for _, value := range values {
					require.Len(t, value.Containers, len(last.pods[i].containers))
					require.Positive(t, value.Window.Duration)
					for _, c := range value.Containers {
						require.GreaterOrEqual(t, c.Usage.Cpu().Sign(), 0)
						require.Positive(t, c.Usage.Memory().Sign())
					}
				}
			}
			nodeAnswer(t, s, "n")
		}
	})
}
