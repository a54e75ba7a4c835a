package scrape

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	promscrape "github.com/prometheus/prometheus/scrape"

	"github.com/prometheus/prometheus/storage"
)

// httpDifferences are about answers and what goes wrong with them.
func httpDifferences() []difference {
	const body = "a 1\nb 2\n"
	ok := answer{body: body}
	between := func(bad ...answer) []answer {
		out := []answer{ok}
		for _, b := range bad {
			out = append(out, b, ok)
		}
		return out
	}
	redirect := func(status int, location string) answer {
		return answer{handler: func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/other" {
				_, _ = w.Write([]byte("other 1\n"))
				return
			}
			w.Header().Set("Location", location)
			w.WriteHeader(status)
		}}
	}
	vanish := answer{handler: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }}
	return []difference{
		{name: "gzip", answers: []answer{{body: body, gzip: true}, {body: "a 2\n", gzip: true}, {gzip: true}}},
		{name: "broken gzip", job: "extra_scrape_metrics: true", answers: between(
			answer{body: body, gzip: true, cut: 1}, answer{body: body, encoding: "gzip"}, answer{encoding: "gzip"}, answer{body: "\x1f\x8b", encoding: "gzip"},
			answer{body: strings.Repeat(body, 9999), gzip: true, cut: 50},
			answer{handler: func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Encoding", "gzip")
				b := []byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff\x4a\x54\x30\xe4\x02\x04\x00\x00\xff\xff\x00\x00\x00\x00\x04\x00\x00\x00")
				_, _ = w.Write(b)
			}})},
		{name: "no compression", job: "enable_compression: false", answers: []answer{{body: body, gzip: true}, ok}},
		{name: "other encodings", answers: between(answer{body: body, encoding: "identity"}, answer{body: body, encoding: "utf-8"}, answer{body: body, encoding: "zstd"}, answer{body: body, encoding: "GZIP"})},
		{name: "statuses", job: "extra_scrape_metrics: true", answers: between(answer{status: 201, body: body}, answer{status: 204}, answer{status: 206, body: body}, answer{status: 304}, answer{status: 401}, answer{status: 404, body: body}, answer{status: 429}, answer{status: 500}, answer{status: 599})},
		{name: "redirects", answers: between(redirect(301, "/other"), redirect(302, "http://other:81/other"), redirect(307, "/metrics"), redirect(308, ""), redirect(302, "://"), redirect(302, "ftp://x/"))},
		{name: "redirects not followed", job: "follow_redirects: false", answers: between(redirect(301, "/other"), redirect(308, "/metrics"))},
		{name: "timeouts", job: "extra_scrape_metrics: true", answers: between(answer{handler: func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }}, answer{body: body, hang: true, cut: len(body)}, answer{body: body, hang: true, cut: 3}, answer{body: body, gzip: true, hang: true, cut: 3}, answer{body: body, hang: true, cut: 3, status: 500})},
		{name: "slow answers", answers: between(answer{handler: func(w http.ResponseWriter, _ *http.Request) {
			time.Sleep(stepTimeout - time.Millisecond)
			_, _ = w.Write([]byte(body))
		}})},
		{name: "broken connections", job: "extra_scrape_metrics: true", answers: between(vanish, vanish, answer{body: body, cut: 3})},
		{name: "content types", answers: []answer{
			{body: "a 1\n", contentType: "-"},
			{body: "a 1\n", contentType: "text/html"},
			{body: "a 1\n", contentType: "text/plain"},
			{body: "a 1\n", contentType: "application/json; charset"},
			{contentType: "-"}, {contentType: "text/html"}, {body: "\n", contentType: "-"},
		}},
		{name: "versions in content types", answers: append([]answer{
			{body: "{\"a.b\"} 1\n", contentType: "text/plain; version=1.0.0; escaping=allow-utf-8"},
			{body: "a 1\n", contentType: "text/plain; version=9; charset=latin1"},
			{body: "a 1\n", contentType: "TEXT/plain"},
			{body: "a 1\n# EOF\n", contentType: "application/openmetrics-text"},
			{body: "a 1\n# EOF\n", contentType: "application/openmetrics-text; version=0.0.1; charset=utf-8"},
			{body: "a 1\n", contentType: "application/openmetrics-text; version=9"},
			{body: "a 1\n", contentType: "text/plain;;"},
			{body: "a 1\n", contentType: " "},
		}, protobufTyped("application/vnd.google.protobuf", "application/vnd.google.protobuf; encoding=text", "application/vnd.google.protobuf; proto=x; encoding=delimited", "text/plain")...)},
		{name: "fallback protocol", job: "fallback_scrape_protocol: PrometheusText0.0.4", answers: []answer{
			{body: "a 1\n", contentType: "-"}, {body: "a 2\n", contentType: "text/html"}, {body: "a 3\n# EOF\n", contentType: omType}, {body: "a 4\n", contentType: "text/plain; charset"}, {body: "&&\n", contentType: "-"}, {contentType: "-"},
		}},
		{name: "fallback to OpenMetrics", job: "fallback_scrape_protocol: OpenMetricsText1.0.0", answers: []answer{
			{body: "a 1\n", contentType: "-"}, {body: "a 2\n# EOF\n", contentType: "-"}, {body: "a 3\n# EOF\n", contentType: "text/html"}, {body: "a 4\n# EOF\n"}, {body: "a 5\n", contentType: "application/json"},
		}},
		{name: "fallback to protobuf", job: "fallback_scrape_protocol: PrometheusProto", answers: append([]answer{{body: "a 1\n", contentType: "-"}}, protobufTyped("-", "text/html", "application/octet-stream")...)},
		{name: "target's path, parameters and scheme", labels: model.LabelSet{"__metrics_path__": "/m", "__param_x": "a b&c", "__address__": "target"}, answers: []answer{{handler: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", textType)
			_, _ = w.Write([]byte("a{host=\"" + r.Host + "\",url=\"" + r.URL.String() + "\"} 1\n"))
		}}}},
	}
}

// protobufTyped returns one body under many types.
func protobufTyped(types ...string) []answer {
	var out []answer
	for _, contentType := range types {
		a := protobuf(1)[0]
		a.contentType = contentType
		out = append(out, a)
	}
	return out
}

// storageDifferences are about a storage that refuses.
func storageDifferences() []difference {
	refusing := func(err error, name string, when func(sample) bool) func(sample) error {
		return func(s sample) error {
			if s.name() == name && when(s) {
				return err
			}
			return nil
		}
	}
	full := errors.New("disk full")
	always := func(sample) bool { return true }
	value2 := func(s sample) bool { return s.v == 2 }
	answers := text("a 1\nb 1\nc 1\n", "a 2\nb 2\nc 2\n", "a 3\nb 3\nc 3\n", "a 4\nc 4\n", "c 5\n", "a 6\nb 6\n", "")
	return []difference{
		{name: "storage refuses a sample", refuse: refusing(full, "b", value2), answers: answers},
		{name: "storage refuses a series", refuse: refusing(full, "b", always), answers: answers},
		{name: "storage has lost a series", refuse: refusing(storage.ErrNotFound, "b", value2), answers: answers},
		{name: "storage says out of order", refuse: refusing(storage.ErrOutOfOrderSample, "b", value2), answers: answers},
		{name: "storage says duplicate", refuse: refusing(storage.ErrDuplicateSampleForTimestamp, "b", value2), answers: answers},
		{name: "storage says out of bounds", refuse: refusing(storage.ErrOutOfBounds, "b", value2), answers: answers},
		{name: "storage says too old", refuse: refusing(storage.ErrTooOldSample, "b", value2), answers: answers},
		{name: "storage refuses markers", refuse: refusing(full, "b", sample.stale), answers: text("a 1\nb 1\n", "a 2\n", "a 3\n", "a 4\nb 4\n", "a 5\nb 5\n&\n", "a 6\n&\n", "a 7\n")},
		{name: "storage has markers already", refuse: refusing(storage.ErrOutOfOrderSample, "b", sample.stale), answers: answers},
		// Nothing of the scrape is stored: ours says why where it can be seen.
		{
			name: "storage refuses up", refuse: refusing(full, "up", always), answers: answers,
			allowed: func(_ *difference, theirs, ours *step) (over bool) {
				if theirs.err == nil && ours.err != nil && ours.err.Error() == "append up: disk full" {
					ours.err, ours.health = nil, promscrape.HealthGood
				}
				return false
			},
		},
		{name: "storage has up already", refuse: refusing(storage.ErrDuplicateSampleForTimestamp, "up", always), answers: answers},
		{name: "storage refuses exemplars", refuse: refusing(&storage.AppendPartialError{ExemplarErrors: []error{storage.ErrOutOfOrderExemplar}}, "a", always), answers: om("a 1 # {t=\"1\"} 1\nb 1\n", "a 2 # {t=\"1\"} 1\n", "a 3\n", "b 1\n")},
		{name: "new references", memory: true, refsLast: 30 * time.Second, answers: append(append(answers, answers...), text("a 1\nb 1\n", "b 1\n", "b 1 @-1s@\nc 1\n", "a 1\na 2\n", "b 1\n", "c 1\n", "c 1\n", "")...)},
		{name: "new references each time", memory: true, refsLast: time.Nanosecond, answers: append(answers, answers...)},
	}
}
