package reach

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/promlet/promlet/discovery/targets"
)

// maxListed bounds how many of a kind a text enumerates.
const maxListed = 5

// have puts in brackets what there is instead of what is wanted.
func have(intro string, values []string) string {
	if len(values) == 0 {
		return " (" + intro + "none)"
	}
	return " (" + intro + enumerate(values) + ")"
}

// enumerate lists each value once, in order.
func enumerate(values []string) string {
	values = slices.Compact(slices.Sorted(slices.Values(values)))
	if more := len(values) - maxListed; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(values[:maxListed], ", "), more)
	}
	return strings.Join(values, ", ")
}

// labelsText lists the labels of an object.
func labelsText(set map[string]string) string {
	var all []string
	for key, value := range set {
		all = append(all, labelText(key, value))
	}
	return cmp.Or(enumerate(all), "none")
}

// phases puts the phases of pods, as far as they are known, in brackets.
func phases(pods []*corev1.Pod) string {
	var found []string
	for _, pod := range pods {
		if pod.Status.Phase != "" {
			found = append(found, string(pod.Status.Phase))
		}
	}
	if len(found) == 0 {
		return ""
	}
	return " (" + enumerate(found) + ")"
}

// portText is a port's name or, for want of one, its number.
func portText(name string, number int32) string {
	if name != "" {
		return strconv.Quote(name)
	}
	return strconv.Itoa(int(number))
}

// containerPort names the container's port that a rule wants; empty when it wants none.
func containerPort(r *targets.PortRule) string {
	switch r.By {
	case targets.ContainerPortName:
		return fmt.Sprintf("port named %q", r.Name)
	case targets.ContainerPortNumber:
		return fmt.Sprintf("port %d", r.Number)
	}
	return ""
}

// declares reports whether a container of the pods has a port that the rule wants.
func declares(r *targets.PortRule, pods []*corev1.Pod) bool {
	return slices.ContainsFunc(pods, func(pod *corev1.Pod) bool {
		return slices.ContainsFunc(targets.ContainerPorts(pod), func(c targets.ContainerPort) bool { return c.Number != 0 && r.Matches("", c) })
	})
}

// declared lists the ports of the containers of the pods, by number where the rule goes
// by number.
func declared(r *targets.PortRule, pods []*corev1.Pod) []string {
	var out []string
	for _, pod := range pods {
		for _, c := range targets.ContainerPorts(pod) {
			switch {
			case c.Number == 0:
			case r.By == targets.ContainerPortNumber:
				out = append(out, portText("", c.Number))
			default:
				out = append(out, portText(c.PortName, c.Number))
			}
		}
	}
	return out
}
