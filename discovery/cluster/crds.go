package cluster

import (
	"context"
	"time"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/promlet/promlet/discovery/objects"
)

// followCRDs watches each kind of monitor while its CRD is installed.
func (s *Source) followCRDs(ctx context.Context, store *objects.Store, changed func()) error {
	running := map[string]*watching{}
	defer func() {
		for _, w := range running {
			w.stop()
		}
	}()
	ticker := time.NewTicker(s.crdPoll)
	defer ticker.Stop()
	for {
		if err := s.updateCRDs(ctx, store, running, changed); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// updateCRDs starts and stops watches so that running has the kinds of monitors that
// the API server has now.
func (s *Source) updateCRDs(ctx context.Context, store *objects.Store, running map[string]*watching, changed func()) error {
	served, err := s.servedMonitors(ctx)
	if ctx.Err() != nil {
		return nil
	}
	s.problems.Set("discover "+monitoringv1.SchemeGroupVersion.String(), err)
	if err != nil {
		return nil // as far as is known, nothing has changed
	}
	for _, k := range s.monitorKinds(store) {
		name := k.gvr.Resource
		switch w := running[name]; {
		case served[name] && w == nil:
			s.setState(k, listing)
			if running[name], err = s.watchKind(ctx, k, changed); err != nil {
				return err
			}
		case !served[name] && w != nil:
			w.stop()
			delete(running, name)
			s.forget(k)
			changed()
		}
	}
	s.mtx.Lock()
	s.crds = true
	s.mtx.Unlock()
	s.updateSynced(changed)
	return nil
}

// servedMonitors asks which kinds of monitors the API server has.
func (s *Source) servedMonitors(ctx context.Context) (map[string]bool, error) {
	list, err := s.clients.Kubernetes.Discovery().
		ServerResourcesForGroupVersionWithContext(ctx, monitoringv1.SchemeGroupVersion.String())
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	served := map[string]bool{}
	for i := range list.APIResources {
		served[list.APIResources[i].Name] = true
	}
	return served, nil
}
