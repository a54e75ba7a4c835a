package servingcert

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	genericapiserver "k8s.io/apiserver/pkg/server"
)

// serve serves with the Keeper's certificate by k8s.io/apiserver's own server,
// and returns the address and what ends it.
func serve(t *testing.T, k *Keeper) (address string, stop func()) {
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	info := &genericapiserver.SecureServingInfo{Listener: listener, Cert: k}
	end := make(chan struct{})
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "answer") })
	stopped, _, err := info.Serve(handler, time.Second, end)
	require.NoError(t, err)
	return listener.Addr().String(), func() {
		close(end)
		<-stopped
	}
}

// slowBundle tells the caBundle as an API server knows it that learns of every
// change half a second late.
type slowBundle struct {
	c *cluster

	mtx     sync.Mutex
	bundles [][]byte
	since   []time.Time
}

// look notes the caBundle as it is now.
func (s *slowBundle) look() {
	bundle := s.c.caBundle(custom)
	s.mtx.Lock()
	defer s.mtx.Unlock()
	if n := len(s.bundles); n == 0 || string(s.bundles[n-1]) != string(bundle) {
		s.bundles = append(s.bundles, bundle)
		s.since = append(s.since, time.Now())
	}
}

func (s *slowBundle) get() []byte {
	s.mtx.Lock()
	defer s.mtx.Unlock()
	known := s.bundles[0]
	for i, since := range s.since {
		if time.Since(since) > 500*time.Millisecond {
			known = s.bundles[i]
		}
	}
	return known
}

// caller is a client that, as kube-apiserver does, makes a transport of its own
// for each caBundle and verifies by it alone.
type caller struct {
	address   string
	bundle    func() []byte
	keepAlive bool

	mtx    sync.Mutex
	made   int
	failed []error
	leaves map[string]bool // serial numbers seen
}

func (c *caller) run(ctx context.Context) {
	var transport *http.Transport
	var current []byte
	for ctx.Err() == nil {
		if bundle := c.bundle(); transport == nil || string(bundle) != string(current) {
			if transport != nil {
				transport.CloseIdleConnections()
			}
			roots := x509.NewCertPool()
			roots.AppendCertsFromPEM(bundle)
			transport = &http.Transport{
				TLSClientConfig:   &tls.Config{RootCAs: roots, ServerName: testHost},
				DisableKeepAlives: !c.keepAlive,
				ForceAttemptHTTP2: c.keepAlive,
			}
			current = bundle
		}
		c.note(c.call(transport))
		time.Sleep(2 * time.Millisecond)
	}
	transport.CloseIdleConnections()
}

func (c *caller) call(transport *http.Transport) (*x509.Certificate, error) {
	response, err := (&http.Client{Transport: transport}).Get("https://" + c.address)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err == nil && string(text) != "answer" {
		err = fmt.Errorf("answer %q", text)
	}
	return response.TLS.PeerCertificates[0], err
}

func (c *caller) note(leaf *x509.Certificate, err error) {
	c.mtx.Lock()
	defer c.mtx.Unlock()
	c.made++
	if err != nil {
		c.failed = append(c.failed, err)
		return
	}
	c.leaves[leaf.SerialNumber.String()] = true
}

// Requests go on over new and kept connections to two replicas while the serving
// certificate and then the CA are replaced; not one fails, and the replicas do
// serve what is new.
func TestReplacedUnderLoad(t *testing.T) {
	c := newCluster(t, custom)
	keepers := []*Keeper{c.keeper(nil), c.keeper(nil)}
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	defer group.Wait()
	defer cancel()

	bundle := &slowBundle{c: c}
	var callers []*caller
	for _, k := range keepers {
		k.poll, k.overlap = 200*time.Millisecond, 2*time.Second
		require.NoError(t, k.Ensure(ctx))
		bundle.look()
		address, stop := serve(t, k)
		defer stop()
		group.Go(func() { _ = k.Run(ctx) })
		for _, keepAlive := range []bool{false, true} {
			callers = append(callers, &caller{address: address, bundle: bundle.get, keepAlive: keepAlive, leaves: map[string]bool{}})
		}
	}
	for _, one := range callers {
		group.Go(func() { one.run(ctx) })
	}
	until := func(what string, done func() bool) {
		require.Eventually(t, func() bool {
			bundle.look()
			return done()
		}, 30*time.Second, 5*time.Millisecond, what)
	}
	// Seen on new connections; a kept one stays with what it began with.
	seen := func(leaf *x509.Certificate) func() bool {
		return func() bool {
			all := true
			for _, one := range callers {
				one.mtx.Lock()
				all = all && (one.keepAlive || one.leaves[leaf.SerialNumber.String()])
				one.mtx.Unlock()
			}
			return all
		}
	}
	replaced := func(old *x509.Certificate) func() bool {
		return func() bool {
			return !served(t, keepers[0]).Equal(old) && served(t, keepers[0]).Equal(served(t, keepers[1]))
		}
	}

	first := served(t, keepers[0])
	until("the first certificate", seen(first))

	c.editSecret(func(data map[string][]byte) { data["tls.crt"] = nil })
	until("a second certificate", replaced(first))
	second := served(t, keepers[0])
	until("the second certificate served", seen(second))
	require.Equal(t, first.Issuer, second.Issuer)

	c.editSecret(func(data map[string][]byte) { data["ca.key"] = nil })
	until("two CAs", func() bool { return len(certificates(t, c.caBundle(custom))) == 2 })
	require.Equal(t, second, served(t, keepers[0]))
	until("a third certificate", replaced(second))
	third := served(t, keepers[0])
	until("the third certificate served", seen(third))
	require.NotEqual(t, second.Issuer, third.Issuer)

	cancel()
	group.Wait()
	for _, one := range callers {
		require.Empty(t, one.failed)
		require.Greater(t, one.made, 20)
	}
}
