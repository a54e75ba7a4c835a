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

// Handler is the API for an HTTP server of the caller. It does not listen itself. It authenticates and authorizes requests
// as a Server does. It may be called from any goroutine.
type Handler struct{ server *Server }

var _ http.Handler = (*Handler)(nil)

// NewHandler returns a Handler. The caller must call Run, or Close. Options must not have SecureServing or Cert.
//
// kube-apiserver connects only with TLS, and identifies itself by a certificate. So the caller's server needs a
// tls.Config whose ClientAuth is tls.RequestClientCert. Without Authentication and Authorization the Handler answers
// everyone who can connect. The caller's server must limit the number of connections and the memory they hold.
func NewHandler(opts Options) (*Handler, error) {
	if err := opts.check(); err != nil {
		return nil, fmt.Errorf("new API handler: %w", err)
	}
	if opts.SecureServing != nil || opts.Cert != nil {
		return nil, errors.New("new API handler: SecureServing and Cert are for a Server: make it with New")
	}
	config := newConfig(opts)
	// The library follows the cluster's CA, and runs other parts of the API, only if it has a listener.
	config.SecureServing = &genericapiserver.SecureServingInfo{Listener: &silentListener{closed: make(chan struct{})}}
	config.ExternalAddress = "localhost:443" // required, but no client of this API reads it
	server, err := newServer(config, opts)
	if err != nil {
		return nil, err
	}
	return &Handler{server}, nil
}

// ServeHTTP implements http.Handler. Before Run, it answers 404 for /readyz and the other health checks. After Run, it
// answers 503 for everything.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.server.generic.Handler.ServeHTTP(w, r)
}

// Run follows the CA of the cluster until ctx is done and ShutdownDelay is over. Then it waits for the requests under way
// and closes the Handler. It can be called once, and not after Close. The caller's server must listen until Run has returned.
func (h *Handler) Run(ctx context.Context) error { return h.server.Run(ctx) }

// Close releases a Handler that was never run; otherwise it does nothing. Close twice is fine.
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
