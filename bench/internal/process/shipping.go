package process

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/promlet/promlet/bench/internal/harness"
)

const (
	// shippingSettling is the time until demand is known and every target has been scraped.
	shippingSettling = 3 * scrapeInterval
	// shippingSteady is the time in which every target is scraped four more times.
	shippingSteady = 4 * scrapeInterval
)

// ShippingCommand measures what the programs of the process benchmark send by remote write, with the same targets.
func ShippingCommand() harness.Command {
	promlet, prometheus := "bin/promlet", "bin/prometheus"
	return harness.Command{
		Name: "shipping", Limit: 5 * time.Minute,
		Flags: func(flags *flag.FlagSet) {
			flags.StringVar(&promlet, "promlet", promlet, "promlet's binary")
			flags.StringVar(&prometheus, "prometheus", prometheus, "Prometheus's binary")
		},
		Run: func(ctx context.Context, out io.Writer) error {
			results, err := measureShipping(ctx, promlet, prometheus)
			if err != nil {
				return err
			}
			return reportShipping(out, results)
		},
	}
}

// shipped is what one program sends in a second.
type shipped struct {
	name                     string
	bytes, samples, requests float64
}

func measureShipping(ctx context.Context, promlet, prometheus string) (results []shipped, err error) {
	dir, err := os.MkdirTemp("", "promlet-bench-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	engine, stop, err := startEngine(ctx)
	if err != nil {
		return nil, err
	}
	defer stop()
	all, err := shippingSubjects(dir, engine, promlet, prometheus)
	if err != nil {
		return nil, err
	}
	addresses, stopTargets, err := runTargets(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, stopTargets()) }()
	var running []*program
	for i, s := range all {
		p, err := s.start(ctx, filepath.Join(dir, strconv.Itoa(i)), addresses)
		if err != nil {
			return nil, err
		}
		defer p.Stop(stopGrace)
		running = append(running, p)
	}
	if err := harness.Sleep(ctx, shippingSettling); err != nil {
		return nil, err
	}
	results = make([]shipped, len(running))
	began := time.Now()
	for _, sign := range []float64{-1, 1} {
		for i, p := range running {
			if err := results[i].add(ctx, p, sign/shippingSteady.Seconds()); err != nil {
				return nil, err
			}
		}
		if sign < 0 {
			if err := harness.Sleep(ctx, time.Until(began.Add(shippingSteady))); err != nil {
				return nil, err
			}
		}
	}
	return results, nil
}

// startEngine starts a server that accepts all requests and drops the samples.
func startEngine(ctx context.Context) (url string, stop func(), err error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener) // it ends with Close
	}()
	return "http://" + listener.Addr().String(), func() {
		_ = server.Close() // there is nothing to keep
		<-done
	}, nil
}

// shippingSubjects returns the subjects, configured to send to an engine.
func shippingSubjects(dir, engine, promlet, prometheus string) ([]*subject, error) {
	ours := filepath.Join(dir, "promlet.yaml")
	if err := os.WriteFile(ours, fmt.Appendf(nil, "remoteWrite: [{name: engine, url: %q}]\n", engine), 0o600); err != nil {
		return nil, err
	}
	all := subjects(promlet, prometheus)
	for _, s := range all {
		if s.name != prometheusName {
			s.args = append(s.args, "--config="+ours)
			continue
		}
		config := s.config
		s.config = func(addresses []string) (string, error) {
			text, err := config(addresses)
			return text + fmt.Sprintf("remote_write: [{name: engine, url: %q}]\n", engine), err
		}
	}
	return all, nil
}

// add adds the program's counters, multiplied by a factor.
func (s *shipped) add(ctx context.Context, p *program, factor float64) error {
	metrics, err := p.get(ctx, p.metrics)
	if err != nil {
		return errors.Join(err, p.Ended())
	}
	s.name = p.name
	for counter, to := range map[string]*float64{
		"prometheus_remote_storage_bytes_total":                       &s.bytes,
		"prometheus_remote_storage_samples_total":                     &s.samples,
		"prometheus_remote_storage_sent_batch_duration_seconds_count": &s.requests,
	} {
		v, err := parseCounter(metrics, counter)
		if err != nil {
			return fmt.Errorf("read the metrics of %s: %w", p.name, err)
		}
		*to += factor * v
	}
	return nil
}

// parseCounter returns the value of a metric with one series.
func parseCounter(metrics []byte, name string) (float64, error) {
	for lines := bufio.NewScanner(bytes.NewReader(metrics)); lines.Scan(); {
		if line, ok := strings.CutPrefix(lines.Text(), name+"{"); ok {
			return strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
		}
	}
	return 0, fmt.Errorf("there is no %s", name)
}

func reportShipping(out io.Writer, results []shipped) error {
	head, bytes, samples, requests := []string{"", ""}, []string{"shipped", "bytes/s"}, []string{"shipped", "samples/s"}, []string{"requests", "1/s"}
	for _, r := range results {
		head = append(head, r.name)
		bytes = append(bytes, harness.Figure(r.bytes))
		samples = append(samples, harness.Figure(r.samples))
		requests = append(requests, harness.Figure(r.requests))
	}
	theirs := results[len(results)-1]
	head = append(head, "demand/Prometheus")
	bytes = append(bytes, fmt.Sprintf("%.4f", results[0].bytes/theirs.bytes))
	samples = append(samples, fmt.Sprintf("%.4f", results[0].samples/theirs.samples))
	if err := harness.Table(out, [][]string{head, bytes, samples, requests}); err != nil {
		return err
	}
	var verdict harness.Verdict
	ratio := results[0].samples / theirs.samples
	verdict.Expect(ratio <= shippedExpected, "samples shipped: %.4f", ratio)
	_, err := fmt.Fprintf(out, `
The load of "process": %d targets of %s series, scraped every %v; one HorizontalPodAutoscaler reads one counter of each. Each program
has a remote write to a server that takes and forgets all. Their own counters prometheus_remote_storage_bytes_total and
prometheus_remote_storage_samples_total, over %v, %v after the start.
Expected of promlet on demand: at most a fiftieth of the samples that Prometheus ships: %s.
`, targets, harness.Grouped(families*familySeries), scrapeInterval, shippingSteady, shippingSettling, verdict)
	return err
}

// shippedExpected is the maximum share of Prometheus's samples. promlet sends one counter of a hundred, and five series
// about each target.
const shippedExpected = 0.02
