package main

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"sort"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	promscrape "github.com/prometheus/prometheus/scrape"
)

// targetsAPI serves the targets as the Prometheus HTTP API does.
type targetsAPI struct {
	targets func() map[string][]*promscrape.Target
	logger  *slog.Logger
}

func (w *targetsAPI) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/targets", w.serveTargets)
	return mux
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

func (w *targetsAPI) activeTargets() []target {
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

func (w *targetsAPI) serveTargets(rw http.ResponseWriter, _ *http.Request) {
	rw.Header().Set("Content-Type", "application/json")
	answer := map[string]any{
		"status": "success",
		"data":   map[string]any{"activeTargets": w.activeTargets(), "droppedTargets": []target{}},
	}
	if err := json.NewEncoder(rw).Encode(answer); err != nil {
		w.logger.Debug("answer interrupted", "err", err)
	}
}
