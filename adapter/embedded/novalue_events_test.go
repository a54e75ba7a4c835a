package embedded

import (
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/tools/record"

	"github.com/promlet/promlet/adapter/autoscalers"
)

// An HPA gets an Event for a metric without a value, and another one when that has expired or the reason has changed.
func TestNoValueEvents(t *testing.T) {
	recorder := record.NewFakeRecorder(10)
	now := time.Now()
	l := &noValueEvents{events: recorder, logger: slog.New(slog.DiscardHandler), now: func() time.Time { return now }}
	v := int64(1)
	a := autoscalers.Autoscaler{Namespace: "default", Name: "shop", UID: "u", Replicas: 2, Metrics: []autoscalers.Metric{
		{Metric: "queue_depth", Object: "pods", Pods: 2, Reason: "no monitor selects it"},
		{Metric: "http_requests", Object: "services/shop", Value: &v},
		{Metric: "cpu", Object: "resource", Reason: "not promlet's"},
	}}
	look := func(want ...string) {
		t.Helper()
		now = now.Add(30 * time.Second)
		l.observe([]autoscalers.Autoscaler{a})
		var got []string
		for len(recorder.Events) > 0 {
			got = append(got, <-recorder.Events)
		}
		require.Equal(t, want, got)
	}
	const told = "Warning MetricHasNoValue promlet has no value of queue_depth of pods: no monitor selects it"
	look()
	look()
	look(told)
	look()
	a.Metrics[0].Reason = "another"
	look()
	now = now.Add(10 * time.Minute)
	look("Warning MetricHasNoValue promlet has no value of queue_depth of pods: another")
	look()
	now = now.Add(time.Hour)
	look("Warning MetricHasNoValue promlet has no value of queue_depth of pods: another")

	// One that comes and goes is told of as seldom.
	a.Metrics[0].Value = &v
	look()
	a.Metrics[0].Value = nil
	for range 5 {
		look()
	}
	now = now.Add(time.Hour)
	look("Warning MetricHasNoValue promlet has no value of queue_depth of pods: another")

	// Where nothing runs there is nothing to tell of.
	now = now.Add(2 * time.Hour)
	a.Replicas = 0
	for range 5 {
		look()
	}
	a.Replicas, a.Metrics[0].Pods = 2, 0
	for range 5 {
		look()
	}
	l.observe(nil)
	require.Empty(t, l.absent, "what is gone is forgotten")
}
