package discovery

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/promlet/promlet/discovery/internal/runtest"
	"github.com/promlet/promlet/discovery/internal/samples"
	"github.com/promlet/promlet/discovery/internal/storetest"
)

// inlinePods is an inline PodMonitor of one named port.
func inlinePods(name, port string) *monitoringv1.PodMonitor {
	return &monitoringv1.PodMonitor{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       monitoringv1.PodMonitorSpec{PodMetricsEndpoints: []monitoringv1.PodMetricsEndpoint{{Port: &port}}},
	}
}

func TestSetInline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const httpTarget = `podMonitor/default/inline/0 10.0.0.1:8080 container=main endpoint=http job=default/inline namespace=default pod=a`
		const metricsTarget = `podMonitor/default/other/0 [fd00::2]:9090 container=main endpoint=metrics job=default/other namespace=default pod=b
			podMonitor/default/other/0 10.0.0.1:9090 container=main endpoint=metrics job=default/other namespace=default pod=a
			podMonitor/default/other/0 10.0.0.1:9091 container=setup endpoint=metrics job=default/other namespace=default pod=a`
		service := storetest.Monitor(t, samples.ServiceMonitor(`{selector: {matchLabels: {app: web}}, endpoints: [{port: metrics}]}`))
		var log runtest.LogBuffer
		d := New(storetest.Load(t, samples.Web, samples.Apps), Options{Logger: log.Logger(), PodMonitors: []*monitoringv1.PodMonitor{inlinePods("inline", "http")}})
		var a runtest.Applied
		src, changed := runByHand(t, d, &a)
		given := inlinePods("inline", "http")
		d.SetInline(nil, []*monitoringv1.PodMonitor{given, nil})
		time.Sleep(time.Minute)
		require.Empty(t, a.All(), "the source has not synced")
		require.Empty(t, given.Namespace, "what was given is not changed")
		src.synced.Store(true)
		changed()
		synctest.Wait()
		require.Equal(t, runtest.WantLines(httpTarget), a.Last())

		// The same again changes nothing.
		d.SetInline(nil, []*monitoringv1.PodMonitor{inlinePods("inline", "http")})
		time.Sleep(time.Minute)
		require.Len(t, a.All(), 1)

		// More of them: what there was stays the same.
		d.SetInline([]*monitoringv1.ServiceMonitor{service}, []*monitoringv1.PodMonitor{inlinePods("other", "metrics"), inlinePods("inline", "http")})
		time.Sleep(time.Minute)
		require.Len(t, a.All(), 2)
		require.Equal(t, runtest.WantLines(httpTarget+"\n"+metricsTarget+samples.WebTargets), a.Last())
		require.Same(t, a.All()[0].Configs[0], a.All()[1].Configs[0])
		const job = "podMonitor/default/inline/0"
		require.Same(t, a.All()[0].Groups[job][0], a.All()[1].Groups[job][0])

		// What was given may be changed afterwards.
		service.Spec.Endpoints[0].Port = "changed later"
		changed()
		time.Sleep(time.Minute)
		require.Len(t, a.All(), 2)

		// One that is wrong is rejected, and leaves the others alone.
		broken := inlinePods("broken", "(")
		d.SetInline(nil, []*monitoringv1.PodMonitor{inlinePods("inline", "http"), broken})
		time.Sleep(time.Minute)
		require.Equal(t, runtest.WantLines(httpTarget), a.Last())
		require.Contains(t, runtest.Rejected(d.Monitors(), "broken"), "spec.podMetricsEndpoints[0].port: ")
		require.Equal(t, 1, log.Count("monitor rejected"))

		d.SetInline(nil, nil)
		time.Sleep(time.Minute)
		require.Empty(t, a.Last())
		require.Empty(t, d.Monitors())
	})
}

// TestSetInlineWithoutRun: the next Resolve knows them, and so does a Run after one
// that has ended.
func TestSetInlineWithoutRun(t *testing.T) {
	d := New(storetest.Load(t, samples.Web, samples.Apps), Options{})
	runtest.Resolve(t, d)
	d.SetInline(nil, []*monitoringv1.PodMonitor{inlinePods("inline", "http")})
	_, groups := runtest.Resolve(t, d)
	require.Len(t, groups["podMonitor/default/inline/0"], 1)

	src := newHandSource()
	src.synced.Store(true)
	ctx, cancel := context.WithCancel(context.Background())
	var first, second runtest.Applied
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx, src, first.Apply) }()
	runtest.Eventually(t, func() bool { return len(first.All()) == 1 })
	cancel()
	require.NoError(t, <-done)

	d.SetInline(nil, nil)
	again := newHandSource()
	again.synced.Store(true)
	start(t, d, again, &second)
	runtest.Eventually(t, func() bool { return len(second.All()) == 1 })
	require.Empty(t, second.Last())
}
