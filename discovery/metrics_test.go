package discovery

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/promlet/promlet/discovery/internal/runtest"
	"github.com/promlet/promlet/discovery/internal/samples"
	"github.com/promlet/promlet/discovery/internal/storetest"
	"github.com/promlet/promlet/discovery/objects"
)

// The clock of the bubble stands still but for sleeps, so that times are exact.
func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := prometheus.NewRegistry()
		o := storetest.Load(t, samples.PodMonitor(`{selector: {}, podMetricsEndpoints: [{}]}`))
		wrong := &monitoringv1.ServiceMonitor{ObjectMeta: metav1.ObjectMeta{Name: "wrong"}, Spec: monitoringv1.ServiceMonitorSpec{Endpoints: []monitoringv1.Endpoint{{Interval: "soon"}}}}
		d := New(o, Options{Registerer: registry, ServiceMonitors: []*monitoringv1.ServiceMonitor{wrong}})
		var a runtest.Applied
		src, changed := runByHand(t, d, &a)
		addPod(t, o, "a", "10.0.0.1")
		changed()
		time.Sleep(time.Minute)
		src.synced.Store(true)
		changed()
		synctest.Wait()
		addPod(t, o, "b", "10.0.0.2")
		changed()
		time.Sleep(time.Minute)
		changed() // which changes nothing
		time.Sleep(time.Minute)
		a.SetErr(errors.New("no"))
		addPod(t, o, "c", "10.0.0.3")
		changed()
		time.Sleep(objects.SettleTime + 2*applyRetry + time.Second) // and a gathering before each
		a.SetErr(nil)
		time.Sleep(time.Minute)

		require.NoError(t, testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP promlet_discovery_apply_delay_seconds Time from a change being seen until the targets that it changed were applied.
# TYPE promlet_discovery_apply_delay_seconds histogram
promlet_discovery_apply_delay_seconds_bucket{le="0.15"} 1
promlet_discovery_apply_delay_seconds_bucket{le="0.25"} 1
promlet_discovery_apply_delay_seconds_bucket{le="0.5"} 1
promlet_discovery_apply_delay_seconds_bucket{le="1"} 1
promlet_discovery_apply_delay_seconds_bucket{le="1.5"} 1
promlet_discovery_apply_delay_seconds_bucket{le="3"} 1
promlet_discovery_apply_delay_seconds_bucket{le="10"} 1
promlet_discovery_apply_delay_seconds_bucket{le="60"} 2
promlet_discovery_apply_delay_seconds_bucket{le="+Inf"} 2
promlet_discovery_apply_delay_seconds_sum 15.5
promlet_discovery_apply_delay_seconds_count 2
# HELP promlet_discovery_apply_failures_total Attempts to compute and apply targets that failed, in whole or for some jobs.
# TYPE promlet_discovery_apply_failures_total counter
promlet_discovery_apply_failures_total 3
# HELP promlet_discovery_monitors Monitors, by kind and state; Service and Pod are objects annotated prometheus.io/scrape.
# TYPE promlet_discovery_monitors gauge
promlet_discovery_monitors{kind="Pod",state="accepted"} 0
promlet_discovery_monitors{kind="Pod",state="rejected"} 0
promlet_discovery_monitors{kind="PodMonitor",state="accepted"} 1
promlet_discovery_monitors{kind="PodMonitor",state="rejected"} 0
promlet_discovery_monitors{kind="Service",state="accepted"} 0
promlet_discovery_monitors{kind="Service",state="rejected"} 0
promlet_discovery_monitors{kind="ServiceMonitor",state="accepted"} 0
promlet_discovery_monitors{kind="ServiceMonitor",state="rejected"} 1
# HELP promlet_discovery_synced Whether all objects have been listed once and their targets applied, 1 or 0.
# TYPE promlet_discovery_synced gauge
promlet_discovery_synced 1
# HELP promlet_discovery_targets Targets of accepted monitors, before their own relabelings, which may drop some.
# TYPE promlet_discovery_targets gauge
promlet_discovery_targets{kind="Pod"} 0
promlet_discovery_targets{kind="PodMonitor"} 3
promlet_discovery_targets{kind="Service"} 0
promlet_discovery_targets{kind="ServiceMonitor"} 0
`), "promlet_discovery_apply_delay_seconds", "promlet_discovery_apply_failures_total", "promlet_discovery_monitors",
			"promlet_discovery_synced", "promlet_discovery_targets"))
		require.InDelta(t, time.Now().Unix(), testutil.ToFloat64(d.metrics.applied), 60)
		problems, err := testutil.GatherAndLint(registry)
		require.NoError(t, err)
		require.Empty(t, problems)
	})
}
