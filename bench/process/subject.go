package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/promlet/promlet/bench/internal/harness"
)

// The names of what is measured.
const (
	promletOnDemand = "promlet, demand"
	promletAll      = "promlet, all"
	prometheusName  = "Prometheus"
)

// subject is a program to measure.
type subject struct {
	name, path string
	// prepare makes what the program needs to scrape the addresses in a directory of
	// its own, and gives its arguments. It is to listen on the two ports.
	prepare func(dir string, addresses []string, ports [2]string) ([]string, error)
	// answers gives what to ask of the program that listens on the two ports.
	answers func(ports [2]string) answers
}

// answers is what a program is asked.
type answers struct {
	ready  func(context.Context) error
	value  func(context.Context) (float64, error) // the rate of readFamily
	series func(context.Context) (float64, error) // in its TSDB's head
}

// subjects are in the order of the table's columns.
func subjects(promlet, prometheus string) []*subject {
	return []*subject{
		{promletOnDemand, promlet, preparePromlet("--ingest=demand"), askPromlet},
		// Without its limit it would store a part of what Prometheus does.
		{promletAll, promlet, preparePromlet("--ingest=all", "--series-limit=0"), askPromlet},
		{prometheusName, prometheus, preparePrometheus, askPrometheus},
	}
}

// preparePromlet prepares promlet: its API is on the first port, its web page on the
// second. It has further arguments.
func preparePromlet(further ...string) func(string, []string, [2]string) ([]string, error) {
	return func(dir string, addresses []string, ports [2]string) ([]string, error) {
		manifests := filepath.Join(dir, "manifests")
		if err := os.Mkdir(manifests, 0o700); err != nil {
			return nil, err
		}
		if err := writeManifests(manifests, addresses); err != nil {
			return nil, err
		}
		return append([]string{
			"serve", "--manifests=" + manifests, "--data-dir=" + filepath.Join(dir, "data"),
			"--scrape-interval=" + scrapeInterval.String(), "--rate-window=" + rateWindow.String(),
			"--secure-port=" + ports[0], "--web-listen-address=127.0.0.1:" + ports[1],
		}, further...), nil
	}
}

// preparePrometheus prepares Prometheus, which listens on the first port.
func preparePrometheus(dir string, addresses []string, ports [2]string) ([]string, error) {
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(prometheusConfig(addresses)), 0o600); err != nil {
		return nil, err
	}
	return []string{
		"--config.file=" + file, "--storage.tsdb.path=" + filepath.Join(dir, "data"),
		"--web.listen-address=127.0.0.1:" + ports[0],
	}, nil
}

// process is a running subject.
type process struct {
	*subject
	*harness.Program
	answers
	started time.Time
}

// start starts a subject on the addresses, with what it writes below a directory that
// is not there yet.
func (s *subject) start(ctx context.Context, dir string, addresses []string) (*process, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	ports, err := freePorts(ctx)
	if err != nil {
		return nil, err
	}
	args, err := s.prepare(dir, addresses, ports)
	if err != nil {
		return nil, fmt.Errorf("prepare %s: %w", s.name, err)
	}
	// Its end is Stop's business, which asks before it kills.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), s.path, args...)
	started := time.Now()
	program, err := harness.StartProgram(s.name, cmd, filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	return &process{subject: s, Program: program, answers: s.answers(ports), started: started}, nil
}

// freePorts finds two ports of loopback that nobody listens on.
func freePorts(ctx context.Context) (ports [2]string, err error) {
	for i := range ports {
		listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return ports, fmt.Errorf("find a free port: %w", err)
		}
		defer listener.Close() //nolint:errcheck // nothing was sent; held until both are found, to be different
		if _, ports[i], err = net.SplitHostPort(listener.Addr().String()); err != nil {
			return ports, err
		}
	}
	return ports, nil
}
