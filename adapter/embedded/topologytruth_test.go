package embedded

import (
	"slices"
	"strings"

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

// served is what containers serve, each series once for every URL that it is scraped at.
type served map[servedAt]exposed

type servedAt struct{ url, series string }

// sum adds up the values that are asked about; ok is false when there are none.
func (q question) sum(of served) (sum float64, ok bool) {
	for _, e := range of {
		if q.takes(e) {
			sum, ok = sum+e.value, true
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

// truth is what is scraped of each object: of a Service those that its own
// targets reach.
func (a *asking) truth() map[object]served {
	all := map[object]served{}
	for _, x := range a.targets {
		if x.live() {
			a.eachReached(x, func(what object, r *registry) {
				if all[what] == nil {
					all[what] = served{}
				}
				for _, e := range r.series {
					all[what][servedAt{a.writer[x.Labels.Hash()], e.name + e.labels.String()}] = e
				}
			})
		}
	}
	return all
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
