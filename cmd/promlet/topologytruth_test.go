package main

import (
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
	apilabels "k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider"
)

// question is a metric, perhaps only of the series with a code.
type question struct{ metric, code string }

func (q question) info(resource string) provider.CustomMetricInfo {
	return provider.CustomMetricInfo{GroupResource: schema.ParseGroupResource(resource), Metric: q.metric}
}

func (q question) selector() apilabels.Selector {
	if q.code == "" {
		return apilabels.Everything()
	}
	return apilabels.SelectorFromSet(apilabels.Set{"code": q.code})
}

func (q question) takes(e exposed) bool {
	return strings.TrimSuffix(e.name, "_total") == q.metric && (q.code == "" || e.labels.Get("code") == q.code)
}

// registries are containers that count together, each once.
type registries map[*registry]bool

// sum adds up the values that are asked about; ok is false when there are none.
func (q question) sum(of registries) (sum float64, ok bool) {
	for r := range of {
		for _, e := range r.series {
			if q.takes(e) {
				sum, ok = sum+e.value, true
			}
		}
	}
	return sum, ok
}

// object is what a question is about.
type object struct {
	resource string
	types.NamespacedName
}

func objectOf(resource, namespace, name string) object {
	return object{resource, types.NamespacedName{Namespace: namespace, Name: name}}
}

// endpoints stands for the pods of a Service, in whatever ways they are scraped.
const endpoints = "endpoints"

// truth is which containers are scraped of each object: of a Service those that its own
// targets reach. Rates of the objects in unsure may still tell of what was scraped until
// shortly before.
func (a *asking) truth() (all map[object]registries, unsure map[object]bool) {
	all, unsure = map[object]registries{}, map[object]bool{}
	for _, x := range a.targets {
		if x.live() {
			a.eachReached(x, func(what object, r *registry) {
				if all[what] == nil {
					all[what] = registries{}
				}
				all[what][r] = true
			})
		}
	}
	for _, x := range a.ended {
		a.eachReached(x, func(what object, r *registry) {
			if !all[what][r] || a.forgotten(x) {
				unsure[what] = true
			}
		})
	}
	return all, unsure
}

// forgotten tells whether the rates of a target that has ended get in the way of those
// that go on. It may have had a label that no other of its job, or else of its namespace,
// has: then it is no longer known that only targets differ by it. Or it had the
// container's name, which goes before those without.
func (a *asking) forgotten(x *topologyTarget) bool {
	var job, namespace []*topologyTarget
	for _, y := range a.targets {
		if y.registry == x.registry && x.Labels.Has("container") && !y.Labels.Has("container") {
			return true
		}
		if a.scope(y) == a.scope(x) {
			job = append(job, y)
		}
		if y.Labels.Get("namespace") == x.Labels.Get("namespace") {
			namespace = append(namespace, y)
		}
	}
	peers := job
	if len(job) == 0 {
		peers = namespace
	}
	forgotten := false
	x.Labels.Range(func(l labels.Label) {
		known := l.Name == "job" || l.Name == "endpoint" || l.Name == "service" || l.Name == "container"
		forgotten = forgotten || !known && !slices.ContainsFunc(peers, func(y *topologyTarget) bool { return y.Labels.Has(l.Name) })
	})
	return forgotten
}

// eachReached visits what a target tells of.
func (a *asking) eachReached(x *topologyTarget, visit func(object, *registry)) {
	told := []*registry{x.registry}
	if x.honor && len(x.registry.about) > 0 {
		told = x.registry.about
	}
	for _, r := range told {
		visit(objectOf("namespaces", "", r.namespace), r)
		if node := x.Labels.Get("node"); node != "" {
			visit(objectOf("nodes", "", node), r)
		}
		if x.service != "" {
			visit(objectOf("services", r.namespace, x.service), r)
		}
		pod := a.pod(r)
		if pod == nil {
			continue
		}
		visit(objectOf("pods", r.namespace, r.pod), r)
		for _, owner := range ownersOf(pod) {
			visit(owner, r)
		}
		for _, s := range a.services {
			if slices.Contains(a.selected(s), pod) {
				visit(objectOf(endpoints, s.Namespace, s.Name), r)
			}
		}
	}
}

// ownersOf are the workloads that own a pod now.
func ownersOf(p *topologyPod) (owners []object) {
	resources := map[string]string{"ReplicaSet": "replicasets.apps", "StatefulSet": "statefulsets.apps", "DaemonSet": "daemonsets.apps", "Job": "jobs.batch"}
	for _, ref := range p.OwnerReferences {
		owners = append(owners, objectOf(resources[ref.Kind], p.Namespace, ref.Name))
		if name, ok := strings.CutSuffix(ref.Name, "-"+p.Labels["pod-template-hash"]); ok && ref.Kind == "ReplicaSet" {
			owners = append(owners, objectOf("deployments.apps", p.Namespace, name))
		}
	}
	return owners
}

// all are the objects to ask about.
func (a *asking) all() (all []object) {
	for _, ns := range a.namespaces {
		all = append(all, objectOf("namespaces", "", ns))
	}
	for _, node := range []string{"n1", "n2"} {
		all = append(all, objectOf("nodes", "", node))
	}
	for _, s := range a.services {
		all = append(all, objectOf("services", s.Namespace, s.Name))
	}
	owners := map[object]bool{}
	for _, p := range a.pods {
		all = append(all, objectOf("pods", p.Namespace, p.Name))
		for _, owner := range ownersOf(p) {
			if !owners[owner] {
				owners[owner], all = true, append(all, owner)
			}
		}
	}
	return all
}
