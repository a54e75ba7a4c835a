package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/promlet/promlet/cmd/promlet/configfile"
)

// configPoll is the time between two reads of the file. Reading it notices every kind of
// change, including those of a mounted ConfigMap's symlinks.
const configPoll = 2 * time.Second

// reloader applies the configuration file when it changes. An invalid file is a problem;
// the running configuration stays.
type reloader struct {
	path   string
	apply  func(configfile.File) error
	now    <-chan os.Signal // load the file even if it has not changed
	logger *slog.Logger

	succeeded, succeededAt prometheus.Gauge

	seen    []byte // the file at the last attempt to apply it
	again   bool   // the last attempt failed for a reason that may pass
	mtx     sync.Mutex
	problem string
	loaded  time.Time // last
}

// newReloader returns a reloader of a file whose data is applied already.
func newReloader(path string, data []byte, apply func(configfile.File) error, now <-chan os.Signal, registry prometheus.Registerer, logger *slog.Logger) *reloader {
	r := &reloader{
		path: path, seen: data, apply: apply, now: now, logger: logger, loaded: time.Now(),
		succeeded: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "promlet_config_last_reload_successful",
			Help: "Whether the last configuration reload attempt was successful.",
		}),
		succeededAt: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "promlet_config_last_reload_success_timestamp_seconds",
			Help: "Timestamp of the last successful configuration load.",
		}),
	}
	registry.MustRegister(r.succeeded, r.succeededAt)
	r.succeeded.Set(1)
	r.succeededAt.SetToCurrentTime()
	return r
}

// run loads the file when it changes, until ctx is done.
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

// reload applies the file if it has changed, or if forced.
func (r *reloader) reload(force bool) {
	if r.path == "" {
		return
	}
	data, err := os.ReadFile(r.path)
	if err == nil && !r.again && bytes.Equal(data, r.seen) && !force {
		return
	}
	r.seen, r.again = data, err != nil
	if err == nil {
		err = r.load(data)
	}
	if err != nil {
		err = fmt.Errorf("--config=%s: %w", r.path, err)
	}
	r.settle(err)
}

func (r *reloader) load(data []byte) error {
	if len(bytes.TrimSpace(data)) == 0 {
		// Many programs empty a file before they write it.
		return errors.New("the file is empty: for the default rules alone, write {}")
	}
	file, err := configfile.Parse(data)
	if err != nil {
		return err
	}
	if err := r.apply(file); err != nil {
		r.again = true // the API server may be away, for example
		return err
	}
	return nil
}

// settle records the result of an attempt.
func (r *reloader) settle(err error) {
	r.mtx.Lock()
	defer r.mtx.Unlock()
	if err != nil {
		r.succeeded.Set(0)
		if problem := err.Error(); problem != r.problem {
			r.problem = problem
			r.logger.Error("configuration not loaded, the running one stays", "err", err)
		}
		return
	}
	r.problem, r.loaded = "", time.Now()
	r.succeeded.Set(1)
	r.succeededAt.SetToCurrentTime()
	r.logger.Info("configuration loaded", "file", r.path)
}

// problems returns why the file is not applied.
func (r *reloader) problems() []string {
	r.mtx.Lock()
	defer r.mtx.Unlock()
	if r.problem == "" {
		return nil
	}
	return []string{r.problem + " (the running configuration stays)"}
}

// last reports whether the last attempt succeeded, and the time of the last success.
func (r *reloader) last() (ok bool, loaded time.Time) {
	r.mtx.Lock()
	defer r.mtx.Unlock()
	return r.problem == "", r.loaded
}
