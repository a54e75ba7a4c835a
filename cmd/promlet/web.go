package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sort"
	"text/tabwriter"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/prometheus/model/labels"
	promscrape "github.com/prometheus/prometheus/scrape"
)

const (
	webReadTimeout     = 10 * time.Second
	webWriteTimeout    = 30 * time.Second
	webShutdownTimeout = 5 * time.Second
)

// web serves promlet's own status on the web port.
type web struct {
	targets  func() map[string][]*promscrape.Target
	problems func() []string
	ready    func() error
	gatherer prometheus.Gatherer
	logger   *slog.Logger
}

func (w *web) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", w.serveStatus)
	mux.HandleFunc("GET /api/v1/targets", w.serveTargets)
	mux.Handle("GET /metrics", promhttp.HandlerFor(w.gatherer, promhttp.HandlerOpts{EnableOpenMetrics: true}))
	mux.HandleFunc("GET /-/healthy", func(rw http.ResponseWriter, _ *http.Request) { w.print(rw, "promlet is healthy.\n") })
	mux.HandleFunc("GET /-/ready", func(rw http.ResponseWriter, _ *http.Request) {
		if err := w.ready(); err != nil {
			http.Error(rw, err.Error(), http.StatusServiceUnavailable)
			return
		}
		w.print(rw, "promlet is ready.\n")
	})
	return mux
}

// run serves on the listener until ctx is done.
func (w *web) run(ctx context.Context, listener net.Listener) error {
	server := &http.Server{Handler: w.handler(), ReadTimeout: webReadTimeout, WriteTimeout: webWriteTimeout}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve the web port: %w", err)
	case <-ctx.Done():
	}
	shutdown, cancel := context.WithTimeout(context.WithoutCancel(ctx), webShutdownTimeout)
	defer cancel()
	err := server.Shutdown(shutdown)
	if serveErr := <-served; !errors.Is(serveErr, http.ErrServerClosed) {
		err = errors.Join(err, serveErr)
	}
	return err
}

// target is an active target as the Prometheus HTTP API shows it.
type target struct {
	DiscoveredLabels   labels.Labels           `json:"discoveredLabels"`
	Labels             labels.Labels           `json:"labels"`
	ScrapePool         string                  `json:"scrapePool"`
	ScrapeURL          string                  `json:"scrapeUrl"`
	LastError          string                  `json:"lastError"`
	LastScrape         time.Time               `json:"lastScrape"`
	LastScrapeDuration float64                 `json:"lastScrapeDuration"` // seconds
	Health             promscrape.TargetHealth `json:"health"`
	ScrapeInterval     string                  `json:"scrapeInterval"`
	ScrapeTimeout      string                  `json:"scrapeTimeout"`
}

func (w *web) activeTargets() []target {
	active := []target{}
	builder := labels.NewBuilder(labels.EmptyLabels())
	for pool, targets := range w.targets() {
		for _, t := range targets {
			shown := target{
				DiscoveredLabels:   t.DiscoveredLabels(builder),
				Labels:             t.Labels(builder),
				ScrapePool:         pool,
				ScrapeURL:          t.URL().String(),
				LastScrape:         t.LastScrape(),
				LastScrapeDuration: t.LastScrapeDuration().Seconds(),
				Health:             t.Health(),
				ScrapeInterval:     t.GetValue("__scrape_interval__"),
				ScrapeTimeout:      t.GetValue("__scrape_timeout__"),
			}
			if err := t.LastError(); err != nil {
				shown.LastError = err.Error()
			}
			active = append(active, shown)
		}
	}
	sort.Slice(active, func(i, j int) bool {
		a, b := active[i], active[j]
		return a.ScrapePool < b.ScrapePool || a.ScrapePool == b.ScrapePool && a.ScrapeURL < b.ScrapeURL
	})
	return active
}

func (w *web) serveTargets(rw http.ResponseWriter, _ *http.Request) {
	rw.Header().Set("Content-Type", "application/json")
	answer := map[string]any{
		"status": "success",
		"data":   map[string]any{"activeTargets": w.activeTargets(), "droppedTargets": []target{}},
	}
	if err := json.NewEncoder(rw).Encode(answer); err != nil {
		w.logger.Debug("answer interrupted", "err", err)
	}
}

// serveStatus is for a person with curl or a browser.
func (w *web) serveStatus(rw http.ResponseWriter, _ *http.Request) {
	rw.Header().Set("Content-Type", "text/plain; charset=utf-8")
	table := tabwriter.NewWriter(rw, 0, 0, 2, ' ', 0)
	line := func(format string, args ...any) {
		// The table keeps the first error for Flush.
		_, _ = fmt.Fprintf(table, format+"\n", args...)
	}
	line("promlet %s", buildVersion())
	if err := w.ready(); err != nil {
		line("not ready: %v", err)
	}
	for _, problem := range w.problems() {
		line("problem: %s", problem)
	}
	line("\nJOB\tTARGET\tHEALTH\tLAST SCRAPE\tTOOK\tERROR")
	for _, t := range w.activeTargets() {
		last := "never"
		if !t.LastScrape.IsZero() {
			last = time.Since(t.LastScrape).Round(time.Second).String() + " ago"
		}
		took := time.Duration(t.LastScrapeDuration * float64(time.Second)).Round(time.Microsecond)
		line("%s\t%s\t%s\t%s\t%s\t%s", t.ScrapePool, t.ScrapeURL, t.Health, last, took, t.LastError)
	}
	line("\nAlso here: /api/v1/targets, /metrics, /-/healthy, /-/ready")
	if err := table.Flush(); err != nil {
		w.logger.Debug("answer interrupted", "err", err)
	}
}

func (w *web) print(rw http.ResponseWriter, text string) {
	if _, err := rw.Write([]byte(text)); err != nil {
		w.logger.Debug("answer interrupted", "err", err)
	}
}
