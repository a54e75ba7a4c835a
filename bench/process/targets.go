package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

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

// serve is all targets: it listens on loopback, answers each line with the addresses,
// and ends with in.
func serve(ctx context.Context, in io.Reader, out io.Writer) error {
	server := &http.Server{Handler: &app{started: time.Now()}, ReadHeaderTimeout: time.Minute}
	var addresses []string
	var wg sync.WaitGroup
	failed := make(chan error, targets)
	for range targets {
		listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			err = fmt.Errorf("listen: %w", err)
			failed <- errors.Join(err, server.Close())
			break
		}
		addresses = append(addresses, listener.Addr().String())
		wg.Go(func() {
			if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
				failed <- err
			}
		})
	}
	err := harness.Answer(in, out, func(string) (any, error) {
		select {
		case err := <-failed:
			return nil, err
		default:
			return addresses, nil
		}
	})
	err = errors.Join(err, server.Close())
	wg.Wait()
	return err
}

// app is what every target answers. Its counters are those of the second, so that one
// body serves all targets.
type app struct {
	started time.Time

	mtx          sync.Mutex
	second       int
	text, zipped []byte
}

// ServeHTTP answers as promhttp does: compressed if that is asked for.
func (a *app) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	text, zipped, err := a.bodies(1 + int(time.Since(a.started)/time.Second))
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		w.Header().Set("Content-Encoding", "gzip")
		text = zipped
	}
	_, _ = w.Write(text) // the client may be gone
}

// bodies gives the body of a second, not before the first, plain and compressed. They
// are not written to afterwards.
func (a *app) bodies(second int) (text, zipped []byte, err error) {
	a.mtx.Lock()
	defer a.mtx.Unlock()
	if a.second != second {
		text := bodyAt(second)
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		if _, err := z.Write(text); err != nil {
			return nil, nil, fmt.Errorf("zip: %w", err)
		}
		if err := z.Close(); err != nil {
			return nil, nil, fmt.Errorf("zip: %w", err)
		}
		a.second, a.text, a.zipped = second, text, b.Bytes()
	}
	return a.text, a.zipped, nil
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
