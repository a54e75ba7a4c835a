package tsdb_test

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"github.com/promlet/promlet/tsdb"
)

// This example stores three minutes of a counter that grows by five a second, and queries its rate.
func Example() {
	dir, err := os.MkdirTemp("", "promlet")
	check(err)
	defer os.RemoveAll(dir)
	db, err := tsdb.Open(tsdb.Options{Dir: dir})
	check(err)
	defer func() { check(db.Close()) }()

	now := time.Now()
	series := labels.FromStrings("__name__", "http_requests_total", "pod", "app-1")
	appender := db.AppenderV2(context.Background())
	for ago := 3 * time.Minute; ago >= 0; ago -= 15 * time.Second {
		at := now.Add(-ago)
		_, err := appender.Append(0, series, 0, at.UnixMilli(), 5*(180-ago.Seconds()), nil, nil, storage.AOptions{})
		check(err)
	}
	check(appender.Commit())

	result, err := db.Instant(context.Background(), tsdb.Query{Expr: "sum by (pod) (rate(http_requests_total[2m]))", At: now})
	check(err)
	for _, sample := range result {
		fmt.Printf("%s %.1f over %v\n", sample.Labels, sample.Value, sample.Window.Round(time.Second))
	}
	// Output: {pod="app-1"} 5.0 over 1m45s
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
