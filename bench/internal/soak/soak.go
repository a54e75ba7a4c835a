// Package soak runs promlet for a long time on a control plane where everything comes and goes, and prints each minute
// what it holds: memory, goroutines, descriptors and disk. Once the retention has passed, all of it must stay as it is;
// and no answer may ever be wrong.
//
// 200 pods of 6 Services are replaced, one every two seconds. Their series churn, HPAs come and go, the configuration is
// reloaded, and kube-apiserver is restarted. The pods are objects of the API server; one server of this process answers
// for all of them, as the proxy that the ServiceMonitor names, and knows the true value of each.
//
// It reads /proc, and so needs Linux.
package soak

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/promlet/promlet/bench/controlplane"
	"github.com/promlet/promlet/bench/internal/harness"
)

const (
	name = "soak"

	scrapeInterval = 5 * time.Second
	rateWindow     = 30 * time.Second
	stopGrace      = 35 * time.Second // as the attacks'
)

// soak is a run.
type soak struct {
	promlet   string // binary
	long      time.Duration
	retention time.Duration

	dir     string
	cleanup harness.Cleanup
	plane   *controlplane.Plane
	cluster *cluster
	fleet   *fleet
	program *harness.Program
	client  *client
	verdict judge
}

// Command is the subcommand.
func Command() harness.Command {
	s := &soak{promlet: "bin/promlet"}
	return harness.Command{
		Name: name, Limit: 24 * time.Hour,
		Flags: func(flags *flag.FlagSet) {
			flags.StringVar(&s.promlet, "promlet", s.promlet, "promlet's binary")
			flags.DurationVar(&s.long, "for", 30*time.Minute, "how long it runs")
			flags.DurationVar(&s.retention, "retention", 0, "promlet's retention; 0: a sixth of the run")
		},
		Run: func(ctx context.Context, out io.Writer) error { return s.run(ctx, out) },
	}
}

func (s *soak) run(ctx context.Context, out io.Writer) (err error) {
	if s.retention == 0 {
		s.retention = max(s.long/6, 2*rateWindow)
	}
	return harness.InTempDir(name, func(dir string) error {
		s.dir = dir
		return s.runIn(ctx, out)
	})
}

func (s *soak) runIn(ctx context.Context, out io.Writer) (err error) {
	defer func() { err = errors.Join(err, s.cleanup.Stop()) }()
	if err := s.setUp(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s.long)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	every := func(interval time.Duration, do func(ctx context.Context, n int) error) {
		group.Go(func() error {
			for n := 0; harness.Sleep(ctx, interval) == nil; n++ {
				if err := do(ctx, n); err != nil && ctx.Err() == nil {
					return err
				}
			}
			return nil
		})
	}
	every(2*time.Second, s.cluster.replacePod)
	every(10*time.Second, s.cluster.replaceHPA)
	every(30*time.Second, s.reload)
	every(max(s.long/6, time.Minute), s.restartAPIServer)
	every(500*time.Millisecond, s.ask)
	table := &table{soak: s, out: out, began: time.Now()}
	every(min(time.Minute, s.long/6), table.row)
	if err := group.Wait(); err != nil {
		return err
	}
	return errors.Join(s.verdict.result(out), table.flat(2*s.retention))
}

// setUp starts everything, and notes how to stop it.
func (s *soak) setUp(ctx context.Context) (err error) {
	if s.plane, err = controlplane.Start(ctx, controlplane.Options{LogDir: s.dir}); err != nil {
		return err
	}
	s.cleanup.Add(s.plane.Stop)
	if s.fleet, err = startFleet(ctx); err != nil {
		return err
	}
	s.cleanup.Add(s.fleet.stop)
	if s.cluster, err = newCluster(ctx, s.plane, s.fleet); err != nil {
		return err
	}
	if err := s.start(ctx); err != nil {
		return err
	}
	s.cleanup.Add(func() error {
		ended := s.program.Ended()
		s.program.Stop(stopGrace)
		return ended
	})
	return s.program.Wait(ctx, 100*time.Millisecond, s.client.ready)
}

// start starts promlet, outside of the cluster.
func (s *soak) start(ctx context.Context) error {
	ports, err := harness.FreePorts(2)
	if err != nil {
		return err
	}
	if s.client, err = newClient(s.plane.Config(), ports[0], ports[1]); err != nil {
		return err
	}
	if err := s.reload(ctx, 0); err != nil {
		return err
	}
	cmd := exec.CommandContext(context.WithoutCancel(ctx), s.promlet, "serve",
		"--kubeconfig", s.plane.Kubeconfig(), "--config", s.config(), "--data-dir", s.data(),
		"--bind-address", "127.0.0.1", "--secure-port", ports[0], "--web-listen-address", "127.0.0.1:"+ports[1],
		"--scrape-interval", scrapeInterval.String(), "--scrape-timeout", scrapeInterval.String(), "--rate-window", rateWindow.String(),
		"--retention", s.retention.String(), "--scrape-allowed-networks", "127.0.0.0/8")
	s.program, err = harness.StartProgram("promlet", cmd, filepath.Join(s.dir, "promlet.log"))
	return err
}

func (s *soak) config() string { return filepath.Join(s.dir, "config.yaml") }

func (s *soak) data() string { return filepath.Join(s.dir, "data") }

// reload changes the configuration. The churning series are always kept.
func (s *soak) reload(_ context.Context, n int) error {
	text := fmt.Sprintf("keep: [%s, version_%d]\n", churning, n)
	if err := os.WriteFile(s.config()+".new", []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(s.config()+".new", s.config())
}

// restartAPIServer takes kube-apiserver away for five seconds.
func (s *soak) restartAPIServer(ctx context.Context, _ int) error {
	s.cluster.mu.Lock() // nothing is changed meanwhile
	defer s.cluster.mu.Unlock()
	s.verdict.apiServerStops(time.Now())
	s.plane.StopAPIServer()
	if err := harness.Sleep(ctx, 5*time.Second); err != nil {
		return err
	}
	err := s.plane.StartAPIServer(ctx)
	s.verdict.apiServerIsBack(time.Now())
	return err
}

// ask asks for everything, and judges the answers.
func (s *soak) ask(ctx context.Context, _ int) error {
	if err := s.program.Ended(); err != nil {
		return err
	}
	for _, resource := range []string{"services", "pods"} {
		for _, metric := range []string{rateMetric, gaugeMetric} {
			began := time.Now()
			values, err := s.client.values(ctx, resource, metric)
			if ctx.Err() != nil {
				return nil
			}
			s.verdict.judge(s.fleet, resource, metric, began, values, err)
		}
	}
	return nil
}
