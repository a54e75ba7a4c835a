package adapter

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apilabels "k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/endpoints/handlers/responsewriters"
	apirequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/metrics/pkg/apis/custom_metrics"
	"k8s.io/metrics/pkg/apis/external_metrics"
	cmapiserver "sigs.k8s.io/custom-metrics-apiserver/pkg/apiserver"
)

// ExplainParameter asks, with any value, for an Explanation in the place of a metric:
// by whoever may read the metric.
const ExplainParameter = "explain"

// explainMetrics answers requests for explanations. It comes after authorization.
func explainMetrics(explain func(context.Context, Question) (*Explanation, error), next http.Handler) http.Handler {
	if explain == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !r.URL.Query().Has(ExplainParameter) {
			next.ServeHTTP(w, r)
			return
		}
		q, ok, err := question(r)
		if !ok {
			next.ServeHTTP(w, r)
			return
		}
		var explanation *Explanation
		if err == nil {
			explanation, err = explain(r.Context(), q)
		}
		if err != nil {
			responsewriters.ErrorNegotiated(apierrors.NewBadRequest(err.Error()), cmapiserver.Codecs, schema.GroupVersion{}, w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(explanation) // the client has gone
	})
}

// question reads the path of a request, which is that of the metric; ok is false where
// it is not one of a metric.
func question(r *http.Request) (q Question, ok bool, err error) {
	info, ok := apirequest.RequestInfoFrom(r.Context())
	if !ok || !info.IsResourceRequest || r.Method != http.MethodGet {
		return q, false, nil
	}
	q.Namespace = info.Namespace
	switch {
	case info.APIGroup == external_metrics.GroupName:
		q.External, q.Metric = true, info.Resource
	case info.APIGroup != custom_metrics.GroupName:
		return q, false, nil
	case info.Resource == "metrics":
		q.Object, q.Name, q.Metric = namespaceResource, info.Namespace, info.Name
	default:
		q.Object, q.Name, q.Metric = schema.ParseGroupResource(info.Resource), info.Name, info.Subresource
	}
	if q.Name == "*" {
		q.Name = ""
	}
	parameters := r.URL.Query()
	if q.Selector, err = apilabels.Parse(parameters.Get("labelSelector")); err != nil {
		return q, true, fmt.Errorf("labelSelector: %w", err)
	}
	q.MetricSelector, err = apilabels.Parse(parameters.Get("metricLabelSelector"))
	return q, q.Metric != "", err
}
