package main

import (
	"context"
	"net/http"
	"testing"
	"time"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
)

func startAPIServer(t *testing.T) *apiServer {
	t.Helper()
	api, err := newAPIServer()
	require.NoError(t, err)
	t.Cleanup(api.Close)
	return api
}

// configs are kinds of clients, by what they ask for.
func configs(url string) map[string]*rest.Config {
	return map[string]*rest.Config{
		"json":     {Host: url},
		"protobuf": {Host: url, ContentConfig: rest.ContentConfig{ContentType: "application/vnd.kubernetes.protobuf"}},
	}
}

// An informer sees what there is, and then every change, in the form in which it was put.
func TestInformersFollow(t *testing.T) {
	for name, config := range configs("") {
		t.Run(name, func(t *testing.T) {
			api := startAPIServer(t)
			config.Host = api.URL
			first := newPod(3, 1)
			api.put(kindPods, first)
			client, err := kubernetes.NewForConfig(config)
			require.NoError(t, err)
			factory := informers.NewSharedInformerFactory(client, 0)
			pods := factory.Core().V1().Pods().Informer()
			ctx, cancel := context.WithCancel(t.Context())
			factory.StartWithContext(ctx)
			t.Cleanup(func() { cancel(); factory.Shutdown() })
			holds := func(want ...*corev1.Pod) {
				require.Eventually(t, func() bool {
					for _, pod := range want {
						got, ok, err := pods.GetStore().GetByKey(namespace + "/" + pod.Name)
						if err != nil || !ok || got.(*corev1.Pod).ResourceVersion != pod.ResourceVersion {
							return false
						}
					}
					return len(pods.GetStore().ListKeys()) == len(want)
				}, time.Minute, time.Millisecond)
			}
			holds(first)
			got, _, err := pods.GetStore().GetByKey(namespace + "/" + first.Name)
			require.NoError(t, err)
			want := first.DeepCopy()
			want.TypeMeta = metav1.TypeMeta{}
			stripped := got.(*corev1.Pod).DeepCopy()
			stripped.TypeMeta = metav1.TypeMeta{}
			require.True(t, sameJSON(t, want, stripped))

			second := newPod(3, 2)
			api.put(kindPods, second)
			holds(first, second)
			changed := first.DeepCopy()
			setReady(changed, false)
			api.put(kindPods, changed)
			holds(changed, second)
			api.remove(kindPods, second)
			holds(changed)
		})
	}
}

// Lists, and watches from a list's version on.
func TestListThenWatch(t *testing.T) {
	api := startAPIServer(t)
	api.put(kindPods, newPod(0, 1))
	for name, config := range configs(api.URL) {
		t.Run(name, func(t *testing.T) {
			client, err := kubernetes.NewForConfig(config)
			require.NoError(t, err)
			list, err := client.CoreV1().Pods(namespace).List(t.Context(), metav1.ListOptions{})
			require.NoError(t, err)
			require.NotEmpty(t, list.Items)
			none, err := client.CoreV1().Pods("elsewhere").List(t.Context(), metav1.ListOptions{})
			require.NoError(t, err)
			require.Empty(t, none.Items)

			fresh := newPod(0, 1000+len(list.Items))
			api.put(kindPods, fresh)
			w, err := client.CoreV1().Pods(namespace).Watch(t.Context(), metav1.ListOptions{ResourceVersion: list.ResourceVersion})
			require.NoError(t, err)
			defer w.Stop()
			e := <-w.ResultChan()
			require.Equal(t, fresh.Name, e.Object.(*corev1.Pod).Name)
		})
	}
}

func TestMetadataAndMonitors(t *testing.T) {
	api := startAPIServer(t)
	api.put(kindNodes, newNode(7))
	api.put(kindMonitors, newMonitor(1, "15s"))
	config := &rest.Config{Host: api.URL}

	partial, err := metadata.NewForConfig(config)
	require.NoError(t, err)
	nodes, err := partial.Resource(corev1.SchemeGroupVersion.WithResource("nodes")).List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	require.Len(t, nodes.Items, 1)
	require.Equal(t, "node-07", nodes.Items[0].Labels[corev1.LabelHostname])

	untyped, err := dynamic.NewForConfig(config)
	require.NoError(t, err)
	monitors, err := untyped.Resource(monitoringv1.SchemeGroupVersion.WithResource(kindMonitors)).List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	require.Len(t, monitors.Items, 1)
	endpoints, _, err := unstructured.NestedSlice(monitors.Items[0].Object, "spec", "endpoints")
	require.NoError(t, err)
	require.Equal(t, "15s", endpoints[0].(map[string]any)["interval"])

	client, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
	served, err := client.Discovery().ServerResourcesForGroupVersionWithContext(t.Context(), monitoringv1.SchemeGroupVersion.String())
	require.NoError(t, err)
	require.Len(t, served.APIResources, 2)
}

// What is not served is refused, and not left out in silence.
func TestRefusals(t *testing.T) {
	api := startAPIServer(t)
	for path, code := range map[string]int{
		"/api/v1/secrets":                  http.StatusNotFound,
		"/api/v1/pods?labelSelector=a%3Db": http.StatusBadRequest,
		"/api/v1/pods?watch=true":          http.StatusBadRequest,
		"/api/v1/pods":                     http.StatusOK,
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, api.URL+path, nil)
		require.NoError(t, err)
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, code, resp.StatusCode, path)
	}
}
