package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/promlet/promlet/adapter/rules"
	"github.com/promlet/promlet/cmd/promlet/configfile"
	"github.com/promlet/promlet/discovery/objects"
)

// What pods request is kept where metrics.k8s.io is served, whether from kubelets or by resourceRules: the utilization of HPAs
// is computed from it.
func TestRequestsOfPodsAreKept(t *testing.T) {
	pods := corev1.PodList{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PodList"},
		Items: []corev1.Pod{{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "p"},
			Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Resources: corev1.ResourceRequirements{
				Requests: corev1.ResourceList{"cpu": resource.MustParse("100m")},
			}}}},
		}},
	}
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/v1/pods" || r.URL.Query().Has("watch") {
			http.Error(w, "only lists of pods", http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(pods)
	}))
	defer api.Close()
	byRules := configfile.File{Config: rules.Config{ResourceRules: &rules.ResourceRules{CPU: rules.ResourceRule{ContainerQuery: "x"}}}}
	for _, c := range []struct {
		served bool
		file   configfile.File
		kept   int
	}{{false, configfile.File{}, 0}, {true, configfile.File{}, 1}, {false, byRules, 1}} {
		var o options
		o.resources.served = c.served
		source, _, err := o.source(&cluster{config: &rest.Config{Host: api.URL}}, c.file, prometheus.NewRegistry(), slog.New(slog.DiscardHandler))
		require.NoError(t, err)
		store := objects.NewStore()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- source.Run(ctx, store, func() {}) }()
		require.Eventually(t, func() bool { return objects.Get[corev1.Pod](store, "default/p") != nil }, 30*time.Second, 10*time.Millisecond)
		require.Len(t, objects.Get[corev1.Pod](store, "default/p").Spec.Containers[0].Resources.Requests, c.kept)
		cancel()
		require.NoError(t, <-ended)
	}
}
