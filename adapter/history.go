package adapter

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"
)

const (
	// lookPeriod is how often the metrics of HPAs are looked at, half as often as their
	// controller does.
	lookPeriod = 30 * time.Second
	// historyLooks make an hour.
	historyLooks = int(time.Hour / lookPeriod)
)

// RunAutoscalers looks at what HPAs are told, at once and then twice a minute, until ctx
// is done: it calls seen, and remembers the values of an hour for Autoscalers. It is a
// record and answers nothing.
func (p *Provider) RunAutoscalers(ctx context.Context, seen func([]Autoscaler)) error {
	ticker := time.NewTicker(lookPeriod)
	defer ticker.Stop()
	for {
		all, err := p.Autoscalers(ctx, nil)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			p.logger.Warn("autoscalers were not looked at", "err", err)
		default:
			p.history.note(all, p.now())
			seen(all)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// history remembers values that there were.
type history struct {
	mu    sync.Mutex
	looks map[string]*looks
}

// looks are the values of a metric at as many looks, a ring.
type looks struct {
	milli [historyLooks]int64 // none: there was no value
	at    [historyLooks]int64 // seconds since the epoch, 0 for none
	next  int
}

const none = math.MinInt64

// historySeries names a metric of an HPA. Another metric in its place is another.
func historySeries(namespace, name string, index int, m *ScaledMetric) string {
	return fmt.Sprintf("%s/%s/%d/%s/%s", namespace, name, index, m.Object, m.Metric)
}

// note adds what all HPAs are told now, and forgets those that are gone.
func (h *history) note(all []Autoscaler, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	kept := make(map[string]*looks, len(h.looks))
	for i := range all {
		a := &all[i]
		for j := range a.Metrics {
			m := &a.Metrics[j]
			if !m.Served() {
				continue
			}
			series := historySeries(a.Namespace, a.Name, j, m)
			l := h.looks[series]
			if l == nil {
				l = &looks{}
			}
			l.milli[l.next], l.at[l.next] = none, now.Unix()
			if m.Value != nil {
				l.milli[l.next] = *m.Value
			}
			l.next = (l.next + 1) % historyLooks
			kept[series] = l
		}
	}
	h.looks = kept
}

// points are the values of the last hour, oldest first.
func (h *history) points(series string, now time.Time) (points []Point) {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.looks[series]
	if l == nil {
		return nil
	}
	since := now.Add(-time.Hour).Unix()
	for i := range historyLooks {
		at, milli := l.at[(l.next+i)%historyLooks], l.milli[(l.next+i)%historyLooks]
		if at > since && milli != none {
			points = append(points, Point{At: time.Unix(at, 0), Milli: milli})
		}
	}
	return points
}

// unreadKey marks the context of evaluations that nobody asked for.
type unreadKey struct{}

// unread returns a context in which evaluating a metric does not make it wanted.
func unread(ctx context.Context) context.Context { return context.WithValue(ctx, unreadKey{}, true) }
