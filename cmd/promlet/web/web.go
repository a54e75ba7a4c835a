// Package web is what promlet shows of itself on its web port: pages for people, each with a JSON twin, its
// own metrics, and the Prometheus HTTP API that it is given. It reads and changes nothing, and lets every caller in:
// it is to listen on loopback.
package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/promlet/promlet/adapter/autoscalers"
	"github.com/promlet/promlet/adapter/demand"
	"github.com/promlet/promlet/adapter/explain"
	"github.com/promlet/promlet/discovery"
	"github.com/promlet/promlet/scrape"
)

const (
	readTimeout     = 10 * time.Second
	writeTimeout    = time.Minute // beside Options.QueryTimeout
	idleTimeout     = 2 * time.Minute
	shutdownTimeout = 5 * time.Second
	maxHeaderBytes  = 64 << 10
	// maxPages is how many pages are made at once: they evaluate on the same engine as
	// what HPAs ask for.
	maxPages = 2
)

// Options are where the pages get what they show. All functions are called anew for each page, at the same time by
// several requests, and must be there, unless said otherwise.
type Options struct {
	// Version is promlet's.
	Version string
	// Ready tells why promlet is not ready, nil when it is.
	Ready func() error
	// Problems tells what stands between people and their metrics, a line each.
	Problems func() []string
	// Autoscalers are those that a filter takes.
	Autoscalers func(ctx context.Context, filter func(namespace, name string) bool) ([]autoscalers.Autoscaler, error)
	Explain     func(context.Context, explain.Question) (*explain.Explanation, error)
	Usage       func(context.Context) (*demand.Demand, error)
	Monitors    func() []discovery.MonitorStatus
	Targets     func() []Target
	// Metrics are all that targets expose.
	Metrics       func() []scrape.Metric
	Configuration func() Configuration
	// API serves the paths under /api/v1/. Nil: there are none. QueryTimeout is how long
	// its answers may take.
	API          http.Handler
	QueryTimeout time.Duration
	// Gatherer has what /metrics shows.
	Gatherer prometheus.Gatherer
	Logger   *slog.Logger
}

// Server serves the web port.
type Server struct {
	opts  Options
	pages []page
	views *views
	turns chan struct{} // to make a page
	now   func() time.Time
}

// New returns a Server. The error is that of a template: of promlet itself.
func New(opts Options) (*Server, error) {
	s := &Server{opts: opts, turns: make(chan struct{}, maxPages), now: time.Now}
	s.pages = []page{
		{path: "/autoscalers", title: "Autoscalers", data: s.autoscalers},
		{path: "/targets", title: "Targets", data: s.targets},
		{path: "/catalog", title: "Metrics", data: s.metrics},
		{path: "/explain", title: "Explain", data: s.explain},
		{path: "/configuration", title: "Configuration", data: s.configuration},
	}
	var err error
	s.views, err = parseViews(s.pages, func() time.Time { return s.now() })
	return s, err
}

// Handler serves the pages.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	for i := range s.pages {
		p := &s.pages[i]
		mux.HandleFunc("GET "+p.path, func(w http.ResponseWriter, r *http.Request) { s.servePage(w, r, p) })
		mux.HandleFunc("GET "+p.path+".json", func(w http.ResponseWriter, r *http.Request) { s.serveTwin(w, r, p) })
	}
	mux.Handle("GET /{$}", http.RedirectHandler(s.pages[0].path, http.StatusFound))
	mux.Handle("GET /assets/", http.FileServerFS(assets))
	// Browsers ask for it beside what is no page, such as the JSON.
	mux.Handle("GET /favicon.ico", http.RedirectHandler("/assets/icon.svg", http.StatusMovedPermanently))
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.opts.Gatherer, promhttp.HandlerOpts{EnableOpenMetrics: true}))
	if s.opts.API != nil {
		mux.Handle("/api/v1/", s.opts.API)
	}
	mux.HandleFunc("GET /-/healthy", func(w http.ResponseWriter, _ *http.Request) { s.write(w, []byte("promlet is healthy.\n")) })
	mux.HandleFunc("GET /-/ready", func(w http.ResponseWriter, _ *http.Request) {
		if err := s.opts.Ready(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		s.write(w, []byte("promlet is ready.\n"))
	})
	return guarded(mux)
}

// guarded keeps what is served from being read by pages of other origins: also by those whose names are made to
// mean this machine.
func guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		if toLoopback(r) && !ownName(r.Host) {
			http.Error(w, fmt.Sprintf("promlet does not answer as %q here: ask for it as localhost or by its IP address", r.Host), http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// toLoopback tells whether a request came to an address of this machine alone, as those through kubectl port-forward
// do.
func toLoopback(r *http.Request) bool {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	return ok && local.IP.IsLoopback()
}

// ownName tells whether a host, with or without its port, is an IP address or localhost.
func ownName(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	return name == "localhost" || net.ParseIP(strings.Trim(name, "[]")) != nil
}

// Run serves on the listener until ctx is done.
func (s *Server) Run(ctx context.Context, listener net.Listener) error {
	server := &http.Server{
		Handler: s.Handler(), ReadTimeout: readTimeout, WriteTimeout: writeTimeout + s.opts.QueryTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
		ErrorLog: slog.NewLogLogger(s.opts.Logger.Handler(), slog.LevelDebug),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve the web port: %w", err)
	case <-ctx.Done():
	}
	shutdown, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	err := server.Shutdown(shutdown)
	if errors.Is(err, context.DeadlineExceeded) {
		s.opts.Logger.Info("answers under way are cut off")
		err = server.Close()
	}
	if serveErr := <-served; !errors.Is(serveErr, http.ErrServerClosed) {
		err = errors.Join(err, serveErr)
	}
	return err
}

func (s *Server) write(w http.ResponseWriter, body []byte) {
	if _, err := w.Write(body); err != nil {
		s.opts.Logger.Debug("answer interrupted", "err", err)
	}
}
