package web

import (
	"fmt"
	"maps"
	"slices"

	"github.com/promlet/promlet/discovery/kubelets"
	"github.com/promlet/promlet/discovery/monitors"
)

// kindNodes is the Kind under which the kubelets of Nodes are shown like a monitor.
const kindNodes = "Nodes"

// newKubelets returns the kubelets with their targets in the form of a monitor. ok is false if there are none.
func newKubelets(owned map[owner][]Target, unreachable map[string]error) (m monitor, ok bool) {
	m = newMonitor(&monitors.Status{Kind: kindNodes, Name: "kubelets", Jobs: []string{kubelets.JobName}}, owned)
	for _, node := range slices.Sorted(maps.Keys(unreachable)) {
		m.Unreachable = append(m.Unreachable, fmt.Sprintf("kubelet of node %s: %v", node, unreachable[node]))
	}
	m.All += len(m.Unreachable)
	return m, m.All > 0
}

// title returns the text that a filter matches.
func (m *monitor) title() string {
	if m.Kind == kindNodes {
		return m.Kind + " " + m.Name
	}
	return m.Kind + " " + m.Namespace + "/" + m.Name
}
