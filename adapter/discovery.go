package adapter

import (
	"fmt"
	"net/http"

	apidiscoveryv2 "k8s.io/api/apidiscovery/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/apiserver/pkg/endpoints"
	"k8s.io/apiserver/pkg/endpoints/discovery"
	"k8s.io/apiserver/pkg/endpoints/discovery/aggregated"
	"k8s.io/metrics/pkg/apis/custom_metrics"
	cmapiserver "sigs.k8s.io/custom-metrics-apiserver/pkg/apiserver"
)

// liveDiscovery serves aggregated discovery (/apis with
// as=APIGroupDiscoveryList) from the metrics there are now. The library knows
// them for the older /apis/GROUP/VERSION only: its aggregated document is
// empty, and kube-apiserver, which asks for that one first, would show no
// metrics to kubectl.
type liveDiscovery struct {
	aggregated.ResourceManager
	lister discovery.APIResourceLister
}

func newLiveDiscovery(lister discovery.APIResourceLister) *liveDiscovery {
	return &liveDiscovery{ResourceManager: aggregated.NewResourceManager("apis"), lister: lister}
}

func (d *liveDiscovery) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	groups, err := aggregatedGroups(cmapiserver.Scheme, d.lister.ListAPIResources())
	if err != nil {
		// The document served last stays.
		utilruntime.HandleErrorWithContext(r.Context(), err, "make aggregated discovery")
	} else {
		d.SetGroups(groups)
	}
	d.ResourceManager.ServeHTTP(w, r)
}

func aggregatedGroups(scheme *runtime.Scheme, resources []metav1.APIResource) ([]apidiscoveryv2.APIGroupDiscovery, error) {
	converted, err := endpoints.ConvertGroupVersionIntoToDiscovery(resources)
	if err != nil {
		return nil, fmt.Errorf("convert API resources: %w", err)
	}
	group := apidiscoveryv2.APIGroupDiscovery{ObjectMeta: metav1.ObjectMeta{Name: custom_metrics.GroupName}}
	for _, gv := range scheme.PrioritizedVersionsForGroup(custom_metrics.GroupName) {
		group.Versions = append(group.Versions, apidiscoveryv2.APIVersionDiscovery{
			Version:   gv.Version,
			Resources: converted,
			Freshness: apidiscoveryv2.DiscoveryFreshnessCurrent,
		})
	}
	return []apidiscoveryv2.APIGroupDiscovery{group}, nil
}
