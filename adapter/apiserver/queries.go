package apiserver

import (
	"net/http"

	apirequest "k8s.io/apiserver/pkg/endpoints/request"
)

// QueryPrefix is the path below which Options.Queries is served. It is not /api/v1 itself: the library takes what is
// below /api for resources of Kubernetes, and the ClusterRole system:discovery lets every ServiceAccount get /api/*.
const QueryPrefix = "/prometheus"

// Caller returns the name of the user who sent a request that the Server passes on.
func Caller(r *http.Request) string {
	if user, ok := apirequest.UserFrom(r.Context()); ok {
		return user.GetName()
	}
	return ""
}
