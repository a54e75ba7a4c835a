package engines

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"time"
)

// service stands for the Kubernetes Service of the receivers: it forwards requests to its endpoints in turn.
type service struct {
	url       string
	http      *http.Server
	served    chan error
	endpoints atomic.Pointer[[]string] // host:port
	requests  atomic.Uint64
}

func startService(ctx context.Context) (*service, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &service{url: "http://" + listener.Addr().String(), served: make(chan error, 1)}
	s.set()
	s.http = &http.Server{ReadHeaderTimeout: time.Minute, Handler: &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			endpoints := *s.endpoints.Load()
			target := url.URL{Scheme: "http"} // without an endpoint there is no host: the request fails
			if n := uint64(len(endpoints)); n > 0 {
				target.Host = endpoints[s.requests.Add(1)%n]
			}
			r.SetURL(&target)
		},
		// Broken connections are not logged here, because the shards log them.
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			http.Error(w, err.Error(), http.StatusBadGateway)
		},
	}}
	go func() { s.served <- s.http.Serve(listener) }()
	return s, nil
}

// set replaces the endpoints.
func (s *service) set(endpoints ...string) { s.endpoints.Store(&endpoints) }

func (s *service) stop() error {
	err := s.http.Close()
	if served := <-s.served; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}
