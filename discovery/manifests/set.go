package manifests

import (
	"fmt"
	"reflect"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/promlet/promlet/discovery/objects"
)

// objectSet holds the objects of all files, by kind, then by "namespace/name".
type objectSet map[string]map[string]metav1.Object

// assemble puts the objects of all files together. Of an object that is in two places
// the first counts, and the second is a problem.
func assemble(files []*file) (objectSet, []string) {
	set := objectSet{}
	var problems []string
	places := map[string]string{}
	for _, f := range files {
		for _, o := range f.objects {
			name := o.kind + " " + objectName(o.object)
			place := fmt.Sprintf("%s:%d", f.path, o.line)
			if first, ok := places[name]; ok {
				problems = append(problems, fmt.Sprintf("%s: %s is in %s already, which counts", place, name, first))
				continue
			}
			places[name] = place
			set.add(o.kind, o.object)
		}
	}
	set.mirrorEndpoints()
	set.implyNamespaces()
	return set, problems
}

func (s objectSet) add(kind string, obj metav1.Object) {
	if s[kind] == nil {
		s[kind] = map[string]metav1.Object{}
	}
	s[kind][cache.MetaObjectToName(obj).String()] = obj
}

// mirrorEndpoints makes EndpointSlices of Endpoints whose Service has none.
func (s objectSet) mirrorEndpoints() {
	has := map[string]bool{}
	for _, obj := range s["EndpointSlice"] {
		has[obj.GetNamespace()+"/"+obj.GetLabels()[discoveryv1.LabelServiceName]] = true
	}
	for key, obj := range s["Endpoints"] {
		if has[key] {
			continue
		}
		endpoints, ok := obj.(*corev1.Endpoints) //nolint:staticcheck // deprecated, and what old manifests have
		if !ok {
			continue
		}
		for _, slice := range mirror(endpoints) {
			s.add("EndpointSlice", slice)
		}
	}
}

// implyNamespaces adds a Namespace for each namespace that objects are in.
func (s objectSet) implyNamespaces() {
	names := map[string]bool{}
	for _, objects := range s {
		for _, obj := range objects {
			if ns := obj.GetNamespace(); ns != "" {
				names[ns] = true
			}
		}
	}
	for name := range names {
		if s["Namespace"][name] == nil {
			s.add("Namespace", &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
		}
	}
}

// store makes the Store hold this set and nothing else. An object that is equal to the
// one held leaves that in place.
func (s objectSet) store(to *objects.Store) {
	for _, k := range kinds() {
		indexer, held := to.Indexer(k.version.WithResource(k.resource).GroupResource())
		if !held {
			continue
		}
		// An indexer fails only for objects without metadata.
		for _, key := range indexer.ListKeys() {
			if held, ok, _ := indexer.GetByKey(key); ok && s[k.name][key] == nil {
				_ = indexer.Delete(held)
			}
		}
		for key, obj := range s[k.name] {
			if held, ok, _ := indexer.GetByKey(key); !ok || !reflect.DeepEqual(held, any(obj)) {
				_ = indexer.Update(obj)
			}
		}
	}
}
