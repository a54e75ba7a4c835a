package connection

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	"github.com/promlet/promlet/adapter/engine"
	"github.com/promlet/promlet/cmd/promlet/configfile"
	"github.com/promlet/promlet/tsdb"
)

func parsed(t *testing.T, args ...string) *Flags {
	t.Helper()
	f, set := &Flags{}, pflag.NewFlagSet("", pflag.ContinueOnError)
	f.AddTo(set)
	require.NoError(t, set.Parse(args))
	return f
}

func TestValidate(t *testing.T) {
	f := func(want string, args ...string) {
		t.Helper()
		err := errors.Join(parsed(t, args...).Validate()...)
		if want == "" {
			require.NoError(t, err)
			return
		}
		require.EqualError(t, err, want)
	}
	f("")
	f("", "--prometheus-url=http://a", "--metrics-relist-interval=1m", "--metrics-max-age=5m", "--prometheus-verb=POST", "--prometheus-header=a=b=c")
	f("--prometheus-verb=PUT: choose GET or POST", "--prometheus-verb=PUT")
	f("--metrics-relist-interval=1ms: give 1s or more", "--metrics-relist-interval=1ms")
	f("--metrics-max-age=1m0s: give at least --metrics-relist-interval", "--metrics-max-age=1m")
	f("--prometheus-auth-config=x: leave it out, or --prometheus-auth-incluster", "--prometheus-auth-config=x", "--prometheus-auth-incluster")
	f("--prometheus-client-tls-cert-file=x: give it together with --prometheus-client-tls-key-file", "--prometheus-client-tls-cert-file=x")
	f("--prometheus-header=secret: give NAME=VALUE", "--prometheus-header=secret")
	f("--prometheus-header=Authorization: give NAME=VALUE", "--prometheus-header=Authorization: Basic czNjcjN0Og==")
}

func TestConnection(t *testing.T) {
	var got *http.Request
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Clone(r.Context())
		w.WriteHeader(http.StatusInternalServerError)
	}))
	defer server.Close()
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	token := write("token", "from-file")
	kubeconfig := write("kubeconfig", "clusters: [{name: a, cluster: {server: 'https://a'}}]\nusers: [{name: a, user: {token: from-kubeconfig}}]\n"+
		"contexts: [{name: a, context: {cluster: a, user: a}}]\ncurrent-context: a\n")
	asked := func(file *configfile.Query, args ...string) http.Header {
		t.Helper()
		c, ok, err := parsed(t, args...).Connection(file, filepath.Join(dir, "promlet.yaml"), "promlet/x")
		require.NoError(t, err)
		require.True(t, ok)
		e, err := engine.New(engine.Options{Connection: c})
		require.NoError(t, err)
		defer func() { require.NoError(t, e.Close()) }()
		_, err = e.Instant(t.Context(), tsdb.Query{Expr: "x"})
		require.Error(t, err)
		require.Equal(t, "promlet/x", got.UserAgent())
		return got.Header
	}
	url := "--prometheus-url=" + server.URL
	require.Empty(t, asked(nil, url).Get("Authorization"))
	require.Equal(t, "Bearer from-file", asked(nil, url, "--prometheus-token-file="+token).Get("Authorization"))
	require.Equal(t, "Bearer from-kubeconfig", asked(nil, url, "--prometheus-auth-config="+kubeconfig).Get("Authorization"))
	require.Equal(t, "Bearer from-file", asked(nil, url, "--prometheus-auth-config="+kubeconfig, "--prometheus-token-file="+token).Get("Authorization"))
	headers := asked(nil, url, "--prometheus-header=X-Scope-OrgID=a", "--prometheus-header=X-Scope-OrgID=b", "--prometheus-header=Authorization=Basic YTpi")
	require.Equal(t, []string{"a", "b"}, headers.Values("X-Scope-OrgID"))
	require.Equal(t, "Basic YTpi", headers.Get("Authorization"))

	file, err := configfile.Parse([]byte("query: {url: '" + server.URL + "', authorization: {credentials_file: token}}"))
	require.NoError(t, err)
	require.Equal(t, "Bearer from-file", asked(file.Query).Get("Authorization"), "files are beside the configuration")

	_, ok, err := parsed(t).Connection(nil, "", "")
	require.NoError(t, err)
	require.False(t, ok)
	_, _, err = parsed(t, url).Connection(file.Query, "", "")
	require.ErrorIs(t, err, ErrTwice)
	_, _, err = parsed(t, url, "--prometheus-auth-incluster").Connection(nil, "", "")
	require.ErrorContains(t, err, "--prometheus-auth-incluster: unable to load in-cluster configuration")
}
