// Command figures prints what promlet's discovery costs beside Prometheus's on the
// same objects: memory held per pod, CPU time for one pod's change, and the time
// from an EndpointSlice event to the first scrape.
//
// The process is the API server and the targets: a small Kubernetes API on loopback
// that informers watch, and one HTTP server that every target's address leads to. Each
// side runs in a child process, so that neither side's figures hold anything of the
// other, or of the API server.
//
// promlet's side is discovery.Cluster, discovery.Discoverer and scrape.Manager.
// Prometheus's is discovery.Manager with discovery/kubernetes and scrape.Manager, on
// the configuration that prometheus-operator's ConfigGenerator makes of the same
// ServiceMonitors. Both append to nothing.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/promlet/promlet/bench/internal/harness"
)

func main() { harness.Main(command()) }

const name = "discovery"

// command is the one command. A run takes half of its limit.
func command() harness.Command {
	return harness.Command{Name: name, Limit: 8 * time.Minute, Run: figures, Child: startSide}
}

// figures measures and prints.
func figures(ctx context.Context, w io.Writer) error {
	results := []*result{{pods: 200}, {pods: 2000}}
	// promlet is mostly at rest, so that several do not disturb each other.
	err := atOnce(results, func(r *result) error { return measureAlone(ctx, &r.promlet.alone, sidePromlet, r.pods) })
	if err != nil {
		return err
	}
	for _, r := range results {
		if err := measureAlone(ctx, &r.prometheus.alone, sidePrometheus, r.pods); err != nil {
			return err
		}
		if err := r.sameTargets(); err != nil {
			return err
		}
	}
	// What is left is mostly waiting.
	if err := atOnce(results, func(r *result) error { return measureLive(ctx, r) }); err != nil {
		return err
	}
	return report(w, results)
}

func atOnce(results []*result, measure func(*result) error) error {
	errs := make([]error, len(results))
	var wg sync.WaitGroup
	for i, r := range results {
		wg.Go(func() { errs[i] = measure(r) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// sameTargets reports whether both sides came to the same URLs and labels before anything
// changed.
func (r *result) sameTargets() error {
	ours, theirs := r.promlet.targets, r.prometheus.targets
	for i, t := range ours {
		if i >= len(theirs) || t != theirs[i] {
			return fmt.Errorf("with %d pods Prometheus does not have promlet's target %s", r.pods, t)
		}
	}
	if !slices.Equal(ours, theirs) {
		return fmt.Errorf("with %d pods Prometheus has more targets than promlet: %d", r.pods, len(theirs))
	}
	return nil
}
