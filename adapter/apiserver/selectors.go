package apiserver

import (
	"fmt"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apilabels "k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/endpoints/handlers/responsewriters"
	apirequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/metrics/pkg/apis/external_metrics"
	cmapiserver "sigs.k8s.io/custom-metrics-apiserver/pkg/apiserver"

	"github.com/promlet/promlet/adapter/rules"
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
				if err := checkSelector(selector, selectsSeries(r, name)); err != nil {
					err = apierrors.NewBadRequest(name + err.Error())
					responsewriters.ErrorNegotiated(err, cmapiserver.Codecs, schema.GroupVersion{}, w, r)
					return
				}
			}
		}
		next.ServeHTTP(w, r)
	})
}

// selectsSeries reports whether a parameter selects series rather than objects.
func selectsSeries(r *http.Request, parameter string) bool {
	info, ok := apirequest.RequestInfoFrom(r.Context())
	return parameter == "metricLabelSelector" || ok && info.APIGroup == external_metrics.GroupName
}

// checkSelector returns an error for an invalid label selector. The text of the error follows
// the name of the parameter. ofSeries is the result of selectsSeries.
func checkSelector(selector string, ofSeries bool) error {
	if len(selector) > maxSelectorBytes {
		return fmt.Errorf(" has %d bytes, more than %d: select by fewer labels or values", len(selector), maxSelectorBytes)
	}
	parsed, err := apilabels.Parse(selector)
	if err != nil {
		if ofSeries {
			err = rules.BadSelector(err)
		}
		return fmt.Errorf(" %q: %w", selector, err)
	}
	if requirements, _ := parsed.Requirements(); len(requirements) > maxSelectorRequirements {
		return fmt.Errorf(" has %d requirements, more than %d: select by fewer labels", len(requirements), maxSelectorRequirements)
	}
	return nil
}
