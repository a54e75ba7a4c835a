package api_test

import (
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/cache"

	"github.com/promlet/promlet/adapter/resourcemetrics"
	"github.com/promlet/promlet/adapter/resourcemetrics/api"
)

// A list of all pods of 100 nodes with 30 pods of two containers, over HTTPS as JSON.
func BenchmarkListPods(b *testing.B) {
	store := resourcemetrics.NewStore(resourcemetrics.Options{})
	index := cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc})
	var names []string
	for node := range 100 {
		names = append(names, fmt.Sprintf("node-%d", node))
	}
	store.SetNodes(names)
	for _, node := range names {
		var containers []string
		for pod := range 30 {
			name := fmt.Sprintf("application-7d764666f9-%s-%d", node, pod)
			containers = append(containers, "team/"+name+"/web", "team/"+name+"/proxy")
			require.NoError(b, index.Add(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: name}, Spec: corev1.PodSpec{NodeName: node}}))
		}
		report(b, store, node, 10, containers...)
		report(b, store, node, 25, containers...)
	}
	served := api.ResourceMetrics{Source: store, Lister: func(gr schema.GroupResource) (cache.GenericLister, bool) {
		return cache.NewGenericLister(index, gr), true
	}}
	url, user := serve(b, &served)+"/apis/metrics.k8s.io/v1beta1/pods", client(b)
	var read int64
	for b.Loop() {
		request, err := http.NewRequestWithContext(b.Context(), http.MethodGet, url, nil)
		require.NoError(b, err)
		response, err := user.Do(request)
		require.NoError(b, err)
		read, err = io.Copy(io.Discard, response.Body)
		require.NoError(b, err)
		require.NoError(b, response.Body.Close())
		require.Equal(b, http.StatusOK, response.StatusCode)
	}
	b.ReportMetric(float64(read), "B/answer")
}
