package attacks

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/promlet/promlet/bench/controlplane"
)

// Clients without credentials open 320 connections at a time, from 16 addresses, and begin a megabyte of headers on
// each. kube-apiserver's connection goes on being answered, and so is who comes anew.
func TestStrangers(t *testing.T) {
	t.Parallel()
	s := prepareOnControlPlane(t)
	s.start()
	newcomer := s.newClient()
	newcomer.Timeout = tooLate
	newcomer.Transport.(*http.Transport).DisableKeepAlives = true
	newcomer.Transport.(*http.Transport).DialContext = (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 8, 0, 1)}}).DialContext
	for range 4 {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		var running sync.WaitGroup
		for i := range 320 {
			running.Go(func() { s.stranger(ctx, net.IPv4(127, 9, 0, byte(1+i/20))) })
		}
		time.Sleep(time.Second)
		code, body, err := answer(newcomer.Get("https://" + s.api + "/apis/custom.metrics.k8s.io/v1beta2/namespaces/" + shopDepth))
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, code, body)
		running.Wait()
		cancel()
	}
	code, _, err := answer((&http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}).Get("https://" + s.api + "/metrics"))
	require.NoError(t, err)
	require.Equal(t, http.StatusUnauthorized, code, "strangers they were")
	s.end()
}

// stranger sends headers until the connection is closed, or for as long as ctx lasts.
func (s *site) stranger(ctx context.Context, from net.IP) {
	dialer := tls.Dialer{NetDialer: &net.Dialer{LocalAddr: &net.TCPAddr{IP: from}}, Config: &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}}}
	conn, err := dialer.DialContext(ctx, "tcp", s.api)
	if err != nil {
		return
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	header := "X-Long: " + strings.Repeat("a", 4<<10) + "\r\n"
	_, err = conn.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\n"))
	for sent := 0; err == nil && sent < 1<<20-2*len(header); sent += len(header) {
		_, err = conn.Write([]byte(header))
	}
	if err == nil {
		<-ctx.Done()
	}
}

// prepareOnControlPlane is prepare for a promlet that authenticates: its objects are in an API server. The
// addresses of pods there are 10.244.X.Y in place of 127.1.X.Y, and the first one is the proxy to the others.
func prepareOnControlPlane(t *testing.T) *site {
	binary, err := controlplane.Build(t.Context(), controlplane.DefaultVersion, os.Stderr)
	require.NoError(t, err)
	plane, err := controlplane.Start(t.Context(), controlplane.Options{Binary: binary, LogDir: t.TempDir()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, plane.Stop()) })
	cert, err := tls.X509KeyPair(plane.Config().CertData, plane.Config().KeyData)
	require.NoError(t, err)
	kubectl := func(stdin string, args ...string) error {
		cmd := plane.Kubectl(t.Context(), args...)
		cmd.Stdin = strings.NewReader(stdin)
		return run(cmd)
	}
	crds := filepath.Join("..", "..", "deploy", "components", "crds")
	require.NoError(t, kubectl("", "apply", "--server-side", "-f", filepath.Join(crds, "servicemonitors.yaml"), "-f", filepath.Join(crds, "podmonitors.yaml")))
	require.NoError(t, kubectl("", "wait", "--for=condition=Established", "--timeout=1m", "crd/servicemonitors.monitoring.coreos.com"))

	s := newSite(t, cert)
	s.apply = func(_, text string) {
		text = strings.NewReplacer("podIP: 127.1.", "podIP: 10.244.", "addresses: [127.1.", "addresses: [10.244.").Replace(text)
		require.Eventually(t, func() bool { // the namespace's ServiceAccount comes a moment after it
			err = kubectl(text, "apply", "--server-side", "-f", "-")
			return err == nil
		}, patience, 200*time.Millisecond)
		pods := slices.DeleteFunc(strings.Split(text, "---\n"), func(object string) bool { return !strings.Contains(object, "kind: Pod\n") })
		require.NoError(t, kubectl(strings.Join(pods, "---\n"), "apply", "--server-side", "--force-conflicts", "--subresource=status", "-f", "-"))
	}
	s.flags = append(s.flags, "--kubeconfig", plane.Kubeconfig(), "--bind-address", "127.0.0.1", "--scrape-allowed-networks", "127.0.0.0/8")
	s.reader = s.deployShop(func(addresses []string) string { return ", proxyUrl: http://" + addresses[0] })
	return s
}

func run(cmd *exec.Cmd) error {
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}
