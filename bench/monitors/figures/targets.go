package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/promlet/promlet/bench/internal/harness"
	"github.com/promlet/promlet/scrape"
)

// betweenScrapes is after how long without a scrape no more are to come of targets that
// have an interval of never: promlet scrapes a new one at once and again scrape.QuickGap
// later.
const betweenScrapes = scrape.QuickGap + time.Second

// metricsAddress is where the metrics of a pod are asked for.
func metricsAddress(pod *corev1.Pod) string {
	return net.JoinHostPort(pod.Status.PodIP, strconv.Itoa(portMetrics))
}

// targetServer is all targets of one side. It notes when each is first asked.
type targetServer struct {
	*httptest.Server

	mtx   sync.Mutex
	first map[string]time.Time // by the target's address
	last  time.Time            // when any was last asked; at first, when the server began
}

func newTargetServer() *targetServer {
	t := &targetServer{first: map[string]time.Time{}, last: time.Now()}
	t.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		now := time.Now()
		t.mtx.Lock()
		t.last = now
		if _, met := t.first[r.Host]; !met {
			t.first[r.Host] = now
		}
		t.mtx.Unlock()
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		_, _ = io.WriteString(w, "requests_total 1\n") // the client may be gone
	}))
	return t
}

// asked tells when a target was first asked.
func (t *targetServer) asked(address string) (time.Time, bool) {
	t.mtx.Lock()
	defer t.mtx.Unlock()
	at, ok := t.first[address]
	return at, ok
}

// quiet waits until no more scrapes are to come of targets that are scraped never.
func (t *targetServer) quiet(ctx context.Context) error {
	for {
		t.mtx.Lock()
		left := time.Until(t.last.Add(betweenScrapes))
		t.mtx.Unlock()
		if left <= 0 {
			return nil
		}
		if err := harness.Sleep(ctx, left); err != nil {
			return err
		}
	}
}
