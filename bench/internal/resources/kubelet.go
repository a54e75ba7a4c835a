package resources

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/promlet/promlet/bench/internal/harness"
)

const (
	podsPerKubelet   = 30
	containersPerPod = 2
	// samplePeriod is how often a kubelet measures a container: cAdvisor's housekeeping interval.
	samplePeriod = 10 * time.Second
	// sampleJitter is by how much a kubelet is late at most.
	sampleJitter = time.Second
	// containersRun is how long containers have run when a kubelet starts to play.
	containersRun = time.Hour
)

// meter is what a container or a node uses. Its CPU and its memory go up and down with the time.
type meter struct {
	since        time.Time // the counter was zero
	cores, bytes float64   // the mean
	phase        float64   // of going up and down, in radians
}

const (
	swing = 0.5      // of the mean, up and down
	pulse = 1.0 / 30 // radians a second: three minutes for once up and down
)

func (m meter) angle(at time.Time) float64 { return pulse*at.Sub(m.since).Seconds() + m.phase }

// coreSeconds returns the counter at a time: the integral of cores * (1 + swing*sin(angle)).
func (m meter) coreSeconds(at time.Time) float64 {
	return m.cores * (at.Sub(m.since).Seconds() + swing/pulse*(math.Cos(m.phase)-math.Cos(m.angle(at))))
}

// workingSet returns the gauge at a time, in bytes.
func (m meter) workingSet(at time.Time) float64 {
	return math.Round(m.bytes * (1 + swing*math.Sin(m.angle(at))))
}

func (m meter) start(time.Time) float64 { return float64(m.since.UnixMilli()) / 1000 }

func (m meter) none(time.Time) float64 { return 0 }

// measured is a node, or a pod, whose containers are measured together.
type measured struct {
	name   string
	meters []meter // of a pod's containers, or of the node alone
	offset int64   // of its samples, in milliseconds
}

// sampled returns the time of the nth sample.
func (m *measured) sampled(n int64) time.Time {
	late := (n*7919 + m.offset*31) % sampleJitter.Milliseconds()
	return time.UnixMilli(n*samplePeriod.Milliseconds() + m.offset + late)
}

// last returns the time of the last sample at a time.
func (m *measured) last(now time.Time) time.Time {
	n := (now.UnixMilli() - m.offset) / samplePeriod.Milliseconds()
	if at := m.sampled(n); !at.After(now) {
		return at
	}
	return m.sampled(n - 1)
}

// sampleOf returns the sample whose time has a second, false if there is none. No two have the same.
func (m *measured) sampleOf(second time.Time) (at time.Time, ok bool) {
	at = m.last(second.Add(time.Second - time.Millisecond))
	return at, at.Unix() == second.Unix()
}

// kubelet plays the kubelet of a node: it serves /metrics/resource over HTTPS on loopback.
type kubelet struct {
	node   *measured
	pods   []*measured
	server *httptest.Server
}

func startKubelet(index int) *kubelet {
	since := time.Now().Add(-containersRun)
	k := &kubelet{node: &measured{
		name: fmt.Sprintf("node-%d", index), meters: []meter{{since: since, cores: 4, bytes: 8 << 30, phase: float64(index)}},
	}}
	for p := range podsPerKubelet {
		pod := &measured{name: fmt.Sprintf("application-7d764666f9-%d-%d", index, p), offset: int64(index*977+p*331) % samplePeriod.Milliseconds()}
		for c := range containersPerPod {
			size := 1 + p + c
			pod.meters = append(pod.meters, meter{since: since, cores: 0.01 * float64(size), bytes: float64(size << 20), phase: float64(index + size)})
		}
		k.pods = append(k.pods, pod)
	}
	k.server = httptest.NewUnstartedServer(k)
	k.server.EnableHTTP2 = true
	k.server.StartTLS()
	return k
}

// ca returns the PEM text of the serving certificate, which is that of all kubelets and its own CA.
func (k *kubelet) ca() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: k.server.Certificate().Raw})
}

func (k *kubelet) port() int32 { return int32(k.server.Listener.Addr().(*net.TCPAddr).Port) }

func (k *kubelet) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/metrics/resource" {
		http.NotFound(w, r)
		return
	}
	body := k.body(time.Now())
	harness.WriteMetrics(w, r, body, harness.Zip(body))
}

// family is what a kubelet exposes of containers, pods or nodes: its name begins with which.
type family struct {
	name, kind string
	value      func(meter, time.Time) float64
}

// families returns all families that a kubelet exposes, in its order.
func families() []family {
	return []family{
		{"container_cpu_usage_seconds_total", "counter", meter.coreSeconds},
		{"container_memory_working_set_bytes", "gauge", meter.workingSet},
		{"container_start_time_seconds", "gauge", meter.start},
		{"container_swap_usage_bytes", "gauge", meter.none},
		{"node_cpu_usage_seconds_total", "counter", meter.coreSeconds},
		{"node_memory_working_set_bytes", "gauge", meter.workingSet},
		{"node_swap_usage_bytes", "gauge", meter.none},
		{"pod_cpu_usage_seconds_total", "counter", meter.coreSeconds},
		{"pod_memory_working_set_bytes", "gauge", meter.workingSet},
		{"pod_swap_usage_bytes", "gauge", meter.none},
	}
}

// body returns what is exposed at a time.
func (k *kubelet) body(now time.Time) []byte {
	var b bytes.Buffer
	for _, f := range families() {
		fmt.Fprintf(&b, "# HELP %s [STABLE] What is used\n# TYPE %[1]s %s\n", f.name, f.kind)
		of, _, _ := strings.Cut(f.name, "_")
		if of == "node" {
			at := k.node.last(now)
			fmt.Fprintf(&b, "%s %v %d\n", f.name, f.value(k.node.meters[0], at), at.UnixMilli())
			continue
		}
		for _, pod := range k.pods {
			at, sum := pod.last(now), 0.0
			for i, m := range pod.meters {
				sum += f.value(m, at)
				if of == "container" {
					fmt.Fprintf(&b, "%s{container=%q,namespace=%q,pod=%q} %v %d\n", f.name, containerName(i), namespace, pod.name, f.value(m, at), at.UnixMilli())
				}
			}
			if of == "pod" {
				fmt.Fprintf(&b, "%s{namespace=%q,pod=%q} %v %d\n", f.name, namespace, pod.name, sum, at.UnixMilli())
			}
		}
	}
	b.WriteString("# TYPE resource_scrape_error gauge\nresource_scrape_error 0\n")
	return b.Bytes()
}

func containerName(i int) string { return fmt.Sprintf("container-%d", i) }
