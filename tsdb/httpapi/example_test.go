package httpapi_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"github.com/promlet/promlet/tsdb"
	"github.com/promlet/promlet/tsdb/httpapi"
)

// This example queries a stored sample over HTTP, as Grafana would.
func Example() {
	dir, err := os.MkdirTemp("", "promlet")
	check(err)
	defer os.RemoveAll(dir)
	db, err := tsdb.Open(tsdb.Options{Dir: dir})
	check(err)
	defer func() { check(db.Close()) }()
	appender := db.AppenderV2(context.Background())
	series := labels.FromStrings("__name__", "queue_depth", "pod", "worker-1")
	_, err = appender.Append(0, series, 0, time.Now().UnixMilli(), 7, nil, nil, storage.AOptions{})
	check(err)
	check(appender.Commit())

	api, err := httpapi.New(httpapi.Options{DB: db}) // an http.Handler for a server of yours
	check(err)
	answer := httptest.NewRecorder()
	api.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, httpapi.Prefix+"/query?query=sum(queue_depth)", http.NoBody))
	var read struct {
		Data struct {
			Result []struct{ Value [2]any } // the time and the value
		}
	}
	check(json.Unmarshal(answer.Body.Bytes(), &read))
	fmt.Println(answer.Code, read.Data.Result[0].Value[1])
	// Output: 200 7
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
