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
	eventAdjusted     = "Adjusted"
)

// maxEventMessage is the most that the API server takes, in bytes.
const maxEventMessage = 1024

// rejections reports why monitors are rejected or adjusted: each reason once in the log,
// and as an Event on the monitor.
type rejections struct {
	logger  *slog.Logger
	events  record.EventRecorder       // nil: none
	current map[string]monitors.Status // those rejected or adjusted, by key
}

// report compares the reasons with those of the last call.
func (r *rejections) report(statuses []monitors.Status) {
	before := r.current
	r.current = map[string]monitors.Status{}
	for i := range statuses {
		m := &statuses[i]
		key := m.Key()
		was, reported := before[key]
		if errors.Is(m.Err, objects.ErrNotRead) {
			if reported { // it stays so until the object has been read
				r.current[key] = was
			}
			continue
		}
		_, text := complaint(m)
		if text != "" {
			r.current[key] = *m
		}
		_, known := complaint(&was)
		if known == text && was.UID == m.UID {
			continue
		}
		logger := r.logger.With("kind", m.Kind, "namespace", m.Namespace, "name", m.Name, "origin", m.Origin)
		if was.Err != nil && m.Err == nil {
			logger.Info("monitor is no longer rejected")
		}
		switch {
		case m.Err != nil:
			logger.Warn("monitor rejected", "error", m.Err)
			r.event(m)
		case text != "":
			logger.Warn("monitor adjusted", "fields", m.Adjusted)
			r.event(m)
		}
	}
}

// complaint returns the reason and the text of the Event on a monitor, both empty if
// promlet does what the monitor asks for.
func complaint(m *monitors.Status) (reason, text string) {
	switch {
	case errors.Is(m.Err, monitors.ErrNotSupported):
		return eventNotSupported, "rejected by promlet: " + m.Err.Error()
	case m.Err != nil:
		return eventInvalid, "rejected by promlet: " + m.Err.Error()
	case len(m.Adjusted) > 0:
		return eventAdjusted, "adjusted by promlet: " + strings.Join(m.Adjusted, "; ")
	}
	return "", ""
}

// repeat writes all Events again: an API server drops them after an hour.
func (r *rejections) repeat() {
	for _, m := range r.current {
		r.event(&m)
	}
}

func (r *rejections) event(m *monitors.Status) {
	if r.events == nil || m.Origin == monitors.OriginInline {
		return // there is no object
	}
	reason, text := complaint(m)
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
