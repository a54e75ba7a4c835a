package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"sync"
	"time"
)

// asSteadyApp in the environment makes the test binary an application on that address, whose
// counters rise as fast as the file steadyShares says for the pod steadyPod.
const (
	asSteadyApp  = "PROMLET_TEST_STEADY_APP"
	steadyShares = "PROMLET_TEST_STEADY_SHARES"
	steadyPod    = "PROMLET_TEST_STEADY_POD"
)

// steadyBegin is what the counters begin with: they have run for an hour, as far as anybody
// can tell.
const steadyBegin = 180_000

// steadyCounter integrates its share.
type steadyCounter struct {
	mu    sync.Mutex
	value float64
	rate  float64
	at    time.Time
}

func (c *steadyCounter) set(rate float64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.value, c.at = c.now(), time.Now()
	c.rate = rate
}

func (c *steadyCounter) now() float64 { return c.value + c.rate*time.Since(c.at).Seconds() }

func steadyApp(listen, shares, pod string) error {
	c := &steadyCounter{value: steadyBegin, at: time.Now()}
	go func() {
		for ; ; time.Sleep(20 * time.Millisecond) {
			var all map[string]float64
			if text, err := os.ReadFile(shares); err == nil && json.Unmarshal(text, &all) == nil {
				c.set(all[pod])
			}
		}
	}()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(http.ResponseWriter, *http.Request) {})
	mux.Handle("GET /metrics", exposition(func() string {
		c.mu.Lock()
		defer c.mu.Unlock()
		return fmt.Sprintf("# TYPE http_requests_total counter\nhttp_requests_total %[1]f\n# TYPE steady_jobs_total counter\nsteady_jobs_total %[1]f\n", c.now())
	}))
	server := &http.Server{Addr: listen, ReadHeaderTimeout: 10 * time.Second, Handler: mux}
	return serveUntilTold(server, server.ListenAndServe)
}
