package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// demonstrate runs the driver with stand-ins for promlet and the applications, and returns what it showed. Whatever
// happens, nothing may be left running or on the disk.
func demonstrate(ctx context.Context, t *testing.T, behaviour string, change ...func(*options)) (string, error) {
	t.Helper()
	t.Setenv(childEnv, behaviour)
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	free, err := freeAddresses(t.Context(), 2)
	require.NoError(t, err)
	opts := options{
		promlet: os.Args[0], app: os.Args[0], manifests: shippedDir, rate: 60, seconds: 4, securePort: portOf(t, free[0]), web: free[1],
		interval: time.Second, window: 4 * time.Second,
	}
	for _, c := range change {
		c(&opts)
	}
	var out bytes.Buffer
	err = run(ctx, opts, &screen{out: &out})
	left, readErr := os.ReadDir(temporary)
	require.NoError(t, readErr)
	require.Empty(t, left)
	if len(change) == 0 {
		require.NoError(t, checkFree(t.Context(), opts.apiAddress(), ""), "promlet is still there")
	}
	return out.String(), err
}

func portOf(t *testing.T, address string) int {
	t.Helper()
	_, p, err := net.SplitHostPort(address)
	require.NoError(t, err)
	port, err := strconv.Atoi(p)
	require.NoError(t, err)
	return port
}

func TestDemo(t *testing.T) {
	out, err := demonstrate(t.Context(), t, "serves")
	require.NoError(t, err)
	require.Regexp(t, `curl -sk 'https://127.0.0.1:\d+/apis/custom.metrics.k8s.io/v1beta1/namespaces/default/services/sample-metrics-app/http_requests'`, out)
	require.Contains(t, out, `/namespaces/default/pods/*/http_requests'`)
	require.Regexp(t, `look at http://127.0.0.1:\d+/`, out)
	require.Contains(t, out, "It ends after 4 seconds.")
	tables := regexp.MustCompile(`services/sample-metrics-app +http_requests +149\.60 +([0-9.]+)`).FindAllStringSubmatch(out, -1)
	require.GreaterOrEqual(t, len(tables), 2, out)
	load, err := strconv.ParseFloat(tables[len(tables)-1][1], 64)
	require.NoError(t, err)
	require.Greater(t, load, 1.0) // the fake answers with a window of one second
	require.Less(t, load, 90.0)
	require.Contains(t, out, "3 replicas (has 2, may 2-10)")
	require.Contains(t, out, "pods/sample-metrics-app-2")
}

func TestDemoEndsWhenInterrupted(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	out, err := demonstrate(ctx, t, "serves", func(o *options) { o.seconds = 0 })
	require.NoError(t, err)
	require.Contains(t, out, "Ctrl-C ends it.")
	require.Contains(t, out, "149.60")
}

func TestDemoFails(t *testing.T) {
	f := func(behaviour, message string, change ...func(*options)) string {
		t.Helper()
		out, err := demonstrate(t.Context(), t, behaviour, change...)
		require.ErrorContains(t, err, message)
		return out
	}
	out := f("serves nothing", "services/sample-metrics-app http_requests was not served: 404: no monitor selects it")
	require.Contains(t, out, "waiting for services/sample-metrics-app, pods/sample-metrics-app-1, pods/sample-metrics-app-2 http_requests: 404: no monitor selects it")
	f("promlet exits", "promlet ended early (exit status 3); its last lines:\n  it is too early")
	f("app exits", "sample application 1 ended early (exit status 3)")
	f("promlet exits late", "promlet ended early (exit status 4); its last lines:\n")
	f("app exits late", "ended early (exit status 4)")
	f("serves", "start promlet: ", func(o *options) { o.promlet = "/no/such/file" })
	f("serves", "start sample application 1: ", func(o *options) { o.app = "/no/such/file" })
	f("serves", "read the example", func(o *options) { o.manifests = t.TempDir() })
}

func TestDemoNamesTakenPorts(t *testing.T) {
	api, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	web, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, errors.Join(api.Close(), web.Close())) }()
	port := portOf(t, api.Addr().String())
	_, err = demonstrate(t.Context(), t, "serves", func(o *options) { o.securePort, o.web = port, web.Addr().String() })
	require.ErrorContains(t, err, fmt.Sprintf("127.0.0.1:%d: bind: address already in use: choose another port, such as `make run SECURE_PORT=", port))
	require.ErrorContains(t, err, web.Addr().String()+": bind: address already in use: choose another port, such as `make run WEB_PORT=")
}
