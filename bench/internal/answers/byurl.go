package answers

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/promlet/promlet/bench/controlplane"
	"github.com/promlet/promlet/bench/internal/harness"
	"github.com/promlet/promlet/bench/upstream"
)

const (
	urlInterval = 5 * time.Second  // scrape interval of Prometheus
	stopGrace   = 10 * time.Second // for a program to stop
	startTime   = 4 * time.Minute  // for a program to answer everything: the first program waits for a full window
)

// urlFleets returns the fleets that both programs are asked about. Each has its own namespace.
func urlFleets() []fleet {
	return []fleet{{Namespaces: 1, Apps: 1, Pods: 22}, {Namespaces: 1, Apps: 1, Pods: 100}}
}

// byURL is a comparison of promlet with prometheus-adapter.
type byURL struct {
	promlet, adapter, prometheus string // binaries
	counting                     time.Duration
	dir                          string // of all files that the run writes
	plane                        *controlplane.Plane
	engine                       string // Prometheus's URL
}

// ByURLCommand measures the answers of promlet and of prometheus-adapter, both over one Prometheus and one cluster, with
// one file of rules. Both run with their own defaults.
func ByURLCommand() harness.Command {
	b := &byURL{}
	return harness.Command{
		Name: "byurl", Limit: 15 * time.Minute,
		Flags: func(flags *flag.FlagSet) {
			flags.StringVar(&b.promlet, "promlet", "bin/promlet", "promlet's binary")
			flags.StringVar(&b.adapter, "adapter", "bin/prometheus-adapter", "prometheus-adapter's binary")
			flags.StringVar(&b.prometheus, "prometheus", "bin/prometheus", "Prometheus's binary")
			flags.DurationVar(&b.counting, "duration", 10*time.Second, "how long each question is asked")
		},
		Run: func(ctx context.Context, out io.Writer) (err error) {
			if b.dir, err = os.MkdirTemp("", "promlet-byurl-"); err != nil {
				return err
			}
			defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
			results, err := b.run(ctx)
			if err != nil {
				return err
			}
			return reportByURL(out, results, b.counting)
		},
	}
}

// run starts the cluster, the pods' exporter and Prometheus, and measures both programs, one after the other.
func (b *byURL) run(ctx context.Context) (results []*result, err error) {
	if b.plane, err = controlplane.Start(ctx, controlplane.Options{LogDir: b.dir}); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.plane.Stop()) }()
	if err := createPods(ctx, b.plane.Config(), urlFleets()); err != nil {
		return nil, err
	}
	exporter, err := startExporter(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, exporter.close()) }()
	config := filepath.Join(b.dir, "prometheus.yml")
	if err := os.WriteFile(config, exporter.prometheusConfig(urlFleets()), 0o600); err != nil {
		return nil, err
	}
	url, stop, err := upstream.Start(ctx, b.prometheus, config, filepath.Join(b.dir, "prometheus"))
	if err != nil {
		return nil, err
	}
	defer stop()
	b.engine = url
	var all [][]*result
	for _, program := range b.programs() {
		measured, err := b.measure(ctx, program)
		if err != nil {
			return nil, fmt.Errorf("measure %s: %w", program.name, err)
		}
		all = append(all, measured)
	}
	return byQuestion(all), nil
}

// measure starts a program, waits until all its answers are right, and measures them.
func (b *byURL) measure(ctx context.Context, p urlProgram) (results []*result, err error) {
	config := b.plane.Config()
	certificate, err := tls.X509KeyPair(config.CertData, config.KeyData)
	if err != nil {
		return nil, err
	}
	running, s, err := b.start(ctx, p, certificate)
	if err != nil {
		return nil, err
	}
	defer running.Stop(stopGrace)
	for _, f := range urlFleets() {
		for _, q := range urlQuestions(f) {
			if err := b.wait(ctx, running, s, q); err != nil {
				return nil, err
			}
			m, err := measure(ctx, s, q, b.counting)
			if err != nil {
				return nil, err
			}
			results = append(results, &result{name: q.name + ": " + p.name, measured: m})
		}
	}
	return results, nil
}

// wait waits until a program's answer to a question is right.
func (b *byURL) wait(ctx context.Context, running *harness.Program, s *server, q question) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	c := newClient(s.address, s.client)
	defer c.close()
	return running.Wait(ctx, time.Second, func(ctx context.Context) error {
		_, _, err := c.verify(ctx, q)
		return err
	})
}

// byQuestion sorts the programs' results so that those of one question follow each other.
func byQuestion(programs [][]*result) (all []*result) {
	for i := range programs[0] {
		for _, results := range programs {
			all = append(all, results[i])
		}
	}
	return all
}

// reportByURL prints the table and how it was measured.
func reportByURL(out io.Writer, results []*result, counting time.Duration) error {
	var shown []column
	for _, c := range columns() {
		if c.name != "allocations" && c.name != "allocated KiB" {
			shown = append(shown, c)
		}
	}
	if err := table(out, shown, results, nil); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, `
Each pod exposes %d series of a counter. One Prometheus scrapes all pods every %v and answers both programs, which run one
after the other with their own defaults, one file of rules and a real kube-apiserver. %d clients ask without a pause for %v,
each over a connection of its own, with the administrator's certificate. CPU is the program's CPU time for each answer, without
Prometheus's. One answer of each kind was checked.
`, podSeries, urlInterval, clients, counting)
	return err
}
