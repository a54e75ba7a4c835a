package adapter

import (
	"fmt"
	"maps"
	"net/http"
	"slices"

	apidiscoveryv2 "k8s.io/api/apidiscovery/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/apiserver/pkg/endpoints"
	"k8s.io/apiserver/pkg/endpoints/discovery"
	"k8s.io/apiserver/pkg/endpoints/discovery/aggregated"
	cmapiserver "sigs.k8s.io/custom-metrics-apiserver/pkg/apiserver"
)

// liveDiscovery serves aggregated discovery (/apis with
// as=APIGroupDiscoveryList) from the metrics there are now. The library knows
// them for the older /apis/GROUP/VERSION only: its aggregated document is
// empty, and kube-apiserver, which asks for that one first, would show no
// metrics to kubectl.
type liveDiscovery struct {
	aggregated.ResourceManager
	listers map[string]discovery.APIResourceLister // by group
}

func newLiveDiscovery(listers map[string]discovery.APIResourceLister) *liveDiscovery {
	return &liveDiscovery{ResourceManager: aggregated.NewResourceManager("apis"), listers: listers}
}

func (d *liveDiscovery) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	groups, err := d.groups()
	if err != nil {
		// The document served last stays.
		utilruntime.HandleErrorWithContext(r.Context(), err, "make aggregated discovery")
	} else {
		d.SetGroups(groups)
	}
	d.ResourceManager.ServeHTTP(w, r)
}

func (d *liveDiscovery) groups() ([]apidiscoveryv2.APIGroupDiscovery, error) {
	var groups []apidiscoveryv2.APIGroupDiscovery
	for _, name := range slices.Sorted(maps.Keys(d.listers)) {
		group, err := aggregatedGroup(cmapiserver.Scheme, name, d.listers[name].ListAPIResources())
		if err != nil {
			return nil, err
		}
		groups = append(groups, group)
	}
	return groups, nil
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
