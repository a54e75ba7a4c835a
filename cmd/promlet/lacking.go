package main

import (
	"fmt"
	"log/slog"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/record"

	"github.com/promlet/promlet/adapter/autoscalers"
)

// lacking tells of metrics that HPAs scale on and that have no value, as Events on the
// HPAs: their own conditions say so only for Object metrics.
type lacking struct {
	events record.EventRecorder // nil: none
	logger *slog.Logger
	now    func() time.Time

	since map[string]*lack // by HPA and metric
}

// lack is about one metric.
type lack struct {
	looks  int // in a row without a value
	told   string
	toldAt time.Time
}

const (
	eventNoValue = "MetricHasNoValue"
	// patienceLooks is for how many looks a metric may be without a value: pods come and
	// go, and collection has to start.
	patienceLooks = 3
	// tellAgain is when the API server forgets an Event.
	tellAgain = time.Hour
	// tellOther is how long another reason may go untold: reasons may hold numbers that
	// change.
	tellOther = 10 * time.Minute
)

// note is told of all HPAs at each look.
func (l *lacking) note(all []autoscalers.Autoscaler) {
	before := l.since
	l.since = map[string]*lack{}
	for i := range all {
		a := &all[i]
		for j := range a.Metrics {
			m := &a.Metrics[j]
			if !m.Served() || m.Value != nil || withoutPods(a, m) {
				continue
			}
			key := fmt.Sprintf("%s %d %s %s", a.UID, j, m.Object, m.Metric)
			of := before[key]
			if of == nil {
				of = &lack{}
			}
			of.looks++
			l.since[key] = of
			l.tell(a, m, of)
		}
	}
	// What comes and goes is told of as seldom as what stays.
	for key, of := range before {
		if _, still := l.since[key]; !still && of.told != "" && l.now().Sub(of.toldAt) < tellAgain {
			of.looks = 0
			l.since[key] = of
		}
	}
}

// withoutPods tells whether there is no value because nothing runs that could have one.
func withoutPods(a *autoscalers.Autoscaler, m *autoscalers.Metric) bool {
	return a.Replicas == 0 || m.Object == "pods" && m.Pods == 0
}

func (l *lacking) tell(a *autoscalers.Autoscaler, m *autoscalers.Metric, of *lack) {
	age := l.now().Sub(of.toldAt)
	if of.looks < patienceLooks || of.told == m.Reason && age < tellAgain || of.told != "" && age < tellOther {
		return
	}
	of.told, of.toldAt = m.Reason, l.now()
	l.logger.Warn("an autoscaler has no value of a metric", "namespace", a.Namespace, "hpa", a.Name, "metric", m.Metric, "object", m.Object, "reason", m.Reason)
	if l.events == nil {
		return
	}
	l.events.Event(&corev1.ObjectReference{
		APIVersion: autoscalingv2.SchemeGroupVersion.String(), Kind: "HorizontalPodAutoscaler", Namespace: a.Namespace, Name: a.Name, UID: a.UID,
	}, corev1.EventTypeWarning, eventNoValue, shortened(fmt.Sprintf("promlet has no value of %s: %s", sought(m), m.Reason)))
}

// sought is what a metric is called where it is told of.
func sought(m *autoscalers.Metric) string {
	if m.Question.External {
		return "external metric " + m.Metric
	}
	return m.Metric + " of " + m.Object
}
