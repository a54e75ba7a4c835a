package process

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/promlet/promlet/bench/internal/harness"
)

// What the targets are.
const (
	targets = 40
	// Each has families counters with familySeries series each. One of them is what
	// the HorizontalPodAutoscaler reads: 1 %.
	families     = 100
	familySeries = 50
	readFamily   = "http_requests_total"
	// readMetric is the name of its rate.
	readMetric = "http_requests"
)

// rate is by how much the i-th series of a family grows in a second.
func rate(i int) int { return 1 + i%10 }

// trueRate is by how much all series of a family of all targets together grow in a
// second.
func trueRate() float64 {
	sum := 0
	for i := range familySeries {
		sum += rate(i)
	}
	return float64(sum * targets)
}

// server is all targets, each with an address of its own on loopback. Its counters are
// those of the second, so that one body serves all targets.
type server struct {
	http      *http.Server
	serving   errgroup.Group
	addresses []string
	started   time.Time

	mtx          sync.Mutex
	second       int
	text, zipped []byte
}

func startTargets(ctx context.Context, _ []byte) (harness.Child, error) {
	s := &server{started: time.Now()}
	s.http = &http.Server{Handler: s, ReadHeaderTimeout: time.Minute}
	for range targets {
		listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, errors.Join(fmt.Errorf("listen: %w", err), s.Close())
		}
		s.addresses = append(s.addresses, listener.Addr().String())
		s.serving.Go(func() error { return s.http.Serve(listener) })
	}
	return s, nil
}

// Answer answers every line with the addresses.
func (s *server) Answer(string) (any, error) { return s.addresses, nil }

// Close ends all targets, and waits for them.
func (s *server) Close() error {
	err := s.http.Close()
	if failed := s.serving.Wait(); !errors.Is(failed, http.ErrServerClosed) {
		err = errors.Join(err, failed)
	}
	return err
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	text, zipped := s.bodies(1 + int(time.Since(s.started)/time.Second))
	harness.WriteMetrics(w, r, text, zipped)
}

// bodies returns the body of a second, not before the first, plain and compressed. They
// are not written to afterwards.
func (s *server) bodies(second int) (text, zipped []byte) {
	s.mtx.Lock()
	defer s.mtx.Unlock()
	if s.second != second {
		s.second, s.text = second, bodyAt(second)
		s.zipped = harness.Zip(s.text)
	}
	return s.text, s.zipped
}

// bodyAt is the body after so many seconds, in Prometheus's text format.
func bodyAt(second int) []byte {
	methods, codes := [...]string{"GET", "POST"}, [...]string{"200", "201", "400", "404", "500"}
	var b []byte
	for f := range families {
		name := fmt.Sprintf("app_component_%02d_operations_total", f)
		if f == families/2 {
			name = readFamily
		}
		b = fmt.Appendf(b, "# HELP %s Operations that this part of the application has done.\n# TYPE %s counter\n", name, name)
		for i := range familySeries {
			b = append(b, name...)
			b = fmt.Appendf(b, `{route="/api/v1/items/%d/details",method=%q,code=%q} `, i/10, methods[i%2], codes[i/2%5])
			b = strconv.AppendInt(b, int64(1000*f+i+rate(i)*second), 10)
			b = append(b, '\n')
		}
	}
	return b
}
