package scrape_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/targetgroup"

	"github.com/promlet/promlet/scrape"
	"github.com/promlet/promlet/tsdb"
)

// This example scrapes one target into a database, and prints the target's health.
func Example() {
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		_, _ = fmt.Fprintln(w, "queue_depth 7") // the scrape may be cancelled
	}))
	defer target.Close()
	dir, err := os.MkdirTemp("", "promlet")
	check(err)
	defer os.RemoveAll(dir)
	db, err := tsdb.Open(tsdb.Options{Dir: dir})
	check(err)
	defer func() { check(db.Close()) }()

	manager, err := scrape.NewManager(scrape.Options{Appendable: db})
	check(err)
	defer manager.Stop()
	job := config.DefaultScrapeConfig
	job.JobName = "worker"
	job.ScrapeInterval, job.ScrapeTimeout = model.Duration(15*time.Second), model.Duration(10*time.Second)
	address := model.LabelValue(target.Listener.Addr().String())
	check(manager.Apply([]*config.ScrapeConfig{&job}, map[string][]*targetgroup.Group{
		"worker": {{Targets: []model.LabelSet{{model.AddressLabel: address}}, Labels: model.LabelSet{"pod": "worker-1"}}},
	}))

	for range 100 { // wait for the first scrape
		if active := manager.TargetsActive()["worker"][0]; !active.LastScrape().IsZero() {
			fmt.Println(active.GetValue("pod"), "is", active.Health())
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	// Output: worker-1 is up
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
