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

// A page of another origin, open in a browser on the same machine, has nothing evaluated and makes nothing be stored.
func TestPagesOfOtherOrigins(t *testing.T) {
	t.Parallel()
	s := start(t)
	const unread = "read_by_no_one"
	s.deploy(app{namespace: "shop", name: "other", addresses: s.listen(1, exposing(func(int) string { return "# TYPE " + unread + " gauge\n" + unread + " 1\n" }))})
	ask := func(ctx context.Context, method, path, header, value string) (int, string) {
		request, err := http.NewRequestWithContext(ctx, method, "http://"+s.web+path, http.NoBody)
		require.NoError(t, err)
		request.Header.Set(header, value)
		if header == "Host" {
			request.Host = value
		}
		code, body, err := answer(s.client.Do(request))
		if ctx.Err() == nil {
			require.NoError(t, err)
		}
		return code, body
	}
	read := "/api/v1/query?query=" + unread
	headers := [][2]string{{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://evil.example"}, {"Origin", "null"}, {"Host", "evil.example"}}
	for _, h := range headers {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			for _, path := range []string{read, "/api/v1/query_range?start=0&end=1&step=1&query=" + unread, "/explain?namespace=shop&resource=services&name=other&metric=" + unread, "/targets.json", "/debug/pprof/profile?seconds=1"} {
				code, body := ask(t.Context(), method, path, h[0], h[1])
				require.NotEqual(t, http.StatusOK, code, "%s %s with %s: %s: %s", method, path, h[0], h[1], body)
			}
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	var running sync.WaitGroup
	for i := range 8 {
		running.Go(func() {
			for ctx.Err() == nil {
				ask(ctx, http.MethodGet, "/api/v1/query?query="+url.QueryEscape("count_over_time(vector(1)[16m:1ms])"), headers[i%len(headers)][0], headers[i%len(headers)][1])
			}
		})
	}
	running.Wait()
	time.Sleep(2 * scrapeInterval)
	code, body := ask(t.Context(), http.MethodGet, read, "Sec-Fetch-Site", "same-origin")
	require.Equal(t, http.StatusOK, code)
	require.NotContains(t, body, `"value"`, "nobody had read it before")
	s.end()
}
