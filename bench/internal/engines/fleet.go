package engines

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/promlet/promlet/bench/internal/harness"
)

const (
	services      = 5
	podsOfService = 400

	counter     = "http_requests_total"
	rateMetric  = "http_requests" // the counter's rate
	gaugeMetric = "queue_depth"
	// unread is the number of series of each pod that no HPA reads.
	unread = 40
)

// metrics returns the metrics that HPAs read.
func metrics() []string { return []string{rateMetric, gaugeMetric} }

// pod is a target. It exposes a counter with a known rate, and a gauge.
type pod struct {
	name, service, ip string
	rate, depth       float64
}

// value returns the true value of a metric.
func (p pod) value(metric string) float64 {
	if metric == rateMetric {
		return p.rate
	}
	return p.depth
}

// body returns the metrics that the pod exposes after a time.
func (p pod) body(after time.Duration) []byte {
	b := fmt.Appendf(nil, "# TYPE %s counter\n", counter)
	for i, share := range []float64{0.4, 0.3, 0.2, 0.1} {
		b = fmt.Appendf(b, "%s{code=\"%d\"} %f\n", counter, 200+i, 1000+share*p.rate*after.Seconds())
	}
	b = fmt.Appendf(b, "# TYPE %[1]s gauge\n%[1]s %[2]g\n# TYPE unread_total counter\n", gaugeMetric, p.depth)
	for i := range unread {
		b = fmt.Appendf(b, "unread_total{part=\"%d\"} %.0f\n", i, after.Seconds())
	}
	return b
}

// newPods returns all pods. Each has an address of its own on loopback, so that shards divide them as in a cluster.
func newPods() (all []pod) {
	for s := range services {
		for i := range podsOfService {
			service := fmt.Sprintf("app-%d", s)
			all = append(all, pod{
				name: fmt.Sprintf("%s-%03d", service, i), service: service, ip: fmt.Sprintf("127.%d.%d.%d", 10+s, i/200, 1+i%200),
				rate: float64(10*(1+s) + i%10), depth: float64(1 + s + i%7),
			})
		}
	}
	return all
}

// fleet serves the metrics of the pods.
type fleet struct {
	pods    map[string]pod // by IP address
	http    *http.Server
	serving errgroup.Group
	began   time.Time
}

// startFleet serves the pods, each at its own address and all at the same port.
func startFleet(ctx context.Context, pods []pod, port string) (*fleet, error) {
	f := &fleet{pods: map[string]pod{}, began: time.Now()}
	f.http = &http.Server{Handler: f, ReadHeaderTimeout: time.Minute}
	for _, p := range pods {
		f.pods[p.ip] = p
	}
	for _, p := range pods {
		listener, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(p.ip, port))
		if err != nil {
			return nil, errors.Join(fmt.Errorf("serve a pod's metrics: %w", err), f.stop())
		}
		f.serving.Go(func() error { return f.http.Serve(listener) })
	}
	return f, nil
}

// ServeHTTP answers a scrape.
func (f *fleet) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	host, _, _ := strings.Cut(r.Host, ":")
	p, ok := f.pods[host]
	if !ok {
		http.NotFound(w, r)
		return
	}
	body := p.body(time.Since(f.began))
	harness.WriteMetrics(w, r, body, harness.Zip(body))
}

// stop stops serving the pods, and waits for the end.
func (f *fleet) stop() error {
	err := f.http.Close()
	if failed := f.serving.Wait(); !errors.Is(failed, http.ErrServerClosed) {
		err = errors.Join(err, failed)
	}
	return err
}
