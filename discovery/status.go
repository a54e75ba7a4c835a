package discovery

import "k8s.io/apimachinery/pkg/types"

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
	// beyond what promlet does.
	Err error
	// Unsupported are the paths of the fields promlet does not do.
	Unsupported []string

	uid    types.UID // of the object
	double bool      // an inline monitor that has the name of another
}

// key identifies a monitor among all.
func (m *MonitorStatus) key() string {
	key := string(m.Origin) + "/" + m.Kind + "/" + m.Namespace + "/" + m.Name
	if m.double {
		key += " again"
	}
	return key
}
