package reach

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/agnivade/levenshtein"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/promlet/promlet/discovery/targets"
)

// unmet is a requirement of a selector that an object does not meet.
type unmet struct {
	targets.Requirement
	has   bool // the object has the label
	value string
}

// reason says what is wanted and what there is.
func (u *unmet) reason(of object) string {
	wanted := "it wants the label " + u.Label
	switch u.Operator {
	case metav1.LabelSelectorOpExists:
		wanted = "it wants a label " + u.Label
	case metav1.LabelSelectorOpDoesNotExist:
		wanted = "it wants no label " + u.Label
	case metav1.LabelSelectorOpNotIn:
		wanted += oneOrIn(u.values(), "!=", " not in ")
	default:
		wanted += oneOrIn(u.values(), "=", " in ")
	}
	if u.has {
		return fmt.Sprintf("%s, %s has %s", wanted, of.noun(), labelText(u.Label, u.value))
	}
	reason := fmt.Sprintf("%s, which %s has not", wanted, of.noun())
	if key, ok := u.alike(of.labels()); ok {
		reason += fmt.Sprintf(" (it has %s)", labelText(key, of.labels()[key]))
	}
	return reason
}

func (u *unmet) values() []string {
	var out []string
	for _, v := range u.Values {
		out = append(out, v.String())
	}
	return out
}

// oneOrIn writes values as a label selector does.
func oneOrIn(values []string, one, in string) string {
	if len(values) == 1 {
		return one + valueText(values[0])
	}
	return in + "(" + enumerate(values) + ")"
}

func labelText(key, value string) string { return key + "=" + valueText(value) }

// valueText makes the empty value visible.
func valueText(value string) string {
	if value == "" {
		return `""`
	}
	return value
}

// distance is about how many characters of the object's labels would have to change.
func (u *unmet) distance(set map[string]string) int {
	switch u.Operator {
	case metav1.LabelSelectorOpNotIn, metav1.LabelSelectorOpDoesNotExist:
		return 1
	}
	best := len(u.Label) + u.fromValue("")
	for key, value := range set {
		best = min(best, editDistance(u.Label, key)+u.fromValue(value))
	}
	return best
}

// fromValue is the distance from a value to the nearest of those wanted; 0 when any is
// good.
func (u *unmet) fromValue(value string) int {
	if len(u.Values) == 0 {
		return 0
	}
	best := math.MaxInt
	for _, wanted := range u.values() {
		best = min(best, editDistance(wanted, value))
	}
	return best
}

// isClose reports whether the requirement is nearly met: a wanted value is similar to that of the object, or the label may be
// meant to be one that the object has.
func (u *unmet) isClose(set map[string]string) bool {
	if !u.has {
		_, ok := u.alike(set)
		return ok
	}
	return slices.ContainsFunc(u.values(), func(wanted string) bool { return similar(wanted, u.value) })
}

// similar reports whether two texts differ in at most a third of their letters.
func similar(a, b string) bool {
	longer := max(len(a), len(b))
	return editDistance(a, b) <= min(max(2, longer/3), longer/2)
}

// alike finds the label that may be meant to be one that is missing: one whose name is
// a slip away, or else one that has the value.
func (u *unmet) alike(set map[string]string) (key string, ok bool) {
	const slip = 2
	keys := slices.Sorted(maps.Keys(set))
	for _, key := range keys {
		if editDistance(u.Label, key) <= min(slip, len(u.Label)/2) {
			return key, true
		}
	}
	for _, key := range keys {
		if u.Operator == metav1.LabelSelectorOpIn && slices.Contains(u.values(), set[key]) {
			return key, true
		}
	}
	return "", false
}

// maxCompared bounds the work of comparing two texts, in bytes: a label's value is not
// longer.
const maxCompared = 63

// editDistance is the number of characters to be changed, added or taken away to make
// one text of another.
func editDistance(a, b string) int {
	return levenshtein.ComputeDistance(a[:min(len(a), maxCompared)], b[:min(len(b), maxCompared)])
}
