package main

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The program answers its own curl, and ends with its context.
func TestRun(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := listener.Addr().String()
	require.NoError(t, listener.Close())
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- run(ctx, address) }()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} //nolint:gosec // curl -k
	defer client.CloseIdleConnections()
	require.Eventually(t, func() bool {
		response, err := client.Get("https://" + address + "/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/pods/worker-1/queue_depth")
		if err != nil {
			return false
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		return err == nil && strings.Contains(string(body), `"value":"7"`)
	}, 20*time.Second, 100*time.Millisecond)
	cancel()
	require.NoError(t, <-done)
}
