package discovery

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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
		service := monitorSpec(t, monitor(`{selector: {matchLabels: {app: web}}, endpoints: [{port: metrics}]}`))
		var log logBuffer
		d := New(load(t, web, apps), Options{Logger: log.logger(), PodMonitors: []*monitoringv1.PodMonitor{inlinePods("inline", "http")}})
		var a applied
		src, changed := runByHand(t, d, &a)
		given := inlinePods("inline", "http")
		d.SetInline(nil, []*monitoringv1.PodMonitor{given, nil})
		time.Sleep(time.Minute)
		require.Empty(t, a.all(), "the source has not synced")
		require.Empty(t, given.Namespace, "what was given is not changed")
		src.synced.Store(true)
		changed()
		synctest.Wait()
		require.Equal(t, wantLines(httpTarget), a.last())

		// The same again changes nothing.
		d.SetInline(nil, []*monitoringv1.PodMonitor{inlinePods("inline", "http")})
		time.Sleep(time.Minute)
		require.Len(t, a.all(), 1)

		// More of them: what there was stays the same.
		d.SetInline([]*monitoringv1.ServiceMonitor{service}, []*monitoringv1.PodMonitor{inlinePods("other", "metrics"), inlinePods("inline", "http")})
		time.Sleep(time.Minute)
		require.Len(t, a.all(), 2)
		require.Equal(t, wantLines(httpTarget+"\n"+metricsTarget+webTargets), a.last())
		require.Same(t, a.all()[0].configs[0], a.all()[1].configs[0])
		const job = "podMonitor/default/inline/0"
		require.Same(t, a.all()[0].groups[job][0], a.all()[1].groups[job][0])

		// What was given may be changed afterwards.
		service.Spec.Endpoints[0].Port = "changed later"
		changed()
		time.Sleep(time.Minute)
		require.Len(t, a.all(), 2)

		// One that is wrong is rejected, and leaves the others alone.
		broken := inlinePods("broken", "(")
		d.SetInline(nil, []*monitoringv1.PodMonitor{inlinePods("inline", "http"), broken})
		time.Sleep(time.Minute)
		require.Equal(t, wantLines(httpTarget), a.last())
		require.Contains(t, rejected(d, "broken"), "spec.podMetricsEndpoints[0].port: ")
		require.Equal(t, 1, log.count("monitor rejected"))

		d.SetInline(nil, nil)
		time.Sleep(time.Minute)
		require.Empty(t, a.last())
		require.Empty(t, d.Monitors())
	})
}

// TestSetInlineWithoutRun: the next Resolve knows them, and so does a Run after one
// that has ended.
func TestSetInlineWithoutRun(t *testing.T) {
	d := New(load(t, web, apps), Options{})
	resolve(t, d)
	d.SetInline(nil, []*monitoringv1.PodMonitor{inlinePods("inline", "http")})
	_, groups := resolve(t, d)
	require.Len(t, groups["podMonitor/default/inline/0"], 1)

	src := newHandSource()
	src.synced.Store(true)
	ctx, cancel := context.WithCancel(context.Background())
	var first, second applied
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx, src, first.apply) }()
	eventually(t, func() bool { return len(first.all()) == 1 })
	cancel()
	require.NoError(t, <-done)

	d.SetInline(nil, nil)
	again := newHandSource()
	again.synced.Store(true)
	start(t, d, again, &second)
	eventually(t, func() bool { return len(second.all()) == 1 })
	require.Empty(t, second.last())
}
