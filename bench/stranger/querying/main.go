// Command querying serves Prometheus's HTTP API beside other paths on a mux of its own.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"github.com/promlet/promlet/bench/stranger/internal/instance"
	"github.com/promlet/promlet/tsdb"
	"github.com/promlet/promlet/tsdb/httpapi"
)

func main() { instance.Main(open) }

type program struct {
	db     *tsdb.DB
	server *httptest.Server
}

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
	if err := appender.Commit(); err != nil {
		return nil, err
	}
	api, err := httpapi.New(httpapi.Options{DB: db})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	mux := http.NewServeMux()
	mux.Handle(httpapi.Prefix+"/", api)
	mux.Handle("/metrics", promhttp.HandlerFor(config.Registry, promhttp.HandlerOpts{}))
	return &program{db, httptest.NewServer(mux)}, nil
}

// Ask implements instance.Instance.
func (p *program) Ask(ctx context.Context) (_ float64, err error) {
	address := p.server.URL + httpapi.Prefix + "/query?query=" + url.QueryEscape("sum(queue_depth)")
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return 0, err
	}
	response, err := p.server.Client().Do(request)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	var answer struct {
		Data struct {
			Result []struct{ Value [2]any } // the time and the value
		}
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return 0, err
	}
	if len(answer.Data.Result) != 1 {
		return 0, fmt.Errorf("%s: %d results", response.Status, len(answer.Data.Result))
	}
	return strconv.ParseFloat(fmt.Sprint(answer.Data.Result[0].Value[1]), 64)
}

// Close implements instance.Instance.
func (p *program) Close() error {
	p.server.Close() // before what it reads
	return p.db.Close()
}
