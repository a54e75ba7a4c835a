package autoscalers

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The history holds what HPAs were told, and only as long as they exist.
func TestHistory(t *testing.T) {
	value := int64(7000)
	sample := []Autoscaler{{Namespace: "default", Name: "sample", Replicas: 3, Metrics: []Metric{{Metric: "queue_depth", Object: "services/sample", Value: &value}, {Object: ofResource}}}}
	m := &sample[0].Metrics[0]
	begun := time.Now()
	now := begun
	var h history
	look := func() []Point {
		h.note(sample, now)
		return h.points(seriesOf(&sample[0], 0), now)
	}
	require.Equal(t, []Point{{At: time.Unix(begun.Unix(), 0), Milli: 7000}}, look())
	now = now.Add(20 * time.Second)
	require.Len(t, look(), 2)
	now, m.Value = now.Add(2*time.Minute), nil
	require.Len(t, look(), 2, "there is no value to remember")
	now = begun.Add(time.Hour + time.Second)
	require.Len(t, look(), 1, "an hour is kept")
	m.Value = &value
	for range 2 * int(time.Hour/lookPeriod) {
		now = now.Add(lookPeriod)
		look()
	}
	require.Len(t, h.points(seriesOf(&sample[0], 0), now), int(time.Hour/lookPeriod), "an hour is kept")
	require.Len(t, h.values, 2, "one of the metric and one of the replicas")
	replicas := h.points(replicasOf(&sample[0]), now)
	require.Len(t, replicas, int(time.Hour/lookPeriod), "likewise")
	require.Equal(t, Point{At: time.Unix(now.Unix(), 0), Milli: 3000}, replicas[len(replicas)-1])

	m.Metric = "http_requests"
	require.Len(t, look(), 1, "another metric in its place is another")
	require.Len(t, h.values, 2)
	h.note(nil, now)
	require.Empty(t, h.values)
}
