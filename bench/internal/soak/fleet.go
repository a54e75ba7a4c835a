package soak

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

const (
	services = 6
	pods     = 200
	port     = 8080

	counter     = "http_requests_total"
	rateMetric  = "http_requests" // the counter's rate
	gaugeMetric = "queue_depth"
	// churning are gauges whose labels are new every churn.
	churning   = "churning"
	churn      = 30 * time.Second
	churnOfPod = 10

	// remembered is how long a pod is known that has gone.
	remembered = 5 * time.Minute
)

// pod is one that is there, or was.
type pod struct {
	name, service, ip string
	rate, depth       float64
	made              time.Time
	base              float64   // of the counter, when it was made
	ready             time.Time // zero until the API server knows
	gone              time.Time // zero while it is there
}

// fleet are the pods, and the server that answers for them.
type fleet struct {
	server *http.Server
	served chan error
	url    string

	mu   sync.Mutex
	made int
	byIP map[string]*pod
}

func startFleet(ctx context.Context) (*fleet, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	f := &fleet{url: "http://" + listener.Addr().String(), served: make(chan error, 1), byIP: map[string]*pod{}}
	f.server = &http.Server{Handler: f, ReadHeaderTimeout: time.Minute}
	go func() { f.served <- f.server.Serve(listener) }()
	return f, nil
}

func (f *fleet) stop() error {
	err := f.server.Close()
	if served := <-f.served; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

// ServeHTTP is the proxy to the pods.
func (f *fleet) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	p := f.byIP[r.URL.Hostname()]
	there := p != nil && p.gone.IsZero()
	f.mu.Unlock()
	if !there {
		http.Error(w, "no pod listens there", http.StatusBadGateway)
		return
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	_, _ = w.Write([]byte(p.expose(time.Now()))) // promlet may be gone
}

// expose is what a pod exposes. The counter's samples have their own time, so that a late answer is as true.
func (p *pod) expose(now time.Time) string {
	var b strings.Builder
	now = now.Truncate(time.Millisecond)
	fmt.Fprintf(&b, "# TYPE %[1]s counter\n%[1]s %[2]f %[3]d\n", counter, p.base+p.rate*now.Sub(p.made).Seconds(), now.UnixMilli())
	fmt.Fprintf(&b, "# TYPE %[1]s gauge\n%[1]s %[2]g\n# TYPE %[3]s gauge\n", gaugeMetric, p.depth, churning)
	for i := range churnOfPod {
		fmt.Fprintf(&b, "%s{id=\"%d-%d\"} 1\n", churning, now.UnixNano()/int64(churn), i)
	}
	return b.String()
}

// add makes a pod.
func (f *fleet) add(service string) *pod {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.made++
	p := &pod{
		name: fmt.Sprintf("%s-%d", service, f.made), service: service, ip: fmt.Sprintf("10.244.%d.%d", f.made/250, 1+f.made%250),
		rate: float64(1 + rand.IntN(100)), depth: float64(rand.IntN(100)), base: float64(rand.IntN(1e6)), made: time.Now().Truncate(time.Millisecond), //nolint:gosec // No secret.
	}
	f.byIP[p.ip] = p
	maps.DeleteFunc(f.byIP, func(_ string, p *pod) bool { return !p.gone.IsZero() && time.Since(p.gone) > remembered })
	return p
}

// any returns some pod that is there.
func (f *fleet) any() *pod {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.byIP { // in random order
		if p.gone.IsZero() {
			return p
		}
	}
	return nil
}

func (f *fleet) ready(p *pod) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p.ready = time.Now()
}

func (f *fleet) remove(p *pod) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p.gone = time.Now()
}

// all returns copies of the pods.
func (f *fleet) all() []pod {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []pod
	for _, p := range f.byIP {
		all = append(all, *p)
	}
	return all
}
