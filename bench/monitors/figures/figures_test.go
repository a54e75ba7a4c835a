package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/promlet/promlet/bench/internal/harness"
)

func TestMain(m *testing.M) {
	if harness.IsChild() {
		main()
		return
	}
	goleak.VerifyTestMain(m)
}

func startAPIServer(t *testing.T) (*apiServer, templates) {
	t.Helper()
	api := newAPIServer()
	t.Cleanup(api.Close)
	all, err := newTemplates()
	require.NoError(t, err)
	return api, all
}

// Every template is an object, with all names filled in. A pod is as large as they are
// on a cluster: what both sides are made to hold decides the memory.
func TestTemplates(t *testing.T) {
	all, err := newTemplates()
	require.NoError(t, err)
	pod, monitor := all.newPod(3, 7), all.newMonitor(3, "15s")
	for _, object := range []any{
		pod, all.newService(3), all.newSlice(3, []*corev1.Pod{pod}), monitor, filled[corev1.Node](all, 0, 3), filled[corev1.Namespace](all, 0, 0),
	} {
		text, err := yaml.Marshal(object)
		require.NoError(t, err)
		require.NotContains(t, string(text), "$")
	}
	for kind, text := range all {
		object := map[string]any{"Pod": &corev1.Pod{}, "ServiceMonitor": &monitoringv1.ServiceMonitor{}}[kind]
		if object != nil {
			require.NoError(t, yaml.UnmarshalStrict([]byte(text), object), kind)
		}
	}
	text, err := json.Marshal(pod)
	require.NoError(t, err)
	require.Greater(t, len(text), 6_000)
	require.Less(t, len(text), 12_000)
	require.Len(t, monitor.Spec.Endpoints[0].RelabelConfigs, 1)
	require.Empty(t, all.newMonitor(4, "15s").Spec.Endpoints[0].RelabelConfigs)
}

// An informer sees what there is, and then every change, in the form in which it was put.
func TestInformersFollow(t *testing.T) {
	for _, contentType := range []string{"", "application/vnd.kubernetes.protobuf"} {
		api, all := startAPIServer(t)
		first := all.newPod(3, 1)
		api.put(kindPods, first)
		client, err := kubernetes.NewForConfig(&rest.Config{Host: api.URL, ContentConfig: rest.ContentConfig{ContentType: contentType}})
		require.NoError(t, err)
		factory := informers.NewSharedInformerFactory(client, 0)
		pods := factory.Core().V1().Pods().Informer()
		ctx, cancel := context.WithCancel(t.Context())
		factory.StartWithContext(ctx)
		holds := func(want ...*corev1.Pod) {
			t.Helper()
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
		want, same := first.DeepCopy(), got.(*corev1.Pod).DeepCopy()
		want.TypeMeta, same.TypeMeta = metav1.TypeMeta{}, metav1.TypeMeta{}
		text, err := json.Marshal(want)
		require.NoError(t, err)
		sameText, err := json.Marshal(same)
		require.NoError(t, err)
		require.JSONEq(t, string(text), string(sameText))

		second := all.newPod(3, 2)
		api.put(kindPods, second)
		holds(first, second)
		changed := first.DeepCopy()
		setReady(changed, false)
		api.put(kindPods, changed)
		holds(changed, second)
		api.remove(kindPods, second)
		holds(changed)
		cancel()
		factory.Shutdown()
	}
}

// Watches give metadata alone, or any kind as JSON; the group of monitors can be discovered.
func TestMetadataAndMonitors(t *testing.T) {
	api, all := startAPIServer(t)
	api.put(kindNodes, filled[corev1.Node](all, 0, 7))
	api.put(kindMonitors, all.newMonitor(1, "15s"))
	config := &rest.Config{Host: api.URL}
	options := metav1.ListOptions{SendInitialEvents: new(true), AllowWatchBookmarks: true, ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan}
	first := func(w watch.Interface, err error) (string, metav1.Object) {
		require.NoError(t, err)
		defer w.Stop()
		e, bookmark := <-w.ResultChan(), <-w.ResultChan()
		require.Equal(t, watch.Added, e.Type)
		require.Equal(t, watch.Bookmark, bookmark.Type)
		text, err := json.Marshal(e.Object)
		require.NoError(t, err)
		return string(text), e.Object.(metav1.Object)
	}
	partial, err := metadata.NewForConfig(config)
	require.NoError(t, err)
	_, node := first(partial.Resource(corev1.SchemeGroupVersion.WithResource("nodes")).Watch(t.Context(), options))
	require.Equal(t, "node-07", node.GetLabels()[corev1.LabelHostname])
	untyped, err := dynamic.NewForConfig(config)
	require.NoError(t, err)
	text, _ := first(untyped.Resource(monitoringv1.SchemeGroupVersion.WithResource(kindMonitors)).Watch(t.Context(), options))
	require.Contains(t, text, `"interval":"15s"`)
	client, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
	served, err := client.Discovery().ServerResourcesForGroupVersionWithContext(t.Context(), monitoringv1.SchemeGroupVersion.String())
	require.NoError(t, err)
	require.Len(t, served.APIResources, 2)
}

// What is not served is refused, and not left out in silence.
func TestRefusals(t *testing.T) {
	api, _ := startAPIServer(t)
	for path, code := range map[string]int{
		"/api/v1/secrets": http.StatusNotFound,
		"/api/v1/pods":    http.StatusBadRequest,
		"/api/v1/pods?watch=true&sendInitialEvents=true&labelSelector=a%3Db": http.StatusBadRequest,
		"/api/v1/namespaces/elsewhere/pods":                                  http.StatusNotFound,
	} {
		resp, err := http.Get(api.URL + path)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, code, resp.StatusCode, path)
	}
}

// Both sides find the population's targets, with the same labels, follow its changes,
// and scrape what is new.
func TestSidesAgree(t *testing.T) {
	api, _ := startAPIServer(t)
	p, err := populate(api, services, "5s")
	require.NoError(t, err)
	p.podFirst = time.Second // however busy the machine is
	sides := map[string]*child{}
	scraped := map[string]*targetServer{}
	for _, name := range []string{sidePromlet, sidePrometheus} {
		scraped[name] = newTargetServer()
		t.Cleanup(scraped[name].Close)
		sides[name], err = p.start(context.WithoutCancel(t.Context()), name, scraped[name], batch)
		require.NoError(t, err)
		require.Positive(t, sides[name].Before.Heap)
		t.Cleanup(func() { require.NoError(t, sides[name].Stop()) })
	}
	agree := func() {
		t.Helper()
		require.EventuallyWithT(t, func(c *assert.CollectT) {
			var ours, theirs []string
			require.NoError(c, sides[sidePromlet].Ask(askTargets, &ours))
			require.NoError(c, sides[sidePrometheus].Ask(askTargets, &theirs))
			require.Equal(c, p.targets(), addressesIn(ours))
			require.Equal(c, ours, theirs)
		}, time.Minute, 50*time.Millisecond)
	}
	agree()
	updates := func(name string) (n int) {
		require.NoError(t, sides[name].Ask(askUpdates, &n))
		return n
	}
	before := map[string]int{}
	for name, side := range sides {
		require.NoError(t, side.settle(t.Context(), services))
		before[name] = updates(name)
	}
	p.flip(1)
	p.replace(1)
	var fresh []string
	p.add(0, 2, func(addresses []string) { fresh = addresses })
	agree()
	for name, side := range sides {
		require.NoError(t, p.check(side))
		require.Greater(t, updates(name), before[name])
		for _, address := range fresh {
			require.Eventually(t, func() bool {
				_, ok := scraped[name].asked(address)
				return ok
			}, time.Minute, 10*time.Millisecond)
		}
	}
	used, took, err := usage([]*child{sides[sidePromlet], sides[sidePrometheus]}, func() error { return nil })
	require.NoError(t, err)
	require.Len(t, used, 2)
	require.Positive(t, took)
}

func TestSideRefuses(t *testing.T) {
	for setup, want := range map[string]string{
		"no setup": "read setup: invalid character",
		`{"Side":"prometheus","Config":"no: configuration"}`: "start prometheus: load configuration",
	} {
		_, err := startSide(t.Context(), []byte(setup))
		require.ErrorContains(t, err, want)
	}
	s, err := startSide(t.Context(), []byte(`{"Side":"promlet","APIServer":"http://127.0.0.1:1"}`))
	require.NoError(t, err)
	_, err = s.Answer("nonsense")
	require.EqualError(t, err, "unknown command")
	require.NoError(t, s.Close())
}

func TestReport(t *testing.T) {
	side := func(scale float64) measured {
		return measured{
			alone: alone{
				Heap: 2048 * scale, Stacks: 1024 * scale,
				Flip: time.Duration(scale * 1e6), Replace: time.Duration(scale * 2e6), Flips: 50, Replaces: 49,
			},
			live: live{
				Rollout: time.Duration(scale * 3e6),
				First:   []time.Duration{time.Second, 2 * time.Second}, FirstInRollout: []time.Duration{time.Second, 4 * time.Second},
			},
		}
	}
	f := func(theirs float64) string {
		var out strings.Builder
		require.NoError(t, report(&out, []*result{
			{pods: 200, promlet: side(1), prometheus: side(20)},
			{pods: 2000, promlet: side(1), prometheus: side(theirs)},
		}))
		return out.String()
	}
	text := f(1000)
	require.Contains(t, text, "2,000 pods")
	require.Regexp(t, `heap +KiB +2\.00 +40\.0 +20\.0 +2\.00 +2,000 +1,000`, text)
	require.Regexp(t, `the event: median +s +1\.50 +1\.50 +1\.00 `, text)
	require.Contains(t, text, "50+49 and 50+49 with 200 pods")
	require.Contains(t, text, "1/3 of the memory: it holds.\n")

	text = f(2)
	require.Contains(t, text, "1/3 of the memory: missed: memory held per pod: heap (2,000 pods); CPU: one pod's readiness changes (2,000 pods)")
	require.NotContains(t, text, "(200 pods)")
}

func TestSameTargets(t *testing.T) {
	f := func(ours, theirs []string) error {
		r := result{pods: 7, promlet: measured{alone: alone{targets: ours}}, prometheus: measured{alone: alone{targets: theirs}}}
		return r.sameTargets()
	}
	require.NoError(t, f([]string{"a", "b"}, []string{"a", "b"}))
	require.ErrorContains(t, f([]string{"a", "b"}, []string{"a", "c"}), "promlet's target b")
	require.ErrorContains(t, f([]string{"a", "b"}, []string{"a"}), "promlet's target b")
	require.ErrorContains(t, f([]string{"a"}, []string{"a", "b"}), "more targets than promlet: 2")
	require.Equal(t, []string{"10.0.0.1:9090"}, addressesIn([]string{fmt.Sprintf("serviceMonitor/a/b/0 http://10.0.0.1:9090/metrics %s", `{"a":"b c"}`)}))
}
