// Package web serves promlet's web port: status pages, each with a JSON twin, promlet's own metrics, profiles, and the
// Prometheus HTTP API that it is given. It changes nothing and does not authenticate: listen on loopback.
package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/promlet/promlet/adapter/autoscalers"
	"github.com/promlet/promlet/adapter/demand"
	"github.com/promlet/promlet/adapter/explain"
	"github.com/promlet/promlet/discovery/monitors"
	"github.com/promlet/promlet/scrape"
)

const (
	readTimeout     = 10 * time.Second
	writeTimeout    = time.Minute // plus Options.QueryTimeout
	idleTimeout     = 2 * time.Minute
	shutdownTimeout = 5 * time.Second
	maxHeaderBytes  = 64 << 10
	// maxPages is how many pages are rendered at the same time: their queries compete with
	// those of HPAs.
	maxPages = 2
)

// Options have the sources of the pages. Each page calls its functions anew, several at the same time. They must not be
// nil unless their comment allows it.
type Options struct {
	// Version is promlet's.
	Version string
	// Ready returns why promlet is not ready, nil when it is.
	Ready func() error
	// Problems returns the reasons why metrics are not served.
	Problems func() []Problem
	// Autoscalers returns the HPAs that a filter accepts, with their current values.
	Autoscalers func(ctx context.Context, filter func(namespace, name string) bool) ([]autoscalers.Autoscaler, error)
	// LastAutoscalers returns all HPAs as they were at most half a minute ago. It evaluates nothing.
	LastAutoscalers func() []autoscalers.Autoscaler
	Explain         func(context.Context, explain.Question) (*explain.Explanation, error)
	Usage           func(context.Context) (*demand.Demand, error)
	// Scrapes is true if promlet scrapes targets. Otherwise it only queries an engine.
	Scrapes  bool
	Monitors func() []monitors.Status
	// WhyNoTargets returns why a monitor has no targets, "" if that is not known.
	WhyNoTargets func(*monitors.Status) string
	Targets      func() []Target
	// Unreachable returns why kubelets are not targets, by the names of their Nodes.
	Unreachable func() map[string]error
	// OtherShards returns the targets that other shards of promlet scrape, with their job, address and labels.
	OtherShards func() []Target
	// Foreign returns what jobs would give to other namespaces than their monitors', by job.
	Foreign func() map[string]scrape.Foreign
	// Metrics returns what targets expose.
	Metrics       func() []scrape.Metric
	Configuration func() Configuration
	// API serves the paths under /api/v1/; nil for none. Its answers take up to
	// QueryTimeout.
	API          http.Handler
	QueryTimeout time.Duration
	// Profiling serves profiles of the process under /debug/pprof/, to requests that come to a loopback address.
	Profiling bool
	// Gatherer has the metrics of /metrics.
	Gatherer prometheus.Gatherer
	Logger   *slog.Logger
}

// Server serves the web port.
type Server struct {
	opts      Options
	pages     []page
	rendering chan struct{} // one for each page that is rendered
	now       func() time.Time
}

// New returns a Server. An error is one of promlet's own templates.
func New(opts Options) (*Server, error) {
	s := &Server{opts: opts, rendering: make(chan struct{}, maxPages), now: time.Now}
	s.pages = []page{
		{Path: "/autoscalers", Title: "Autoscalers", data: s.autoscalers},
		{Path: "/targets", Title: "Targets", data: s.targets},
		{Path: "/catalog", Title: "Metrics", data: s.metrics},
		{Path: "/explain", Title: "Explain", data: s.explain},
		{Path: "/configuration", Title: "Configuration", data: s.configuration},
	}
	return s, parseTemplates(s.pages, func() time.Time { return s.now() })
}

// Handler serves the pages.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	for i := range s.pages {
		p := &s.pages[i]
		mux.HandleFunc("GET "+p.Path, func(w http.ResponseWriter, r *http.Request) { s.servePage(w, r, p) })
		mux.HandleFunc("GET "+p.Path+".json", func(w http.ResponseWriter, r *http.Request) { s.serveTwin(w, r, p) })
	}
	mux.Handle("GET /{$}", http.RedirectHandler(s.pages[0].Path, http.StatusFound))
	mux.Handle("GET /assets/", http.FileServerFS(assets))
	// Browsers request it for the JSON twins, which name no icon.
	mux.Handle("GET /favicon.ico", http.RedirectHandler("/assets/icon.svg", http.StatusMovedPermanently))
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.opts.Gatherer, promhttp.HandlerOpts{EnableOpenMetrics: true}))
	if s.opts.API != nil {
		mux.Handle("/api/v1/", s.opts.API)
	}
	if s.opts.Profiling {
		handleProfiles(mux)
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

// guarded keeps pages of other origins from having anything evaluated and from reading answers, including those whose
// host names resolve to this machine (DNS rebinding).
func guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		if toLoopback(r) && !ownName(r.Host) {
			http.Error(w, fmt.Sprintf("invalid Host %q: use localhost or an IP address", r.Host), http.StatusForbidden)
			return
		}
		if foreign(r) {
			http.Error(w, "refused: a page of another origin asked; open promlet's address itself", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// foreign reports whether a browser sends a request for a page of another origin. A link may lead to the first page.
// Clients that are no browsers send none of these headers.
func foreign(r *http.Request) bool {
	if origin := r.Header.Get("Origin"); origin != "" {
		if u, err := url.Parse(origin); err != nil || u.Host != r.Host {
			return true
		}
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none":
		return false
	}
	return r.Method != http.MethodGet || r.URL.Path != "/" || r.Header.Get("Sec-Fetch-Mode") != "navigate"
}

// toLoopback reports whether a request came to a loopback address, as through kubectl port-forward.
func toLoopback(r *http.Request) bool {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	return ok && local.IP.IsLoopback()
}

// ownName reports whether a host, with or without a port, is localhost or an IP address.
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
		s.opts.Logger.Info("web port closed with requests in flight")
		err = server.Close()
	}
	if serveErr := <-served; !errors.Is(serveErr, http.ErrServerClosed) {
		err = errors.Join(err, serveErr)
	}
	return err
}

func (s *Server) write(w http.ResponseWriter, body []byte) {
	if _, err := w.Write(body); err != nil {
		s.opts.Logger.Debug("write answer", "err", err)
	}
}
