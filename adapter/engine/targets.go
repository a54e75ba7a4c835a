package engine

import (
	"context"
	"net/url"
	"slices"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
)

// Target is a target that the engine scrapes.
type Target struct {
	Address string // host, port and path
	Up      bool   // the reason is on the engine's own pages only: it may contain what the target sent
}

// maxTargets is the maximum number of targets that Targets returns.
const maxTargets = 100

// Targets returns the engine's active targets of pods. It omits targets without a label for the pod. After an error it
// returns none.
func (e *Engine) Targets(ctx context.Context, namespace string, pods []string) (found []Target) {
	var all v1.TargetsResult
	// The engine sends the targets of all namespaces: concurrent explanations share one list.
	shared := e.lists.DoChan(e.Name(), func() (any, error) { return e.targets(context.WithoutCancel(ctx)) })
	select {
	case <-ctx.Done():
		return nil
	case result := <-shared:
		if result.Err != nil {
			e.opts.Logger.Debug("could not list the engine's targets", "engine", e.Name(), "err", result.Err)
			return nil
		}
		all, _ = result.Val.(v1.TargetsResult)
	}
	builder := labels.NewScratchBuilder(0)
	for i := range all.Active {
		t := &all.Active[i]
		of := labelsOf(&builder, model.Metric(t.Labels))
		if of.Get("namespace") != namespace || !slices.Contains(pods, of.Get("pod")) {
			continue
		}
		target := Target{Up: t.Health == v1.HealthGood, Address: of.Get(model.InstanceLabel)}
		if at, err := url.Parse(t.ScrapeURL); err == nil { // without parameters, which may be secrets
			target.Address = at.Host + at.Path
		}
		if found = append(found, target); len(found) >= maxTargets {
			break
		}
	}
	return found
}

// targets returns all of the engine's targets. They are shared: read only.
func (e *Engine) targets(ctx context.Context) (all v1.TargetsResult, err error) {
	err = e.ask(context.WithValue(ctx, listKey{}, true), func(ctx context.Context, api v1.API) (err error) {
		all, err = api.Targets(ctx)
		return err
	})
	return all, err
}
