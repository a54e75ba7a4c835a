package apiserver

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apilabels "k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/endpoints/handlers/responsewriters"
	apirequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/metrics/pkg/apis/custom_metrics"
	"k8s.io/metrics/pkg/apis/external_metrics"
	cmapiserver "sigs.k8s.io/custom-metrics-apiserver/pkg/apiserver"

	"github.com/promlet/promlet/adapter/explain"
)

// explainMetrics answers requests for explanations. Authorization comes before it.
func explainMetrics(answer func(context.Context, explain.Question) (*explain.Explanation, error), next http.Handler) http.Handler {
	if answer == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q, ok, err := question(r)
		if !ok {
			next.ServeHTTP(w, r)
			return
		}
		var explanation *explain.Explanation
		if err == nil {
			explanation, err = answer(r.Context(), q)
		}
		if err != nil {
			responsewriters.ErrorNegotiated(apierrors.NewBadRequest(err.Error()), cmapiserver.Codecs, schema.GroupVersion{}, w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(explanation) // the client has gone
	})
}

// question reads the question from a request for a metric; ok is false where it is no such
// request, or has no parameter explain.
func question(r *http.Request) (q explain.Question, ok bool, err error) {
	info, ok := apirequest.RequestInfoFrom(r.Context())
	parameters := r.URL.Query()
	if !ok || !info.IsResourceRequest || r.Method != http.MethodGet || !parameters.Has(explain.Parameter) {
		return q, false, nil
	}
	q.Namespace, q.Usage = info.Namespace, parameters.Get(explain.Parameter) == explain.UsageParameter
	switch {
	case info.APIGroup == external_metrics.GroupName:
		q.External, q.Metric = true, info.Resource
	case info.APIGroup != custom_metrics.GroupName:
		return q, false, nil
	case info.Resource == "metrics":
		q.Object, q.Name, q.Metric = corev1.Resource("namespaces"), info.Namespace, info.Name
	default:
		q.Object, q.Name, q.Metric = schema.ParseGroupResource(info.Resource), info.Name, info.Subresource
	}
	if q.Name == "*" {
		q.Name = ""
	}
	if q.Selector, err = apilabels.Parse(parameters.Get("labelSelector")); err != nil {
		return q, true, fmt.Errorf("labelSelector: %w", err)
	}
	q.MetricSelector, err = apilabels.Parse(parameters.Get("metricLabelSelector"))
	return q, q.Metric != "", err
}
