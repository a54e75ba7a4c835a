package apiserver

import (
	"fmt"
	"net/http"
	"sync"
	"time"

	apidiscoveryv2 "k8s.io/api/apidiscovery/v2"
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

	mu   sync.Mutex
	made time.Time
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

// refresh brings the document up to date when it is old. The ResourceManager makes it anew
// only where a version's resources have changed.
func (d *liveDiscovery) refresh() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if time.Since(d.made) < documentMaxAge {
		return nil
	}
	d.made = time.Now()
	for group, lister := range d.listers {
		resources, err := endpoints.ConvertGroupVersionIntoToDiscovery(lister.ListAPIResources())
		if err != nil {
			return fmt.Errorf("convert API resources of %s: %w", group, err)
		}
		for _, gv := range cmapiserver.Scheme.PrioritizedVersionsForGroup(group) {
			d.AddGroupVersion(group, apidiscoveryv2.APIVersionDiscovery{
				Version:   gv.Version,
				Resources: resources,
				Freshness: apidiscoveryv2.DiscoveryFreshnessCurrent,
			})
		}
	}
	return nil
}
