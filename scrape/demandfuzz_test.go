package scrape

import (
	"bytes"
	"context"
	"hash/crc32"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/prometheus/prometheus/model/metadata"
)

// scrapeBody scrapes a body without a server.
func (l *loop) scrapeBody(t *testing.T, body []byte, contentType string, at time.Time) error {
	decisions := l.settings.names.Decisions()
	l.demand = decisions.Demand
	if !l.filters() {
		decisions = nil
	}
	got, err := l.settings.fetcher.Read(t.Context(), bytes.NewReader(body), contentType, 0, decisions)
	defer got.Release()
	c, app, err := l.store(got, at, time.Now().Add(time.Hour), err)
	require.NoError(t, l.commit(app, at, 0, c, err))
	return err
}

// FuzzOnDemand scrapes two bodies alternately, with everything stored and on demand. As long
// as they are valid, the wanted series are stored the same, with the same markers, and
// the counts of samples are the same.
func FuzzOnDemand(f *testing.F) {
	for _, file := range []string{"kube-apiserver.txt.gz", "node_exporter.txt.gz", "node_exporter.openmetrics.gz"} {
		body := unzipped(f, filepath.Join("testdata", file))
		at := bytes.LastIndexByte(body[:2000], '\n') + 1
		end := bytes.LastIndexByte(body[:3000], '\n') + 1
		om := strings.Contains(file, "openmetrics")
		a, b := body[:at], body[:end]
		if om {
			a, b = append(slices.Clone(a), "# EOF\n"...), append(slices.Clone(b), "# EOF\n"...)
		}
		f.Add(a, b, uint64(1), om, false)
	}
	f.Add([]byte("a 1\nb 2\na{x=\"1\"} 3 4000\n"), []byte("b 1\n{\"a\"} 2\na 3\na 3\n"), uint64(2), false, true)
	f.Add([]byte("b{x=\"1\"} 1\na{x=\"1\"} 5\n"), []byte("# HELP \"a\nb{x=\"1\"} 1\na{x=\"1\"} 5\n# TYPE z counter\n"), uint64(2), false, false)
	f.Add([]byte("# TYPE a histogram\na_bucket{le=\"1\"} 1\nb{le=\"1\"} 2\n"), []byte("# TYPE b summary\nb{quantile=\"1\"} 1\nc{quantile=\"1\"} 3\n"), uint64(2), false, false)
	f.Fuzz(func(t *testing.T, first, second []byte, seed uint64, openMetrics, renaming bool) {
		contentType := textType
		if openMetrics {
			contentType = omType
		}
		job := ""
		if renaming {
			job = "metric_relabel_configs: [{source_labels: [x], regex: '1', replacement: 'a', target_label: __name__}, {source_labels: [__name__], regex: 'b(.*)', replacement: 'c$1', target_label: __name__}]"
		}
		cfg := jobOf(t, job)
		wanted := func(name string) bool {
			return name == "a" || crc32.Update(uint32(seed), crc32.IEEETable, []byte(name))%3 == 0 //nolint:gosec // Any 32 bits will do.
		}
		var loops [2]*loop
		var recorders [2]*recorder
		for i, mutate := range []func(*Options){noMutation, onDemand} {
			recorders[i] = &recorder{}
			m := newManager(t, recorders[i], mutate)
			require.NoError(t, m.SetDemand(context.Background(), Demand{Wanted: func(name string) bool { return isReport(name) || wanted(name) }}))
			loops[i] = testLoop(t, m, cfg, model.LabelSet{model.AddressLabel: "localhost:1"})
		}
		start := time.Now()
		for i, body := range [][]byte{first, second, first, second} {
			at := start.Add(time.Duration(i) * time.Second)
			if loops[0].scrapeBody(t, slices.Clone(body), contentType, at) != nil {
				return
			}
			require.NoError(t, loops[1].scrapeBody(t, slices.Clone(body), contentType, at))
			require.Equal(t, wantedOf(recorders[0], wanted), wantedOf(recorders[1], wanted))
		}
	})
}

// wantedOf are the wanted samples of the last scrape, and how many there were.
func wantedOf(r *recorder, wanted func(string) bool) (out []string) {
	all := r.all()
	for _, s := range all[len(all)-1] {
		if count := s.name() == "scrape_samples_scraped" || s.name() == "scrape_samples_post_metric_relabeling"; !count && (isReport(s.name()) || !wanted(s.name())) {
			continue
		}
		// The metadata of a series depends on all lines before it.
		s.ref, s.family, s.meta = 0, "", metadata.Metadata{}
		out = append(out, s.String())
	}
	slices.Sort(out)
	return out
}
