package reach

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/promlet/promlet/discovery/objects"
	"github.com/promlet/promlet/discovery/targets"
)

// Miss is a monitor that does not select an object, and why.
type Miss struct {
	Kind, Namespace, Name string
	// Reason is a text for people: labels or a namespaceSelector that do not fit, or
	// the option that leaves the monitor out.
	Reason string
}

// maxDifferences is how many unmet requirements a reason names.
const maxDifferences = 3

// maxMeasured bounds how many monitors, all with as many differences, are compared
// letter by letter.
const maxMeasured = 200

// candidate is a monitor that does not select an object, and how far it is from it.
type candidate struct {
	kind, namespace, name string

	leftOut string   // why it does not count
	err     error    // why it is not known what it selects
	named   []string // the namespaces it names, if the object's is none of them
	unmet   []unmet
	met     bool // the object meets other requirements
}

// newCandidate compares a monitor of the namespace of an object with it. err is why it
// is not known what the monitor selects.
func newCandidate(kind string, monitor metav1.Object, scope *targets.Selection, err error, of object) *candidate {
	c := &candidate{kind: kind, namespace: monitor.GetNamespace(), name: monitor.GetName(), err: err}
	if err != nil {
		return c
	}
	if !scope.LooksInto(c.namespace) {
		c.named = scope.Namespaces
	}
	for _, r := range scope.Objects.Unmet(of.labels()) {
		u := unmet{Requirement: r}
		u.value, u.has = scope.Objects.Value(of.labels(), r.Label)
		c.unmet = append(c.unmet, u)
	}
	c.met = scope.Objects.Len() > len(c.unmet)
	return c
}

// leftOutCandidates are the monitors of a namespace that do not count.
func (e *Explainer) leftOutCandidates(kind, namespace string, of object) []*candidate {
	var out []*candidate
	add := func(m metav1.Object) {
		if reason := e.Compiler.LeftOut(m); reason != "" {
			scope, err := e.Compiler.ScopeOf(m)
			c := newCandidate(kind, m, &scope, err, of)
			c.leftOut = reason
			out = append(out, c)
		}
	}
	if kind == monitoringv1.PodMonitorsKind {
		for _, m := range objects.List[monitoringv1.PodMonitor](e.Store, []string{namespace}) {
			add(m)
		}
		return out
	}
	for _, m := range objects.List[monitoringv1.ServiceMonitor](e.Store, []string{namespace}) {
		add(m)
	}
	return out
}

// nearest picks the candidate with the fewest differences among those that are close; of several that whose labels
// are closest, and then the first by name. It is nil when there is none.
func nearest(all []*candidate, of object, name string) *Miss {
	slices.SortStableFunc(all, func(a, b *candidate) int {
		return cmp.Or(cmp.Compare(a.differences(), b.differences()), cmp.Compare(a.name, b.name))
	})
	all = slices.DeleteFunc(all[:min(len(all), maxMeasured)], func(c *candidate) bool { return !c.isClose(of, name) })
	if len(all) == 0 {
		return nil
	}
	least := all[0].differences()
	best, closest := all[0], math.MaxInt
	for _, c := range all {
		if d := c.distance(of.labels()); c.differences() == least && d < closest {
			best, closest = c, d
		}
	}
	return &Miss{Kind: best.kind, Namespace: best.namespace, Name: best.name, Reason: best.reason(of)}
}

// differences is how many things would have to change for the monitor to select the
// object. What is not known counts as one; so does being left out.
func (c *candidate) differences() int {
	n := len(c.unmet)
	if c.leftOut != "" {
		n++
	}
	if c.named != nil || c.err != nil {
		n++
	}
	return n
}

// isClose reports whether the monitor may be meant for the object of a name: nothing is wrong with its labels as far as is
// known, or it wants a label that the object has or nearly has, or it is called almost like the object.
func (c *candidate) isClose(of object, name string) bool {
	return len(c.unmet) == 0 || c.met || similar(c.name, name) || strings.HasPrefix(name, c.name+"-") ||
		slices.ContainsFunc(c.unmet, func(u unmet) bool { return u.isClose(of.labels()) })
}

// distance is how much would have to change about labels, in characters.
func (c *candidate) distance(set map[string]string) int {
	if c.err != nil {
		return math.MaxInt
	}
	sum := 0
	for i := range c.unmet {
		sum += c.unmet[i].distance(set)
	}
	return sum
}

func (c *candidate) reason(of object) string {
	var parts []string
	if c.leftOut != "" {
		parts = append(parts, c.leftOut)
	}
	if c.err != nil {
		parts = append(parts, "it is rejected: "+c.err.Error())
	}
	if c.named != nil {
		parts = append(parts, fmt.Sprintf("its namespaceSelector leaves out namespace %s (it names %s)", c.namespace, enumerate(c.named)))
	}
	for i := range c.unmet {
		if i == maxDifferences {
			parts = append(parts, fmt.Sprintf("and %d more", len(c.unmet)-i))
			break
		}
		parts = append(parts, c.unmet[i].reason(of))
	}
	return strings.Join(parts, "; ")
}
