package scrape

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"github.com/promlet/promlet/scrape/sink"
)

// nowhere is a storage that only hands out references, so that a benchmark measures the
// scraping.
type nowhere struct{ refs storage.SeriesRef }

func (n *nowhere) Append(ref storage.SeriesRef, _ labels.Labels, _, _ int64, _ float64,
	_ *histogram.Histogram, _ *histogram.FloatHistogram, _ storage.AOptions,
) (storage.SeriesRef, error) {
	if ref == 0 {
		n.refs++
		ref = n.refs
	}
	return ref, nil
}
func (n *nowhere) Commit() error   { return nil }
func (n *nowhere) Rollback() error { return nil }

// BenchmarkAppend parses and appends a body that has been seen before. It also reports
// what the loop keeps between scrapes.
func BenchmarkAppend(b *testing.B) {
	files, err := filepath.Glob("testdata/*.gz")
	require.NoError(b, err)
	for _, file := range files {
		b.Run(filepath.Base(file), func(b *testing.B) {
			contentType := map[string]string{".txt": textType, ".openmetrics": omType, ".protobuf": pbType}[filepath.Ext(file[:len(file)-3])]
			text := unzipped(b, file)
			target := model.LabelSet{model.AddressLabel: "127.0.0.1:1"}
			fetcher := testLoop(b, newManager(b, &recorder{}), jobConfig("j", slow), target).settings.fetcher
			got, err := fetcher.Read(b.Context(), bytes.NewReader(text), contentType, len(text), nil)
			require.NoError(b, err)
			defer got.Release()
			before := heap()
			l := testLoop(b, newManager(b, &recorder{}), jobConfig("j", slow), target)
			app := &nowhere{}
			var c counts
			for range 2 {
				c, err = l.appendBody(app, got, time.Now(), time.Now().Add(time.Hour))
				require.NoError(b, err)
			}
			kept := heap() - before
			b.ReportAllocs()
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				if _, err := l.appendBody(app, got, time.Now(), time.Now().Add(time.Hour)); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*c.scraped), "ns/sample")
			b.ReportMetric(float64(kept)/float64(c.scraped), "keptB/series")
			runtime.KeepAlive(l)
		})
	}
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc) //nolint:gosec // Less than 2^63.
}

// BenchmarkScrape scrapes an exporter over loopback.
func BenchmarkScrape(b *testing.B) {
	text := string(unzipped(b, "testdata/node_exporter.txt.gz"))
	for _, demand := range []bool{false, true} {
		b.Run(map[bool]string{false: "all", true: "on demand"}[demand], func(b *testing.B) {
			m := newManager(b, &nowhereAppendable{}, func(o *Options) { o.OnDemand = demand })
			l := testLoop(b, m, jobConfig("j", slow), model.LabelSet{model.AddressLabel: model.LabelValue(addressOf(serveBody(b, textType, text)))})
			for range 3 {
				l.scrape(time.Now())
				require.NoError(b, l.target.LastError())
			}
			b.ReportAllocs()
			for b.Loop() {
				l.scrape(time.Now())
			}
		})
	}
}

// BenchmarkSink scrapes a kubelet of 30 pods of two containers over loopback: without a sink, and with one for what
// metrics.k8s.io needs. Nothing is stored.
func BenchmarkSink(b *testing.B) {
	var text strings.Builder
	for _, name := range []string{cpuName, memoryName, startName, "container_swap_usage_bytes", "container_swap_limit_bytes"} {
		fmt.Fprintf(&text, "# HELP %s [STABLE] Some help\n# TYPE %[1]s gauge\n", name)
		for i := range 60 {
			fmt.Fprintf(&text, "%s{container=\"c%d\",namespace=\"shop\",pod=\"web-6c7d8f9b5-%05d\"} 1.2345e+06 %d\n", name, i%2, i/2, time.Now().UnixMilli())
		}
	}
	for _, with := range []bool{false, true} {
		b.Run(map[bool]string{false: "without", true: "with"}[with], func(b *testing.B) {
			handed := 0
			s := sink.Sink{Wanted: wants(cpuName, memoryName, startName).Wanted, Scraped: func(_ labels.Labels, _ time.Time, samples []sink.Sample) { handed += len(samples) }}
			m := newManager(b, &nowhereAppendable{}, onDemand, func(o *Options) {
				if with {
					withSink(s)(o)
				}
			})
			l := testLoop(b, m, jobConfig("kubelets", slow), kubeletTarget(addressOf(serveBody(b, textType, text.String()))))
			for range 3 {
				l.scrape(time.Now())
				require.NoError(b, l.target.LastError())
			}
			require.Equal(b, with, handed == 3*180)
			b.ReportAllocs()
			for b.Loop() {
				l.scrape(time.Now())
			}
		})
	}
}

type nowhereAppendable struct{}

func (nowhereAppendable) AppenderV2(context.Context) storage.AppenderV2 { return &nowhere{} }
