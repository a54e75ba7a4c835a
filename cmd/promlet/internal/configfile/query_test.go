package configfile

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestQuery(t *testing.T) {
	parsed := func(text string) *Query {
		file, err := Parse([]byte(text))
		require.NoError(t, err)
		return file.Query
	}
	require.Nil(t, parsed("rules: []"))
	q := parsed(`query: {url: "http://mimir/prometheus", authorization: {credentials_file: token}, http_headers: {X-Scope-OrgID: {values: [tenant]}}}`)
	require.Equal(t, "http://mimir/prometheus", q.URL)
	require.Equal(t, "Bearer token tenant", q.HTTP.Authorization.Type+" "+q.HTTP.Authorization.CredentialsFile+" "+q.HTTP.HTTPHeaders.Headers["X-Scope-OrgID"].Values[0])
	require.True(t, q.HTTP.FollowRedirects, "Prometheus's defaults")

	var none *Query
	require.True(t, none.Same(nil))
	require.False(t, none.Same(q))
	require.False(t, q.Same(nil))
	require.True(t, q.Same(parsed(`query: {url: "http://mimir/prometheus", authorization: {credentials_file: token}, http_headers: {X-Scope-OrgID: {values: [tenant]}}}`)))
	require.False(t, q.Same(parsed(`query: {url: "http://mimir/prometheus"}`)))
}
