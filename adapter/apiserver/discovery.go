package apiserver

import (
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"sync"
	"time"

	apidiscoveryv2 "k8s.io/api/apidiscovery/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/apiserver/pkg/endpoints"
	"k8s.io/apiserver/pkg/endpoints/discovery"
	"k8s.io/apiserver/pkg/endpoints/discovery/aggregated"
	cmapiserver "sigs.k8s.io/custom-metrics-apiserver/pkg/apiserver"
)

// documentMaxAge bounds how old the document may be. The provider's list of metrics,
// which it is made of, has an age of its own.
const documentMaxAge = time.Second

// liveDiscovery serves aggregated discovery (/apis with as=APIGroupDiscoveryList) from
// the metrics of the moment. The library lists them for the older /apis/GROUP/VERSION
// only. Its aggregated document is empty, and kube-apiserver, which asks for that one
// first, would show no metrics to kubectl.
type liveDiscovery struct {
	aggregated.ResourceManager
	listers map[string]discovery.APIResourceLister // by group

	mu     sync.Mutex
	made   time.Time
	listed map[string][]metav1.APIResource // by group, as they were then
}

func newLiveDiscovery(listers map[string]discovery.APIResourceLister) *liveDiscovery {
	return &liveDiscovery{ResourceManager: aggregated.NewResourceManager("apis"), listers: listers}
}

func (d *liveDiscovery) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := d.refresh(); err != nil {
		// The document served last stays.
		utilruntime.HandleErrorWithContext(r.Context(), err, "make aggregated discovery")
	}
	d.ResourceManager.ServeHTTP(w, r)
}

// refresh makes the document anew when it is old and the metrics have changed. With
// thousands of them that takes a tenth of a second.
func (d *liveDiscovery) refresh() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if time.Since(d.made) < documentMaxAge {
		return nil
	}
	listed := make(map[string][]metav1.APIResource, len(d.listers))
	for name, lister := range d.listers {
		listed[name] = lister.ListAPIResources()
	}
	d.made = time.Now()
	if d.listed != nil && reflect.DeepEqual(listed, d.listed) {
		return nil
	}
	var groups []apidiscoveryv2.APIGroupDiscovery
	for _, name := range slices.Sorted(maps.Keys(listed)) {
		group, err := aggregatedGroup(cmapiserver.Scheme, name, listed[name])
		if err != nil {
			return err
		}
		groups = append(groups, group)
	}
	d.SetGroups(groups)
	d.listed = listed
	return nil
}

func aggregatedGroup(scheme *runtime.Scheme, name string, resources []metav1.APIResource) (apidiscoveryv2.APIGroupDiscovery, error) {
	group := apidiscoveryv2.APIGroupDiscovery{ObjectMeta: metav1.ObjectMeta{Name: name}}
	converted, err := endpoints.ConvertGroupVersionIntoToDiscovery(resources)
	if err != nil {
		return group, fmt.Errorf("convert API resources of %s: %w", name, err)
	}
	for _, gv := range scheme.PrioritizedVersionsForGroup(name) {
		group.Versions = append(group.Versions, apidiscoveryv2.APIVersionDiscovery{
			Version:   gv.Version,
			Resources: converted,
			Freshness: apidiscoveryv2.DiscoveryFreshnessCurrent,
		})
	}
	return group, nil
}
