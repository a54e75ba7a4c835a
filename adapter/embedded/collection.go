package embedded

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/promlet/promlet/scrape"
	"github.com/promlet/promlet/tsdb"
)

// tendEvery is the time between two checks of the clock and the disk.
const tendEvery = time.Second

// collection scrapes and stores. When somebody sets the clock, or the disk stays full, it begins anew, as after a restart
// with an empty data directory.
type collection struct {
	db        *tsdb.DB
	scraper   *scrape.Manager
	readiness *readiness
	restarted func() // called after a new beginning, when all targets are scraped anew
	logger    *slog.Logger

	settled bool
	problem string // the last one logged, "" for none
}

func (p *Promlet) collection() *collection {
	return &collection{
		db: p.DB, scraper: p.Scraper, readiness: p.readiness,
		restarted: func() { p.targetsVersion.Add(1) },
		logger:    p.opts.Logger.With("component", "tsdb"),
	}
}

// run tends the collection until ctx is done.
func (c *collection) run(ctx context.Context) error { return every(ctx, tendEvery, c.tend) }

// tend makes the collection begin anew if the database asks for it, and reports whether samples are stored.
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

// report logs a problem when it differs from the last one, and its end. Nil is no problem.
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
