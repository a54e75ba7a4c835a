package discovery

import (
	"errors"
	"log/slog"
	"strings"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/record"

	"github.com/promlet/promlet/discovery/monitors"
	"github.com/promlet/promlet/discovery/objects"
)

// The reasons of Events; the first is the operator's.
const (
	eventInvalid      = "InvalidConfiguration"
	eventNotSupported = "NotSupported"
)

// maxEventMessage is the most that the API server takes, in bytes.
const maxEventMessage = 1024

// rejections reports why monitors are rejected: each reason once in the log, and as an
// Event on the monitor.
type rejections struct {
	logger  *slog.Logger
	events  record.EventRecorder       // nil: none
	current map[string]monitors.Status // rejected ones by key
}

// report compares the reasons with those of the last call.
func (r *rejections) report(statuses []monitors.Status) {
	before := r.current
	r.current = map[string]monitors.Status{}
	for i := range statuses {
		m := &statuses[i]
		key := m.Key()
		was, rejected := before[key]
		attrs := []any{"kind", m.Kind, "namespace", m.Namespace, "name", m.Name, "origin", m.Origin}
		switch {
		case errors.Is(m.Err, objects.ErrNotRead):
			if rejected { // it stays so until the object has been read
				r.current[key] = was
			}
			continue
		case m.Err == nil && rejected:
			r.logger.Info("monitor is no longer rejected", attrs...)
		case m.Err != nil && (!rejected || was.Err.Error() != m.Err.Error() || was.UID != m.UID):
			r.logger.Warn("monitor rejected", append(attrs, "error", m.Err)...)
			r.event(m)
		}
		if m.Err != nil {
			r.current[key] = *m
		}
	}
}

// repeat writes the Events of all rejections again: an API server drops them after an
// hour.
func (r *rejections) repeat() {
	for _, m := range r.current {
		r.event(&m)
	}
}

func (r *rejections) event(m *monitors.Status) {
	if r.events == nil || m.Origin == monitors.OriginInline {
		return // there is no object
	}
	reason := eventInvalid
	if errors.Is(m.Err, monitors.ErrNotSupported) {
		reason = eventNotSupported
	}
	text := "rejected by promlet: " + m.Err.Error()
	if len(text) > maxEventMessage {
		text = strings.ToValidUTF8(text[:maxEventMessage-len("...")], "") + "..."
	}
	version := monitoringv1.SchemeGroupVersion.String()
	if m.Origin == monitors.OriginAnnotation {
		version = corev1.SchemeGroupVersion.String()
	}
	r.events.Event(&corev1.ObjectReference{
		APIVersion: version, Kind: m.Kind, Namespace: m.Namespace, Name: m.Name, UID: m.UID,
	}, corev1.EventTypeWarning, reason, text)
}
