package discovery

import (
	"log/slog"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/promlet/promlet/discovery/kubelets"
	"github.com/promlet/promlet/discovery/monitors"
	"github.com/promlet/promlet/discovery/objects"
)

// kubeletTargets are the targets of the job that scrapes kubelets, by the names of their Nodes.
// update and log may be called on nil.
type kubeletTargets struct {
	jobTargets
	kubelets    *kubelets.Job
	unreachable map[string]error // why a Node has no target, by its name
	logged      map[string]error // unreachable as of the last call of log
}

// newKubeletTargets returns the targets of all Nodes.
func newKubeletTargets(job *kubelets.Job, store *objects.Store) *kubeletTargets {
	k := &kubeletTargets{
		jobTargets: jobTargets{job: &monitors.Job{Name: kubelets.JobName, Config: job.Config}},
		kubelets:   job,
	}
	k.update(store)
	return k
}

// update computes the targets of all Nodes.
func (k *kubeletTargets) update(store *objects.Store) {
	if k == nil {
		return
	}
	k.unreachable = map[string]error{}
	gone := maps.Clone(k.groups)
	for _, node := range objects.List[corev1.Node](store, nil) {
		delete(gone, node.Name)
		g, err := k.kubelets.Group(node)
		if err != nil {
			k.unreachable[node.Name] = err
		}
		k.put(node.Name, g)
	}
	for name := range gone {
		k.put(name, nil)
	}
}

// log logs why Nodes have no target. It logs a Node again only when the reason changes.
func (k *kubeletTargets) log(logger *slog.Logger) {
	if k == nil {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(k.unreachable)) {
		err := k.unreachable[name]
		if before := k.logged[name]; before == nil || before.Error() != err.Error() {
			logger.Warn("kubelet is not scraped", "node", name, "error", err)
		}
	}
	k.logged = k.unreachable
}
