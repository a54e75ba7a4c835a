package embedded

import (
	"fmt"
	"log/slog"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/record"

	"github.com/promlet/promlet/adapter/autoscalers"
)

const (
	eventNoValue = "MetricHasNoValue"
	// minNoValueLooks is how many looks in a row must find no value before it is reported: pods
	// come and go, and collection has to start.
	minNoValueLooks = 3
	// repeatNoValue is the time after which an API server deletes an Event.
	repeatNoValue = time.Hour
	// changeNoValue is the shortest time between reports of two reasons of a metric: reasons
	// may contain numbers that change.
	changeNoValue = 10 * time.Minute
)

// noValueEvents reports metrics without a value as Events on the HPAs that scale on them:
// an HPA's own conditions give the reason only for Object metrics.
type noValueEvents struct {
	events record.EventRecorder // nil: only the log
	logger *slog.Logger
	now    func() time.Time

	absent map[string]*absentMetric // by HPA and metric
}

// absentMetric is a metric of an HPA without a value.
type absentMetric struct {
	looks      int // in a row
	reason     string
	reportedAt time.Time // zero: not yet
}

func (p *Promlet) noValueEvents() *noValueEvents {
	return &noValueEvents{events: p.opts.Events, logger: p.opts.Logger.With("component", "autoscalers"), now: p.opts.Now}
}

// observe reports metrics without a value. It is called with all HPAs at each look.
func (n *noValueEvents) observe(all []autoscalers.Autoscaler) {
	before := n.absent
	n.absent = map[string]*absentMetric{}
	for i := range all {
		a := &all[i]
		for j := range a.Metrics {
			m := &a.Metrics[j]
			if !m.Served() || m.Value != nil || withoutPods(a, m) {
				continue
			}
			key := fmt.Sprintf("%s %d %s %s", a.UID, j, m.Object, m.Metric)
			absent := before[key]
			if absent == nil {
				absent = &absentMetric{}
			}
			absent.looks++
			n.absent[key] = absent
			n.report(a, m, absent)
		}
	}
	// A metric whose value comes and goes is reported no more often than one that never has a value.
	for key, absent := range before {
		if _, still := n.absent[key]; !still && n.now().Sub(absent.reportedAt) < repeatNoValue {
			absent.looks = 0
			n.absent[key] = absent
		}
	}
}

// withoutPods reports whether there is no value because no pod runs that could have one.
func withoutPods(a *autoscalers.Autoscaler, m *autoscalers.Metric) bool {
	return a.Replicas == 0 || m.OfPods() && m.Pods == 0
}

func (n *noValueEvents) report(a *autoscalers.Autoscaler, m *autoscalers.Metric, absent *absentMetric) {
	wait := changeNoValue
	if absent.reason == m.Reason {
		wait = repeatNoValue
	}
	if absent.looks < minNoValueLooks || n.now().Sub(absent.reportedAt) < wait {
		return
	}
	absent.reason, absent.reportedAt = m.Reason, n.now()
	n.logger.Warn("metric of an autoscaler has no value", "namespace", a.Namespace, "hpa", a.Name, "metric", m.Metric, "object", m.Object, "reason", m.Reason)
	if n.events == nil {
		return
	}
	metric := m.Metric + " of " + m.Object
	if m.Question.External {
		metric = "external metric " + m.Metric
	}
	n.events.Event(&corev1.ObjectReference{
		APIVersion: autoscalingv2.SchemeGroupVersion.String(), Kind: "HorizontalPodAutoscaler", Namespace: a.Namespace, Name: a.Name, UID: a.UID,
	}, corev1.EventTypeWarning, eventNoValue, eventMessage(fmt.Sprintf("promlet has no value of %s: %s", metric, m.Reason)))
}
