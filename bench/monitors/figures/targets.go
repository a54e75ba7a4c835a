package main

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// metricsAddress is where the metrics of a pod are asked for.
func metricsAddress(pod *corev1.Pod) string {
	return net.JoinHostPort(pod.Status.PodIP, strconv.Itoa(portMetrics))
}

// targetServer is all targets of one side. It notes when each is first asked.
type targetServer struct {
	*httptest.Server

	mtx   sync.Mutex
	first map[string]time.Time // by the target's address
}

func newTargetServer() *targetServer {
	t := &targetServer{first: map[string]time.Time{}}
	t.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		now := time.Now()
		t.mtx.Lock()
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
