package httpapi

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/stretchr/testify/require"
)

// What would be too large for an answer is refused, and says what to ask instead.
func TestLargeAnswersAreRefused(t *testing.T) {
	db := openDB(t)
	now := time.Now().Truncate(time.Second)
	appender := db.AppenderV2(t.Context())
	for i := range 9000 {
		series := labels.FromStrings("__name__", "x", "n", strconv.Itoa(i), "long", strings.Repeat("l", 1000)+strconv.Itoa(i))
		_, err := appender.Append(0, series, 0, now.UnixMilli(), 1, nil, nil, storage.AOptions{})
		require.NoError(t, err)
	}
	for i := range 100 {
		_, err := appender.Append(0, labels.FromStrings("__name__", "y", "n", strconv.Itoa(i)), 0, now.UnixMilli(), 1, nil, nil, storage.AOptions{})
		require.NoError(t, err)
	}
	require.NoError(t, appender.Commit())
	server := serve(t, Options{DB: db})
	at := strconv.FormatInt(now.Unix(), 10)
	later := strconv.FormatInt(now.Add(4*time.Minute).Unix(), 10)

	listing := "the answer has more than 8 MiB: select fewer series, or ask with a limit"
	evaluated := "the answer has more than 8 MiB: ask for fewer series, or for a longer step"
	for _, c := range []struct {
		path, why string
		asked     []string
	}{
		{"/series", listing, []string{"match[]", "x"}},
		{"/series", listing, []string{"match[]", `x{n=~"..?.?"}`, "match[]", `x{n!~"..?.?"}`}},
		{"/label/long/values", listing, nil},
		{"/query", evaluated, []string{"query", "x", "time", at}},
		{"/query", evaluated, []string{"query", "x[1m]", "time", at}},
		{"/query_range", evaluated, []string{"query", "y", "start", at, "end", later, "step", "100ms"}},
	} {
		a := get(t, server, c.path, c.asked...)
		require.Equal(t, http.StatusUnprocessableEntity, a.code, "%s %s", c.path, a.Error)
		require.Contains(t, a.Error, c.why, c.path)
	}
	for _, c := range [][]string{
		{"/series", "match[]", "x", "limit", "1000"}, {"/series", "match[]", "y"}, {"/label/n/values"}, {"/labels"},
		{"/query", "query", "count(x)", "time", at}, {"/query_range", "query", "y", "start", at, "end", later, "step", "1s"},
	} {
		a := get(t, server, c[0], c[1:]...)
		require.Equal(t, http.StatusOK, a.code, "%s %s", c[0], a.Error)
	}
}
