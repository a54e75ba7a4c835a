// Package storetest fills Stores for the tests of discovery's rooms, from YAML texts.
package storetest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/cache"

	"github.com/promlet/promlet/discovery/manifests"
	"github.com/promlet/promlet/discovery/objects"
)

// Load returns a Store of the objects of YAML texts.
func Load(t testing.TB, texts ...string) *objects.Store {
	t.Helper()
	s := objects.NewStore()
	Fill(t, s, texts...)
	return s
}

// Fill makes s hold the objects of YAML texts and nothing else.
func Fill(t testing.TB, s *objects.Store, texts ...string) {
	t.Helper()
	dir := t.TempDir()
	for i, text := range texts {
		require.NoError(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("%03d.yaml", i)), []byte(text), 0o600))
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // read once
	source := manifests.New(dir, manifests.Options{})
	require.NoError(t, source.Run(ctx, s, func() {}))
	require.Empty(t, source.Problems())
}

// Monitor returns the only ServiceMonitor of a text.
func Monitor(t testing.TB, text string) *monitoringv1.ServiceMonitor {
	t.Helper()
	all := objects.List[monitoringv1.ServiceMonitor](Load(t, text), nil)
	require.Len(t, all, 1)
	return all[0]
}

// Remove deletes an object.
func Remove(t testing.TB, indexer cache.Indexer, key string) {
	t.Helper()
	obj, ok, err := indexer.GetByKey(key)
	require.NoError(t, err)
	require.True(t, ok, key)
	require.NoError(t, indexer.Delete(obj))
}

// Pods is where the Store has its Pods.
func Pods(s *objects.Store) cache.Indexer {
	return indexer(s, corev1.Resource("pods"))
}

// Services is where the Store has its Services.
func Services(s *objects.Store) cache.Indexer {
	return indexer(s, corev1.Resource("services"))
}

// Slices is where the Store has its EndpointSlices.
func Slices(s *objects.Store) cache.Indexer {
	return indexer(s, discoveryv1.Resource("endpointslices"))
}

// Nodes is where the Store has its Nodes.
func Nodes(s *objects.Store) cache.Indexer {
	return indexer(s, corev1.Resource("nodes"))
}

// Namespaces is where the Store has its Namespaces.
func Namespaces(s *objects.Store) cache.Indexer {
	return indexer(s, corev1.Resource("namespaces"))
}

// Secrets is where the Store has its Secrets.
func Secrets(s *objects.Store) cache.Indexer {
	return indexer(s, corev1.Resource("secrets"))
}

// ConfigMaps is where the Store has its ConfigMaps.
func ConfigMaps(s *objects.Store) cache.Indexer {
	return indexer(s, corev1.Resource("configmaps"))
}

// ServiceMonitors is where the Store has its ServiceMonitors.
func ServiceMonitors(s *objects.Store) cache.Indexer {
	return indexer(s, monitoringv1.Resource("servicemonitors"))
}

// PodMonitors is where the Store has its PodMonitors.
func PodMonitors(s *objects.Store) cache.Indexer {
	return indexer(s, monitoringv1.Resource("podmonitors"))
}

// All are all indexers that objects of a cluster are read from.
func All(s *objects.Store) []cache.Indexer {
	return []cache.Indexer{
		Pods(s), Services(s), Slices(s), Nodes(s), Namespaces(s), Secrets(s), ConfigMaps(s), ServiceMonitors(s), PodMonitors(s),
	}
}

func indexer(s *objects.Store, gr schema.GroupResource) cache.Indexer {
	i, _ := s.Indexer(gr)
	return i
}
