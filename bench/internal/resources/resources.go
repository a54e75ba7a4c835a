// Package resources measures what metrics.k8s.io costs with promlet and with metrics-server, and compares their answers: both
// run side by side on one kube-apiserver and scrape the same kubelets.
//
// The kubelets are played: HTTPS servers on loopback, whose counters are functions of the time. So each answer can be checked
// against what its kubelet measured.
package resources

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/promlet/promlet/bench/controlplane"
	"github.com/promlet/promlet/bench/internal/harness"
	"github.com/promlet/promlet/bench/upstream"
)

const (
	stopGrace = 10 * time.Second // for a program to stop
	startTime = 4 * time.Minute  // for a program to answer for all pods
	// settling is how long programs are left alone when both have answered for all pods.
	settling = 30 * time.Second
	// askEvery is how often both are asked for everything.
	askEvery = 5 * time.Second

	// The files of the kubelets' CA, and of the client certificate that kubelets are scraped with.
	caFile, certFile, keyFile = "kubelets.crt", "client.crt", "client.key"
)

// bench is a comparison of promlet with metrics-server.
type bench struct {
	promlet, metricsServer string // binaries
	sizes                  string // numbers of kubelets
	during                 time.Duration
	dir                    string // of all files that the run writes
	plane                  *controlplane.Plane
}

// result is what was measured with a number of kubelets.
type result struct {
	kubelets int
	took     time.Duration
	sides    []*side
	comparison
}

// Command is the subcommand. A run takes eight minutes.
func Command() harness.Command {
	b := &bench{}
	return harness.Command{
		Name: "resources", Limit: time.Hour,
		Flags: func(flags *flag.FlagSet) {
			flags.StringVar(&b.promlet, "promlet", "bin/promlet", "promlet's binary")
			flags.StringVar(&b.sizes, "kubelets", "1,20,100", "numbers of kubelets")
			flags.DurationVar(&b.during, "duration", time.Minute, "how long both are asked, for each number of kubelets")
		},
		Run: func(ctx context.Context, out io.Writer) (err error) {
			sizes, err := parseSizes(b.sizes)
			if err != nil {
				return err
			}
			if b.metricsServer, err = upstream.BuildMetricsServer(ctx, "bench/metricsserver"); err != nil {
				return err
			}
			if b.dir, err = os.MkdirTemp("", "promlet-resources-"); err != nil {
				return err
			}
			defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
			results, err := b.run(ctx, sizes)
			if err != nil {
				return err
			}
			return report(out, results, b.during)
		},
	}
}

func parseSizes(text string) (sizes []int, err error) {
	for field := range strings.SplitSeq(text, ",") {
		size, err := strconv.Atoi(field)
		if err != nil || size < 1 {
			return nil, fmt.Errorf("-kubelets=%s: give numbers such as 1,20", text)
		}
		sizes = append(sizes, size)
	}
	slices.Sort(sizes)
	return sizes, nil
}

// run starts the cluster, and measures both programs with each number of kubelets.
func (b *bench) run(ctx context.Context, sizes []int) (results []*result, err error) {
	if b.plane, err = controlplane.Start(ctx, controlplane.Options{LogDir: b.dir}); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.plane.Stop()) }()
	config := b.plane.Config()
	client, err := newCluster(ctx, config)
	if err != nil {
		return nil, err
	}
	var kubelets []*kubelet
	defer func() {
		for _, k := range kubelets {
			k.server.Close()
		}
	}()
	for _, size := range sizes {
		for len(kubelets) < size {
			k := startKubelet(len(kubelets))
			kubelets = append(kubelets, k)
			if err := k.register(ctx, client); err != nil {
				return nil, err
			}
		}
		for name, content := range map[string][]byte{caFile: kubelets[0].ca(), certFile: config.CertData, keyFile: config.KeyData} {
			if err := os.WriteFile(filepath.Join(b.dir, name), content, 0o600); err != nil {
				return nil, err
			}
		}
		r, err := b.measure(ctx, kubelets)
		if err != nil {
			return nil, fmt.Errorf("measure %d kubelets: %w", size, err)
		}
		results = append(results, r)
	}
	return results, nil
}

// measure starts both programs, waits until they answer for everything, and asks both for a time.
func (b *bench) measure(ctx context.Context, kubelets []*kubelet) (*result, error) {
	promlet, err := b.start(ctx, "promlet", b.promlet, "serve", "--resource-metrics",
		"--web-listen-address=", "--data-dir=$DIR", "--scrape-allowed-networks=127.0.0.0/8")
	if err != nil {
		return nil, err
	}
	defer promlet.program.Stop(stopGrace)
	metricsServer, err := b.start(ctx, "metrics-server", b.metricsServer, "--cert-dir=$DIR")
	if err != nil {
		return nil, err
	}
	defer metricsServer.program.Stop(stopGrace)
	r := &result{kubelets: len(kubelets), sides: []*side{promlet, metricsServer}}
	want := len(kubelets) * (1 + podsPerKubelet)
	for _, s := range r.sides {
		if err := s.wait(ctx, want); err != nil {
			return nil, err
		}
	}
	if err := harness.Sleep(ctx, settling); err != nil {
		return nil, err
	}
	return r, r.watch(ctx, kubelets, b.during)
}

// wait waits until a program answers for so many nodes and pods.
func (s *side) wait(ctx context.Context, want int) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	return s.program.Wait(ctx, time.Second, func(ctx context.Context) error {
		all, _, err := s.answers(ctx)
		if err == nil && len(all) < want {
			err = fmt.Errorf("%s answers for %d of %d nodes and pods", s.name, len(all), want)
		}
		return err
	})
}

// watch asks both programs for a time.
func (r *result) watch(ctx context.Context, kubelets []*kubelet, during time.Duration) error {
	began := time.Now()
	for _, s := range r.sides {
		before, err := s.cpuTime()
		if err != nil {
			return err
		}
		s.cpu -= before
	}
	for time.Since(began) < during {
		if err := harness.Sleep(ctx, askEvery); err != nil {
			return err
		}
		var answers [2]map[string]answer
		for i, s := range r.sides {
			var err error
			if answers[i], err = s.ask(ctx); err != nil {
				return errors.Join(err, s.program.Ended())
			}
		}
		for _, k := range kubelets {
			r.add(k.node, answers)
			for _, pod := range k.pods {
				r.add(pod, answers)
			}
		}
	}
	for _, s := range r.sides {
		after, err := s.cpuTime()
		if err != nil {
			return err
		}
		s.cpu += after
	}
	r.took = time.Since(began)
	return nil
}

// ask asks for everything, and notes what that took.
func (s *side) ask(ctx context.Context) (map[string]answer, error) {
	if err := s.readMemory(); err != nil {
		return nil, err
	}
	before, err := s.cpuTime()
	if err != nil {
		return nil, err
	}
	all, took, err := s.answers(ctx)
	if err != nil {
		return nil, err
	}
	after, err := s.cpuTime()
	if err != nil {
		return nil, err
	}
	s.listing += after - before
	s.latencies = append(s.latencies, took)
	return all, nil
}
