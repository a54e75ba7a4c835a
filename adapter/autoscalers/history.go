package autoscalers

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// lookPeriod is how often the metrics of HPAs are looked at, half as often as their
// controller does.
const lookPeriod = 30 * time.Second

// Point is a value at a time.
type Point struct {
	At    time.Time `json:"at"`
	Milli int64     `json:"milli"`
}

// Run looks at the HPAs at once and then twice a minute, until ctx is done. It calls seen,
// and keeps the values of an hour for List.
func (a *Autoscalers) Run(ctx context.Context, seen func([]Autoscaler)) error {
	wait.NonSlidingUntilWithContext(ctx, func(ctx context.Context) {
		all, err := a.List(ctx, nil)
		switch {
		case ctx.Err() != nil:
		case err != nil:
			a.logger.Warn("could not look at the autoscalers", "err", err)
		default:
			a.history.note(all, a.values.Now())
			a.last.Store(&all)
			seen(all)
		}
	}, lookPeriod)
	return nil
}

// Last returns the HPAs as Run last saw them, at most half a minute ago. Before Run's first
// look it returns nil. It evaluates nothing. The result is shared: do not change it.
func (a *Autoscalers) Last() []Autoscaler {
	if last := a.last.Load(); last != nil {
		return *last
	}
	return nil
}

// history holds the values of the last hour by metric of an HPA, and the replicas by HPA.
type history struct {
	mu     sync.Mutex
	values map[string][]Point // oldest first
}

// seriesOf names a metric of an HPA. Another metric in its place has another name.
func seriesOf(a *Autoscaler, index int) string {
	m := &a.Metrics[index]
	return fmt.Sprintf("%s/%s/%d/%s/%s/%s", a.Namespace, a.Name, index, m.Object, m.Metric, m.Unit)
}

// replicasOf returns the key of an HPA's replicas. A metric's key has more slashes.
func replicasOf(a *Autoscaler) string { return a.Namespace + "/" + a.Name }

// note adds the values and replicas of all HPAs, and forgets HPAs that are gone.
func (h *history) note(all []Autoscaler, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	kept := make(map[string][]Point, len(h.values))
	add := func(series string, milli *int64) {
		// Clone, because callers of List still hold the old slice.
		kept[series] = slices.Clone(lastHour(h.values[series], now))
		if milli != nil {
			kept[series] = append(kept[series], Point{At: time.Unix(now.Unix(), 0), Milli: *milli})
		}
	}
	for i := range all {
		replicas := int64(all[i].Replicas) * 1000
		add(replicasOf(&all[i]), &replicas)
		for j := range all[i].Metrics {
			if m := &all[i].Metrics[j]; m.Served() {
				add(seriesOf(&all[i], j), m.Value)
			}
		}
	}
	h.values = kept
}

// points returns the values of the last hour, oldest first.
func (h *history) points(series string, now time.Time) []Point {
	h.mu.Lock()
	defer h.mu.Unlock()
	return lastHour(h.values[series], now)
}

func lastHour(points []Point, now time.Time) []Point {
	for len(points) > 0 && points[0].At.Unix() <= now.Add(-time.Hour).Unix() {
		points = points[1:]
	}
	return points
}
