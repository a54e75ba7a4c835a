// Command storing uses the database alone: it appends a sample and asks for it in PromQL.
package main

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"github.com/promlet/promlet/bench/stranger/internal/instance"
	"github.com/promlet/promlet/tsdb"
)

func main() { instance.Main(open) }

type program struct{ db *tsdb.DB }

func open(config instance.Config) (*program, error) {
	db, err := tsdb.Open(tsdb.Options{Dir: config.Dir, Registerer: config.Registry})
	if err != nil {
		return nil, err
	}
	appender := db.AppenderV2(context.Background())
	series := labels.FromStrings("__name__", "queue_depth", "pod", "worker-1")
	if _, err := appender.Append(0, series, 0, time.Now().UnixMilli(), config.Number, nil, nil, storage.AOptions{}); err != nil {
		return nil, err
	}
	return &program{db}, appender.Commit()
}

// Ask implements instance.Instance.
func (p *program) Ask(ctx context.Context) (float64, error) {
	vector, err := p.db.Instant(ctx, tsdb.Query{Expr: "sum(queue_depth)", At: time.Now()})
	if err != nil {
		return 0, err
	}
	if len(vector) != 1 {
		return 0, fmt.Errorf("%d results", len(vector))
	}
	return vector[0].Value, nil
}

// Close implements instance.Instance.
func (p *program) Close() error { return p.db.Close() }
