package monitors

import (
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/relabel"
)

// namespaceLabel is the label that discovery and the default rules know a namespace by.
const namespaceLabel = "namespace"

// Enforcement gives the targets and series of a monitor the label namespace of the monitor,
// as the operator's enforcedNamespaceLabel does. The zero value enforces nothing.
type Enforcement struct {
	Enabled bool
	// Exempt are namespaces whose monitors may write series of other namespaces, such as
	// that of kube-state-metrics: the operator's excludedFromEnforcement.
	Exempt []string
}

// Applies reports whether the label is enforced on monitors of a namespace.
func (e Enforcement) Applies(namespace string) bool {
	return e.Enabled && !slices.Contains(e.Exempt, namespace)
}

// Namespace returns the namespace that the series of a job should have, "" for a job that
// no monitor asked for, and whether it is enforced.
func (e Enforcement) Namespace(job string) (namespace string, enforced bool) {
	namespace = NamespaceOf(job)
	return namespace, namespace != "" && e.Applies(namespace)
}

// pinNamespace is the rule that enforces a namespace.
func pinNamespace(namespace string) *relabel.Config {
	c := relabel.DefaultRelabelConfig
	c.TargetLabel, c.Replacement = namespaceLabel, namespace
	c.NameValidationScheme = model.UTF8Validation
	return &c
}

// NamespaceOf returns the namespace of the monitor that a job is made of, by the job's
// name; "" for a job that is made of none.
func NamespaceOf(job string) string {
	rest, ok := strings.CutPrefix(job, serviceMonitorJobs)
	if !ok {
		if rest, ok = strings.CutPrefix(job, podMonitorJobs); !ok {
			return ""
		}
	}
	namespace, _, _ := strings.Cut(rest, "/")
	return namespace
}
