package apiserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"

	genericapiserver "k8s.io/apiserver/pkg/server"
)

// Handler is the API for a server of the caller's: it listens nowhere. It authenticates and authorizes callers as
// a Server does. It may be called from any goroutine.
type Handler struct{ server *Server }

var _ http.Handler = (*Handler)(nil)

// NewHandler returns a Handler. The caller must call Run, or Close. Options must not have SecureServing or Cert.
//
// kube-apiserver connects with TLS only, and proves who it is by a certificate: the caller's server needs a
// tls.Config whose ClientAuth is tls.RequestClientCert. Without Authentication and Authorization everyone who can
// connect is answered. The caller's server limits how many connections there are and what they hold.
func NewHandler(opts Options) (*Handler, error) {
	if err := opts.check(); err != nil {
		return nil, fmt.Errorf("new API handler: %w", err)
	}
	if opts.SecureServing != nil || opts.Cert != nil {
		return nil, errors.New("new API handler: SecureServing and Cert are for a Server: make it with New")
	}
	config := newConfig(opts)
	// The library runs what belongs to the API, such as following the cluster's CA, only beside a listener.
	config.SecureServing = &genericapiserver.SecureServingInfo{Listener: &silentListener{closed: make(chan struct{})}}
	config.ExternalAddress = "localhost:443" // which no client of this API reads
	server, err := newServer(config, opts)
	if err != nil {
		return nil, err
	}
	return &Handler{server}, nil
}

// ServeHTTP implements http.Handler. Before Run, /readyz and the other checks of health are not found. After Run,
// requests are answered 503.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.server.generic.Handler.ServeHTTP(w, r)
}

// Run follows the CA of the cluster until ctx is done and ShutdownDelay is over, and waits for the requests under way.
// It closes the Handler. The caller's server goes on listening until Run has returned.
func (h *Handler) Run(ctx context.Context) error { return h.server.Run(ctx) }

// Close is for a Handler that was never run. Close twice is fine.
func (h *Handler) Close() error { return h.server.Close() }

// silentListener is a listener that nobody connects to.
type silentListener struct {
	once   sync.Once
	closed chan struct{}
}

// Accept implements net.Listener.
func (l *silentListener) Accept() (net.Conn, error) {
	<-l.closed
	return nil, net.ErrClosed
}

// Close implements net.Listener.
func (l *silentListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr implements net.Listener.
func (*silentListener) Addr() net.Addr { return nowhere{} }

// nowhere is the address of a silentListener, as the library logs it.
type nowhere struct{}

func (nowhere) Network() string { return "none" }
func (nowhere) String() string  { return "no address of its own" }
