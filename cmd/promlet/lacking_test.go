package main

import (
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/tools/record"

	"github.com/promlet/promlet/adapter"
)

// An HPA hears once why a metric of its has no value, and again when that is forgotten or has changed.
func TestLackingTells(t *testing.T) {
	recorder := record.NewFakeRecorder(10)
	now := time.Now()
	l := &lacking{events: recorder, logger: slog.New(slog.DiscardHandler), now: func() time.Time { return now }}
	v := int64(1)
	a := adapter.Autoscaler{Namespace: "default", Name: "shop", UID: "u", Metrics: []adapter.ScaledMetric{
		{Metric: "queue_depth", Object: "pods", Reason: "no monitor selects it"},
		{Metric: "http_requests", Object: "services/shop", Value: &v},
		{Metric: "cpu", Object: "resource", Reason: "not promlet's"},
	}}
	look := func(want ...string) {
		t.Helper()
		now = now.Add(30 * time.Second)
		l.note([]adapter.Autoscaler{a})
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

	a.Metrics[0].Value = &v
	look()
	a.Metrics[0].Value, a.Metrics[0].Reason = nil, "no monitor selects it"
	look()
	look()
	look(told)
	a.Metrics[0] = adapter.ScaledMetric{Metric: "orders", Object: "external", Reason: "no rule makes it", Question: adapter.Question{External: true}}
	look()
	look()
	look("Warning MetricHasNoValue promlet has no value of external metric orders: no rule makes it")
	l.note(nil)
	require.Empty(t, l.since, "what is gone is forgotten")
}
