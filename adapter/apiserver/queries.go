package apiserver

import (
	"net/http"

	apirequest "k8s.io/apiserver/pkg/endpoints/request"
)

// QueryPrefix is the path below which Options.Queries is served. It is not /api/v1 itself: the library treats paths
// below /api as resources of Kubernetes, and the ClusterRole system:discovery lets every ServiceAccount get /api/*.
const QueryPrefix = "/prometheus"

// Caller returns the name of the authenticated user of a request to Options.Queries, "" without one.
func Caller(r *http.Request) string {
	if user, ok := apirequest.UserFrom(r.Context()); ok {
		return user.GetName()
	}
	return ""
}
