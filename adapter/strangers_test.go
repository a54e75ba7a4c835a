package adapter

import (
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	genericoptions "k8s.io/apiserver/pkg/server/options"

	"github.com/promlet/promlet/adapter/apiserver"
)

// reviewer starts a kube-apiserver that accepts one token. allowed decides what the token's user may do. reviewer returns
// the options of a server that uses this kube-apiserver.
func reviewer(t *testing.T, allowed func(authorizationv1.SubjectAccessReviewSpec) bool) (*genericoptions.DelegatingAuthenticationOptions, *genericoptions.DelegatingAuthorizationOptions) {
	answer := func(w http.ResponseWriter, r *http.Request, review any, decide func()) {
		if err := json.NewDecoder(r.Body).Decode(review); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		decide()
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(review)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /apis/authentication.k8s.io/v1/tokenreviews", func(w http.ResponseWriter, r *http.Request) {
		var review authenticationv1.TokenReview
		answer(w, r, &review, func() {
			review.Status.Authenticated = review.Spec.Token == "good"
			review.Status.User.Username = "hpa"
		})
	})
	mux.HandleFunc("POST /apis/authorization.k8s.io/v1/subjectaccessreviews", func(w http.ResponseWriter, r *http.Request) {
		var review authorizationv1.SubjectAccessReview
		answer(w, r, &review, func() { review.Status.Allowed = review.Spec.User == "hpa" && allowed(review.Spec) })
	})
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	file := filepath.Join(t.TempDir(), "kubeconfig")
	require.NoError(t, os.WriteFile(file, []byte(`{apiVersion: v1, kind: Config, current-context: x, clusters: [{name: x, cluster: {server: "`+srv.URL+`"}}],
contexts: [{name: x, context: {cluster: x, user: x}}], users: [{name: x, user: {token: x}}]}`), 0o600))
	authentication, authorization := genericoptions.NewDelegatingAuthenticationOptions(), genericoptions.NewDelegatingAuthorizationOptions()
	authentication.RemoteKubeConfigFile, authorization.RemoteKubeConfigFile = file, file
	authentication.SkipInClusterLookup = true
	authorization.AllowCacheTTL = time.Minute
	return authentication, authorization
}

// Connections of clients that have not authenticated, each in the middle of a megabyte of headers, take little memory and
// keep nobody out.
func TestStrangersOfTheAPI(t *testing.T) {
	f := scenario(t)
	authentication, authorization := reviewer(t, func(authorizationv1.SubjectAccessReviewSpec) bool { return true })
	api := serve(t, apiserver.Options{Provider: f.Provider, Authentication: authentication, Authorization: authorization})
	hpa := client(t)
	ask := func() {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, api+"/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/services/sample/http_requests", http.NoBody)
		require.NoError(t, err)
		request.Header.Set("Authorization", "Bearer good")
		response, err := hpa.Do(request)
		require.NoError(t, err)
		_, err = io.Copy(io.Discard, response.Body)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.Equal(t, http.StatusOK, response.StatusCode)
	}
	ask()
	code, _ := get(t, client(t), api+"/apis/custom.metrics.k8s.io/v1beta2")
	require.Equal(t, http.StatusUnauthorized, code)
	before := heap()
	const strangers, headers = 320, 1 << 20
	var running sync.WaitGroup
	conns := make(chan net.Conn, strangers)
	for range strangers {
		running.Go(func() {
			conn, err := tls.Dial("tcp", strings.TrimPrefix(api, "https://"), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
			if err != nil {
				return // cut off
			}
			conns <- conn
			_, err = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\nX-Long: ")
			for sent := 0; err == nil && sent < headers-1024; sent += 4096 {
				_, err = conn.Write(make([]byte, 4096))
			}
		})
	}
	for range 20 {
		ask()
	}
	running.Wait()
	require.Less(t, heap()-before, int64(64<<20), "of the %d MiB that were sent", strangers*headers>>20)
	hpa.CloseIdleConnections()
	ask() // also on a new connection
	close(conns)
	for conn := range conns {
		_ = conn.Close() // Most are cut off already.
	}
}

// heap is how many bytes are in use.
func heap() int64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc) //nolint:gosec // Far below 2^63.
}
