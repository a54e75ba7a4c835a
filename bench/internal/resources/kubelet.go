package resources

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
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

// meter is what a container or a node uses. Its CPU goes up and down with the time, its memory too.
type meter struct {
	cores, bytes float64 // the mean
	phase        float64 // of going up and down, in radians
}

const (
	swing = 0.5        // of the mean, up and down
	pulse = 1.0 / 30.0 // radians a second: three minutes for once up and down
)

// coreSeconds returns the counter at a time.
func (m meter) coreSeconds(at time.Time) float64 {
	seconds := float64(at.UnixMilli()%(1<<32)) / 1000
	return m.cores * (seconds + swing/pulse*(1-math.Cos(pulse*seconds+m.phase)))
}

// workingSet returns the gauge at a time, in bytes.
func (m meter) workingSet(at time.Time) float64 {
	seconds := float64(at.UnixMilli()%(1<<32)) / 1000
	return math.Round(m.bytes * (1 + swing*math.Sin(pulse*seconds+m.phase)))
}

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
	node    *measured
	pods    []*measured
	port    int
	started time.Time
	server  *http.Server
	served  chan error
}

func startKubelet(ctx context.Context, index int, certificate tls.Certificate) (*kubelet, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	k := &kubelet{
		node:    &measured{name: fmt.Sprintf("node-%d", index), meters: []meter{{cores: 4, bytes: 8 << 30, phase: float64(index)}}},
		port:    listener.Addr().(*net.TCPAddr).Port,
		started: time.Now().Add(-containersRun), served: make(chan error, 1),
	}
	for p := range podsPerKubelet {
		pod := &measured{name: fmt.Sprintf("application-7d764666f9-%d-%d", index, p), offset: int64(index*977+p*331) % samplePeriod.Milliseconds()}
		for c := range containersPerPod {
			pod.meters = append(pod.meters, meter{cores: 0.01 * float64(1+p+c), bytes: float64(int(1+p+c) << 20), phase: float64(index + p + c)})
		}
		k.pods = append(k.pods, pod)
	}
	k.server = &http.Server{Handler: k, ReadHeaderTimeout: time.Minute, TLSConfig: &tls.Config{
		Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12,
	}}
	go func() { k.served <- k.server.ServeTLS(listener, "", "") }()
	return k, nil
}

func (k *kubelet) close() error {
	err := k.server.Close()
	if served := <-k.served; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

func (k *kubelet) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/metrics/resource" {
		http.NotFound(w, r)
		return
	}
	body := k.body(time.Now())
	harness.WriteMetrics(w, r, body, harness.Zip(body))
}

// body returns all families that a kubelet exposes, in its order.
func (k *kubelet) body(now time.Time) []byte {
	var b strings.Builder
	family := func(name, kind string, of func(write func(labels string, at time.Time, value float64))) {
		fmt.Fprintf(&b, "# HELP %s [STABLE] %s\n# TYPE %s %s\n", name, name, name, kind)
		of(func(labels string, at time.Time, value float64) { fmt.Fprintf(&b, "%s%s %v %d\n", name, labels, value, at.UnixMilli()) })
	}
	containers := func(value func(meter, time.Time) float64) func(write func(string, time.Time, float64)) {
		return func(write func(string, time.Time, float64)) {
			for _, pod := range k.pods {
				at := pod.last(now)
				for i, m := range pod.meters {
					write(fmt.Sprintf(`{container=%q,namespace=%q,pod=%q}`, containerName(i), namespace, pod.name), at, value(m, at))
				}
			}
		}
	}
	pods := func(value func(meter, time.Time) float64) func(write func(string, time.Time, float64)) {
		return func(write func(string, time.Time, float64)) {
			for _, pod := range k.pods {
				at, sum := pod.last(now), 0.0
				for _, m := range pod.meters {
					sum += value(m, at)
				}
				write(fmt.Sprintf(`{namespace=%q,pod=%q}`, namespace, pod.name), at, sum)
			}
		}
	}
	node := func(value func(meter, time.Time) float64) func(write func(string, time.Time, float64)) {
		return func(write func(string, time.Time, float64)) {
			at := k.node.last(now)
			write("", at, value(k.node.meters[0], at))
		}
	}
	zero := func(meter, time.Time) float64 { return 0 }
	family("container_cpu_usage_seconds_total", "counter", containers(meter.coreSeconds))
	family("container_memory_working_set_bytes", "gauge", containers(meter.workingSet))
	family("container_start_time_seconds", "gauge", containers(func(meter, time.Time) float64 { return float64(k.started.Unix()) }))
	family("container_swap_usage_bytes", "gauge", containers(zero))
	family("node_cpu_usage_seconds_total", "counter", node(meter.coreSeconds))
	family("node_memory_working_set_bytes", "gauge", node(meter.workingSet))
	family("node_swap_usage_bytes", "gauge", node(zero))
	family("pod_cpu_usage_seconds_total", "counter", pods(meter.coreSeconds))
	family("pod_memory_working_set_bytes", "gauge", pods(meter.workingSet))
	family("pod_swap_usage_bytes", "gauge", pods(zero))
	b.WriteString("# TYPE resource_scrape_error gauge\nresource_scrape_error 0\n")
	return []byte(b.String())
}

func containerName(i int) string { return fmt.Sprintf("container-%d", i) }
