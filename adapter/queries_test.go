package adapter

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	authorizationv1 "k8s.io/api/authorization/v1"

	"github.com/promlet/promlet/adapter/apiserver"
)

// Queries are authorised by their path and method, with the caller's name. The ClusterRole
// system:discovery, which every ServiceAccount has, does not allow them.
func TestQueriesAreAuthorised(t *testing.T) {
	authentication, authorization := reviewer(t, func(asked authorizationv1.SubjectAccessReviewSpec) bool {
		path := asked.NonResourceAttributes
		return path != nil && (strings.HasPrefix(path.Path, "/prometheus/api/v1/") && (path.Verb == "get" || path.Verb == "post") ||
			strings.HasPrefix(path.Path, "/api/") && path.Verb == "get")
	})
	queries := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprint(w, apiserver.Caller(r), " ", r.Method, " ", r.URL, " ", string(body))
	})
	api := serve(t, apiserver.Options{Provider: scenario(t).Provider, Queries: queries, Authentication: authentication, Authorization: authorization})
	c := client(t)
	ask := func(method, path, token string) (int, string) {
		request, err := http.NewRequestWithContext(t.Context(), method, api+path, strings.NewReader("query=up"))
		require.NoError(t, err)
		if token != "" {
			request.Header.Set("Authorization", "Bearer "+token)
		}
		response, err := c.Do(request)
		require.NoError(t, err)
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		return response.StatusCode, string(body)
	}
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		code, body := ask(method, "/prometheus/api/v1/query?time=1", "good")
		require.Equal(t, http.StatusOK, code, body)
		require.Equal(t, "hpa "+method+" /api/v1/query?time=1 query=up", body)
		for _, token := range []string{"", "another"} {
			code, body = ask(method, "/prometheus/api/v1/query", token)
			require.Equal(t, http.StatusUnauthorized, code, body)
		}
		code, body = ask(method, "/api/v1/query", "good")
		require.Equal(t, http.StatusForbidden, code, body)
	}
	code, body := ask(http.MethodDelete, "/prometheus/api/v1/query", "good")
	require.Equal(t, http.StatusForbidden, code, body)
}
