package apiserver

import (
	"fmt"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apilabels "k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/endpoints/handlers/responsewriters"
	cmapiserver "sigs.k8s.io/custom-metrics-apiserver/pkg/apiserver"
)

// The bounds of one label selector. Those of Deployments and HPAs have a handful of
// requirements, of some 50 bytes each. A rule writes those on series into its query, where
// the parser takes 100 matchers in all.
const (
	maxSelectorBytes        = 16 << 10
	maxSelectorRequirements = 50
)

// refuseBadSelectors answers 400 for a label selector that does not parse or is too large.
// Of a metricLabelSelector that does not parse the library would make an internal error.
func refuseBadSelectors(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		parameters := r.URL.Query()
		for _, name := range []string{"labelSelector", "metricLabelSelector"} {
			for _, selector := range parameters[name] {
				if err := checkSelector(selector); err != nil {
					err = apierrors.NewBadRequest(name + err.Error())
					responsewriters.ErrorNegotiated(err, cmapiserver.Codecs, schema.GroupVersion{}, w, r)
					return
				}
			}
		}
		next.ServeHTTP(w, r)
	})
}

// checkSelector returns what is wrong with a label selector, to be read after the name of
// its parameter.
func checkSelector(selector string) error {
	if len(selector) > maxSelectorBytes {
		return fmt.Errorf(" has %d bytes, more than %d: select by fewer labels or values", len(selector), maxSelectorBytes)
	}
	parsed, err := apilabels.Parse(selector)
	if err != nil {
		return fmt.Errorf(" %q: %w", selector, err)
	}
	if requirements, _ := parsed.Requirements(); len(requirements) > maxSelectorRequirements {
		return fmt.Errorf(" has %d requirements, more than %d: select by fewer labels", len(requirements), maxSelectorRequirements)
	}
	return nil
}
