package attacks

import (
	"context"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Whoever reaches the web port has expensive queries evaluated, many at a time: those that cost more than a query may
// are refused, and the others together hold a bounded amount of memory.
func TestQueries(t *testing.T) {
	s := start(t)
	refused := func(query string) {
		t.Helper()
		code, body, err := s.get("http://" + s.web + "/api/v1/query?query=" + url.QueryEscape(query))
		require.NoError(t, err)
		require.NotEqual(t, http.StatusOK, code, body)
	}
	refused(`count_over_time(vector(1)[2d:1ms])`)
	refused(`count_over_time(vector(1)[50y:1ms])`)
	refused(`max_over_time(max_over_time(max_over_time(vector(1)[1d:1s])[1d:1s])[1d:1s])`)

	// The most expensive that are allowed, and some that are not.
	queries := []string{
		"/api/v1/query?query=" + url.QueryEscape(`count_over_time(vector(1)[16m:1ms])`),
		"/api/v1/query?query=" + url.QueryEscape(`sum(count_over_time({__name__=~".+"}[2h:10ms]))`),
		"/api/v1/query?query=" + url.QueryEscape(`quantile_over_time(0.5, (vector(1) or vector(2))[15m:1ms])`),
		"/api/v1/query?query=" + url.QueryEscape(`count_over_time(vector(1)[50y:1ms])`),
		"/api/v1/query_range?start=0&end=10999&step=1&query=" + url.QueryEscape(`sort(label_replace({__name__=~".+"} or vector(1), "x", "$1", "__name__", "(.+)"))`),
		"/api/v1/query_range?start=" + url.QueryEscape(time.Now().Add(-3*time.Hour).UTC().Format(time.RFC3339)) + "&end=" + url.QueryEscape(time.Now().UTC().Format(time.RFC3339)) +
			"&step=1s&query=" + url.QueryEscape(`{__name__=~".+"} * on () group_left () vector(1)`),
		"/api/v1/query?query=" + url.QueryEscape(`max_over_time(max_over_time(max_over_time(vector(1)[1h:1s])[1h:1s])[1h:1s])`),
		"/api/v1/series?match[]=" + url.QueryEscape(`{__name__=~".+"}`),
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var running sync.WaitGroup
	for i := range 32 {
		running.Go(func() {
			for n := i; ctx.Err() == nil; n++ {
				request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.web+queries[n%len(queries)], http.NoBody)
				if err == nil {
					_, _, _ = answer(s.client.Do(request)) // how it is answered does not matter here
				}
			}
		})
	}
	running.Wait()
	s.end()
}
