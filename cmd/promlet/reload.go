package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// configPoll is how often the file is looked at. Reading it notices every way in which
// files change, the symlinks of a mounted ConfigMap among them.
const configPoll = 2 * time.Second

// reloader applies the configuration file when it changes. One that is wrong is told
// of, and the configuration in force stays.
type reloader struct {
	path   string
	apply  func(fileConfig) error
	now    <-chan os.Signal // asks for the file to be applied though it is the same
	logger *slog.Logger

	succeeded, succeededAt prometheus.Gauge

	seen    []byte // the file when it was last applied, or tried to be
	again   bool   // to be tried again though it is the same
	mtx     sync.Mutex
	problem string
	loaded  time.Time // last
}

// newReloader is about a file that holds data, which is in force.
func newReloader(path string, data []byte, apply func(fileConfig) error, now <-chan os.Signal, registry prometheus.Registerer, logger *slog.Logger) *reloader {
	r := &reloader{
		path: path, seen: data, apply: apply, now: now, logger: logger, loaded: time.Now(),
		succeeded: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "promlet_config_last_reload_successful",
			Help: "Whether the last attempt to load the configuration succeeded.",
		}),
		succeededAt: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "promlet_config_last_reload_success_timestamp_seconds",
			Help: "When the configuration was last loaded.",
		}),
	}
	registry.MustRegister(r.succeeded, r.succeededAt)
	r.succeeded.Set(1)
	r.succeededAt.SetToCurrentTime()
	return r
}

// run follows the file until ctx is done.
func (r *reloader) run(ctx context.Context) error {
	ticker := time.NewTicker(configPoll)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.now:
			r.reload(true)
		case <-ticker.C:
			r.reload(false)
		}
	}
}

// reload applies the file if it has changed, or with force.
func (r *reloader) reload(force bool) {
	if r.path == "" {
		return
	}
	data, err := readConfig(r.path)
	if err == nil && !r.again && bytes.Equal(data, r.seen) && !force {
		return
	}
	r.seen, r.again = data, err != nil
	if err == nil {
		err = r.load(data)
	}
	r.settle(err)
}

func (r *reloader) load(data []byte) error {
	cfg, err := parseConfig(data)
	if err == nil {
		err = r.apply(cfg)
		r.again = err != nil // it may be for want of an API server, say
	}
	if err != nil {
		return fmt.Errorf("--config=%s: %w", r.path, err)
	}
	for _, odd := range cfg.notServed() {
		r.logger.Warn("configuration", "file", r.path, "warning", odd)
	}
	return nil
}

// settle notes how loading the file went.
func (r *reloader) settle(err error) {
	r.mtx.Lock()
	defer r.mtx.Unlock()
	if err != nil {
		r.succeeded.Set(0)
		if problem := err.Error(); problem != r.problem {
			r.problem = problem
			r.logger.Error("the configuration is not loaded, that in force stays", "error", err)
		}
		return
	}
	r.problem, r.loaded = "", time.Now()
	r.succeeded.Set(1)
	r.succeededAt.SetToCurrentTime()
	r.logger.Info("configuration loaded", "file", r.path)
}

// problems tells why the file is not in force.
func (r *reloader) problems() []string {
	r.mtx.Lock()
	defer r.mtx.Unlock()
	if r.problem == "" {
		return nil
	}
	return []string{r.problem + " (the configuration in force stays)"}
}

// last tells whether the last attempt to load the file succeeded, and when one did.
func (r *reloader) last() (ok bool, loaded time.Time) {
	r.mtx.Lock()
	defer r.mtx.Unlock()
	return r.problem == "", r.loaded
}
