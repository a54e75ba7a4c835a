package discovery

import (
	"log/slog"
)

// Origin says where a monitor was found.
type Origin string

const (
	// OriginCluster is a monitor among the objects that the Source provides,
	// from the API server or from files.
	OriginCluster Origin = "cluster"
	// OriginInline is a monitor given in Options.
	OriginInline Origin = "inline"
	// OriginAnnotation is a Service or Pod annotated prometheus.io/scrape.
	OriginAnnotation Origin = "annotation"
)

// MonitorStatus tells what became of one monitor.
type MonitorStatus struct {
	// Kind is ServiceMonitor or PodMonitor, or Service or Pod for an object that
	// is annotated.
	Kind, Namespace, Name string
	Origin                Origin
	// Jobs are the names of the jobs made of it, in the order of its endpoints.
	Jobs []string
	// Targets is the number of targets over all jobs, before the monitor's own
	// relabelings, which may drop some.
	Targets int
	// Err is why the monitor is rejected whole, with the path of the field; nil
	// for a good one. It wraps ErrNotSupported if the monitor is sound and only
	// beyond what promlet can do yet.
	Err error
	// Unsupported are the paths of the fields promlet cannot do yet.
	Unsupported []string
}

// key identifies a monitor among all.
func (m *MonitorStatus) key() string {
	return string(m.Origin) + "/" + m.Kind + "/" + m.Namespace + "/" + m.Name
}

// rejections logs why monitors are rejected, each reason once.
type rejections struct {
	logger  *slog.Logger
	reasons map[string]string // by key
}

// report compares the reasons with those of the last call.
func (r *rejections) report(monitors []MonitorStatus) {
	current := map[string]string{}
	for i := range monitors {
		m := &monitors[i]
		key := m.key()
		before, rejected := r.reasons[key]
		attrs := []any{"kind", m.Kind, "namespace", m.Namespace, "name", m.Name, "origin", m.Origin}
		switch {
		case m.Err == nil && rejected:
			r.logger.Info("monitor is no longer rejected", attrs...)
		case m.Err != nil && before != m.Err.Error():
			r.logger.Warn("monitor rejected", append(attrs, "error", m.Err)...)
		}
		if m.Err != nil {
			current[key] = m.Err.Error()
		}
	}
	r.reasons = current
}
