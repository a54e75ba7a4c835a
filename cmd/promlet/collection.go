package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	promtsdb "github.com/prometheus/prometheus/tsdb"

	"github.com/promlet/promlet/adapter/engine"
	"github.com/promlet/promlet/cmd/promlet/configfile"
	"github.com/promlet/promlet/scrape"
	"github.com/promlet/promlet/scrape/seriesroom"
	"github.com/promlet/promlet/tsdb"
	"github.com/promlet/promlet/tsdb/remotewrite"
)

// tendEvery is the time between two looks at the clock and at the disk.
const tendEvery = time.Second

func (o *options) storage(room *seriesroom.Room, registry prometheus.Registerer, logger *slog.Logger) tsdb.Options {
	options := tsdb.Options{
		Dir:            o.dataDir,
		Logger:         logger.With("component", "tsdb"),
		Registerer:     registry,
		Retention:      o.retention,
		RetentionBytes: int64(o.retentionSize),
		Boot:           tsdb.SystemBoot,
		CountStarts:    true,
		MaxSamples:     o.queryMaxSamples,
		QueryTimeout:   o.queryTimeout,
		MaxConcurrency: o.queryMaxConcurrency,
	}
	if room != nil {
		options.SeriesCallback = func() promtsdb.SeriesLifecycleCallback { return room.Storage() }
	}
	return options
}

// temporaryData creates a temporary data directory if nothing is scraped and no --data-dir is given. A database is open
// also without scraping, and the container's root may be read-only. remove removes the directory.
func (o *options) temporaryData(asked *engine.Engine) (remove func() error, err error) {
	o.scrape = o.scrape || asked == nil
	if o.scrape || o.parsed.Changed("data-dir") {
		return func() error { return nil }, nil
	}
	dir, err := os.MkdirTemp("", "promlet-")
	if err != nil {
		return nil, fmt.Errorf("make a data directory: %w: name one with --data-dir", err)
	}
	o.dataDir = dir
	return func() error { return os.RemoveAll(dir) }, nil
}

// collection is what is scraped and stored. When the clock is set, or the disk stays full, it begins anew, as a restart
// with an empty data directory does.
type collection struct {
	db        *tsdb.DB
	scraper   *scrape.Manager
	readiness *readiness
	restarted func() // called when all targets are scraped anew
	logger    *slog.Logger

	settled bool
	problem string // logged last
}

func (a *app) collection() *collection {
	return &collection{
		db: a.db, scraper: a.scraper, readiness: a.readiness,
		restarted: func() { a.targetsVersion.Add(1) },
		logger:    a.logger.With("component", "tsdb"),
	}
}

// run looks after the collection until ctx is done.
func (c *collection) run(ctx context.Context) error { return every(ctx, tendEvery, c.tend) }

func (c *collection) tend() {
	if !c.settled && c.readiness.answerable() == nil {
		c.settled = true
		c.report(c.db.Settled())
	}
	reason := c.db.Tend()
	if reason == nil {
		c.report(c.db.Storing())
		return
	}
	c.readiness.restart(func() {
		err := c.scraper.Restart(func() error { return c.db.Renew(reason) })
		if !errors.Is(err, scrape.ErrStopped) && !errors.Is(err, tsdb.ErrClosed) {
			c.report(err)
		}
	})
	c.restarted()
}

// report logs a problem when it is another one than before.
func (c *collection) report(err error) {
	problem := ""
	if err != nil {
		problem = err.Error()
	}
	if problem == c.problem {
		return
	}
	c.problem = problem
	if err == nil {
		c.logger.Info("samples are stored again")
		return
	}
	c.logger.Error("samples are not stored", "err", err)
}

// remoteWriter returns the Writer that sends stored samples to other engines.
func (o *options) remoteWriter(registry prometheus.Registerer, logger *slog.Logger) *remotewrite.Writer {
	return remotewrite.New(remotewrite.Options{
		Log:        tsdb.LogDir(o.dataDir),
		Held:       tsdb.HeldDir(o.dataDir),
		Dir:        filepath.Join(o.dataDir, "remote-write"),
		Retention:  o.retention,
		Registerer: registry,
		Logger:     logger.With("component", "remote write"),
	})
}

// ship sends stored samples to the engines of a configuration from now on.
func (a *app) ship(file configfile.File) error {
	queues, err := file.Queues(a.opts.config)
	if err != nil {
		return err
	}
	return a.writer.Apply(queues)
}
