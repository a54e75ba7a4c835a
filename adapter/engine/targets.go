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
	Up      bool   // why it is not, only the engine's own pages tell: the reason may hold what the target sent
}

// maxTargets bounds what is returned.
const maxTargets = 100

// Targets returns the engine's active targets of pods, as far as the engine has any: none after a fault, and none of
// one whose labels do not name the pod.
func (e *Engine) Targets(ctx context.Context, namespace string, pods []string) (found []Target) {
	var all v1.TargetsResult
	// The engine sends the targets of everybody: many explanations at once hold them once.
	shared := e.lists.DoChan(e.Name(), func() (any, error) { return e.targets(context.WithoutCancel(ctx)) })
	select {
	case <-ctx.Done():
		return nil
	case result := <-shared:
		if result.Err != nil {
			e.opts.Logger.Debug("the engine does not tell its targets", "engine", e.Name(), "err", result.Err)
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
		if at, err := url.Parse(t.ScrapeURL); err == nil { // its parameters may be secrets
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
