package monitors

import (
	"fmt"

	"k8s.io/apimachinery/pkg/types"
)

// Origin is where a monitor comes from.
type Origin string

const (
	// OriginCluster is a monitor in the Store, from the API server or from files.
	OriginCluster Origin = "cluster"
	// OriginInline is a monitor given to the Compiler.
	OriginInline Origin = "inline"
	// OriginAnnotation is a Service or Pod annotated prometheus.io/scrape.
	OriginAnnotation Origin = "annotation"
)

// Status is the state of one monitor, or of an annotated Service or Pod.
type Status struct {
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
	// for a good one. It wraps ErrNotSupported if the monitor is correct and uses
	// what promlet does not support.
	Err error
	// Unsupported are the paths of the fields that promlet does not support.
	Unsupported []string
	// Adjusted says, by the path of the field, what promlet does other than an accepted
	// monitor asks for, such as scraping less often.
	Adjusted []string
	// UID is that of the object; empty for an inline monitor.
	UID types.UID

	duplicate bool // an inline monitor that has the name of another
}

// Key identifies a monitor among all.
func (s *Status) Key() string {
	key := string(s.Origin) + "/" + s.Kind + "/" + s.Namespace + "/" + s.Name
	if s.duplicate {
		key += " again"
	}
	return key
}

// Rejection returns a text that says why the monitor is rejected, "" if it is not.
func (s *Status) Rejection() string {
	if s.Err == nil {
		return ""
	}
	return fmt.Sprintf("%s %s/%s is rejected: %v", s.Kind, s.Namespace, s.Name, s.Err)
}
