// Command scraping scrapes a target with promlet into Prometheus's own database.
package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/model/labels"
	promtsdb "github.com/prometheus/prometheus/tsdb"

	"github.com/promlet/promlet/bench/stranger/internal/instance"
	"github.com/promlet/promlet/scrape"
)

func main() { instance.Main(open) }

type program struct {
	target  *httptest.Server
	db      *promtsdb.DB
	scraper *scrape.Manager
}

func open(cfg instance.Config) (_ *program, err error) {
	p := &program{target: httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		_, _ = fmt.Fprintln(w, "queue_depth", cfg.Number) // the scrape may be cancelled
	}))}
	if p.db, err = promtsdb.Open(cfg.Dir, promslog.NewNopLogger(), nil, promtsdb.DefaultOptions(), nil); err != nil {
		return nil, err
	}
	if p.scraper, err = scrape.NewManager(scrape.Options{Appendable: p.db, Registerer: cfg.Registry}); err != nil {
		return nil, err
	}
	job := config.DefaultScrapeConfig
	job.JobName, job.ScrapeInterval, job.ScrapeTimeout = "worker", model.Duration(15*time.Second), model.Duration(10*time.Second)
	address := model.LabelSet{model.AddressLabel: model.LabelValue(p.target.Listener.Addr().String())}
	return p, p.scraper.Apply([]*config.ScrapeConfig{&job}, map[string][]*targetgroup.Group{"worker": {{Targets: []model.LabelSet{address}}}})
}

// Ask implements instance.Instance. The first scrape comes at once.
func (p *program) Ask(ctx context.Context) (float64, error) {
	return instance.Eventually(ctx, func() (float64, error) { return p.last(ctx) })
}

func (p *program) last(ctx context.Context) (_ float64, err error) {
	querier, err := p.db.Querier(math.MinInt64, math.MaxInt64)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, querier.Close()) }()
	number := math.NaN()
	found := querier.Select(ctx, false, nil, labels.MustNewMatcher(labels.MatchEqual, "__name__", "queue_depth"))
	for found.Next() {
		samples := found.At().Iterator(nil)
		for samples.Next() != 0 {
			_, number = samples.At()
		}
	}
	if err := found.Err(); err != nil {
		return 0, err
	}
	if math.IsNaN(number) {
		return 0, errors.New("no sample yet")
	}
	return number, nil
}

// Close implements instance.Instance.
func (p *program) Close() error {
	p.scraper.Stop() // before what it appends to
	p.target.Close()
	return p.db.Close()
}
