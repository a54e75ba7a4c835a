package attacks

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/metrics/pkg/apis/custom_metrics/v1beta2"

	"github.com/promlet/promlet/bench/internal/harness"
)

const (
	shopPods = 3
	podRate  = 100. // requests a second of each
	podDepth = 7.   // its queue, always

	shopRate  = "shop/services/app/http_requests"
	shopDepth = "shop/services/app/queue_depth"

	// accuracy is how far from the truth a rate may be. Samples of the counter have their own times, so that it makes no
	// difference how late the target comes to answer on a loaded machine.
	accuracy = 0.02
	// tooLate is when no answer counts any more. Other tests run beside these; on a machine of their own, the latest
	// answer comes within a second.
	tooLate = 5 * time.Second
)

// reader reads two values of the shop twice a second.
type reader struct {
	*site
	mayBeAbsent atomic.Bool // wrong it may never be
	stop        chan struct{}
	running     sync.WaitGroup

	mu       sync.Mutex // of what follows
	took     []time.Duration
	absent   int
	failures []string
}

// deployShop starts the application, with further keys of the monitor's endpoint.
func (s *site) deployShop(endpoint func(addresses []string) string) *reader {
	r := &reader{site: s, stop: make(chan struct{})}
	began := time.Now().Truncate(time.Millisecond)
	addresses := s.listen(shopPods, exposing(func(int) string {
		now := time.Now().Truncate(time.Millisecond)
		return fmt.Sprintf("# TYPE http_requests_total counter\nhttp_requests_total %f %d\n# TYPE queue_depth gauge\nqueue_depth %g\n",
			podRate*now.Sub(began).Seconds(), now.UnixMilli(), podDepth)
	}))
	s.deploy(app{namespace: "shop", name: "app", addresses: addresses, endpoint: endpoint(addresses)}, "http_requests", "queue_depth")
	return r
}

// exposing answers each request with a body, as an exporter does.
func exposing(body func(i int) string) func(conn net.Conn, i int) {
	return answering("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nConnection: close\r\n\r\n", body)
}

// answering answers each request with a status, headers and a body.
func answering(head string, body func(i int) string) func(conn net.Conn, i int) {
	return func(conn net.Conn, i int) {
		if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
			_, _ = io.WriteString(conn, head+body(i)) // promlet may have given up
		}
	}
}

func (r *reader) begin() {
	r.running.Go(func() {
		client := r.newClient()
		client.Timeout = 2 * tooLate
		tick := time.NewTicker(500 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-r.stop:
				return
			case <-tick.C:
			}
			r.read(client, shopRate)
			r.read(client, shopDepth)
			r.lookAtMemory()
		}
	})
}

func (r *reader) lookAtMemory() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.memory.look(int(r.pid.Load())); err != nil && !r.mayBeAbsent.Load() {
		r.fail("memory", err.Error())
	}
}

func (r *reader) read(client *http.Client, path string) {
	began, excused := time.Now(), r.mayBeAbsent.Load()
	value, err := valueOf(answer(client.Get("https://" + r.api + "/apis/custom.metrics.k8s.io/v1beta2/namespaces/" + path)))
	took := time.Since(began)
	excused = excused || r.mayBeAbsent.Load()
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		if r.absent++; !excused {
			r.fail(path, err.Error())
		}
		return
	}
	r.took = append(r.took, took)
	if took > tooLate && !excused {
		r.fail(path, fmt.Sprintf("the answer took %s", took))
	}
	if err := right(path, value); err != nil {
		r.fail(path, err.Error())
	}
}

// right is an error if a value of the shop is wrong.
func right(path string, value float64) error {
	want, allowed := shopPods*podDepth, 0.
	if path == shopRate {
		want, allowed = shopPods*podRate, accuracy
	}
	if math.Abs(value-want) > allowed*want {
		return fmt.Errorf("it is %g, and answered is %g", want, value)
	}
	return nil
}

func (r *reader) fail(what, how string) {
	r.failures = append(r.failures, fmt.Sprintf("%s %s: %s\n", time.Now().Format("15:04:05.000"), what, how))
}

// end wants all readings to have gone well.
func (r *reader) end() {
	r.Helper()
	close(r.stop)
	r.running.Wait()
	require.Empty(r, r.failures, "%d failures; %s", len(r.failures), r)
	require.GreaterOrEqual(r, len(r.took), 4, "values were read")
}

// String says how the readings went.
func (r *reader) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	slices.Sort(r.took)
	text := fmt.Sprintf("%d answers, p50 %s, p99 %s, the latest %s", len(r.took), round(harness.Quantile(r.took, 0.5)), round(harness.Quantile(r.took, 0.99)), round(harness.Quantile(r.took, 1)))
	if r.absent > 0 {
		text += fmt.Sprintf(", %d times none", r.absent)
	}
	return fmt.Sprintf("%s; at most %d MiB", text, r.memory.peak>>20)
}

func round(d time.Duration) time.Duration { return d.Round(100 * time.Microsecond) }

// valueOf reads the one value of an answer.
func valueOf(code int, body string, err error) (float64, error) {
	if err != nil {
		return 0, err
	}
	if code != http.StatusOK {
		var status struct{ Message string }
		_ = json.Unmarshal([]byte(body), &status) // not all errors are JSON
		return 0, fmt.Errorf("%d: %s", code, cmp.Or(status.Message, body))
	}
	var list v1beta2.MetricValueList
	if err := json.Unmarshal([]byte(body), &list); err != nil {
		return 0, err
	}
	if len(list.Items) != 1 {
		return 0, fmt.Errorf("%d values: %s", len(list.Items), body)
	}
	return list.Items[0].Value.AsApproximateFloat64(), nil
}
