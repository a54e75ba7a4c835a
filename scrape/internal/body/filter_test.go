package body

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"

	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/model/textparse"

	"github.com/promlet/promlet/scrape/internal/budget"
	"github.com/promlet/promlet/scrape/internal/names"
	"github.com/promlet/promlet/scrape/internal/reason"
)

const (
	textType = "text/plain; version=0.0.4; charset=utf-8"
	omType   = "application/openmetrics-text; version=1.0.0; charset=utf-8"
	pbType   = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
)

func unlimited() *budget.Loan { return testPools(0).memory.Loan("") }

// testFilter makes a filter that may take any memory.
func testFilter(src io.Reader, d *names.Decisions, limit int64) *filter {
	return testPools(0).filter(unlimited(), src, d, limit)
}

// unzipped returns the body of an exporter.
func unzipped(t testing.TB, name string) []byte {
	file, err := os.ReadFile(filepath.Join("..", "..", "testdata", name))
	require.NoError(t, err)
	z, err := gzip.NewReader(bytes.NewReader(file))
	require.NoError(t, err)
	body, err := io.ReadAll(z)
	require.NoError(t, err)
	return body
}

// decisionsOn are the decisions of a job whose targets expose the names of a body, some
// of which are wanted.
func decisionsOn(t testing.TB, body []byte, contentType string, wanted func(string) bool) *names.Decisions {
	table := names.NewTable(nil, true, names.NewDemand(wanted, nil, nil), new(atomic.Uint64), nil)
	p, err := textparse.New(body, contentType, nil, textparse.ParserOptions{})
	require.NoError(t, err)
	found := table.Decisions().Findings()
	for {
		entry, err := p.Next()
		if err != nil {
			break
		}
		var lset labels.Labels
		switch entry {
		case textparse.EntrySeries:
			text, _, _ := p.Series()
			p.Labels(&lset)
			if name, _, _ := bytes.Cut(text, []byte{'{'}); len(name) > 0 {
				found.Line(name)
				table.Number(lset, metadata.Metadata{})
			}
		case textparse.EntryType, textparse.EntryHelp, textparse.EntryUnit:
			found.Family(entryText(p, entry))
		}
	}
	table.Learn(found, nil, nil)
	return table.Decisions()
}

// wantedSamples are those of a body that are wanted, as the parser gives them, and
// the number of all.
func wantedSamples(body []byte, contentType string, wanted func(string) bool) (samples []string, n int, err error) {
	p, _ := textparse.New(body, contentType, nil, textparse.ParserOptions{})
	families := names.NewFamilies(nil)
	var family *names.Family
	for {
		entry, err := p.Next()
		if errors.Is(err, io.EOF) {
			return samples, n, nil
		}
		if err != nil {
			return samples, n, err
		}
		switch entry {
		case textparse.EntryType:
			family = families.SetType(p.Type())
		case textparse.EntrySeries:
			n++
			var lset labels.Labels
			text, ts, v := p.Series()
			p.Labels(&lset)
			if !wanted(lset.Get(model.MetricNameLabel)) {
				continue
			}
			s := fmt.Sprintf("%s %s %v", text, lset, v)
			if family != nil && family.Has(lset.Get(model.MetricNameLabel)) {
				s += " " + string(family.Metadata().Type)
			}
			if ts != nil {
				s += fmt.Sprint(" ", *ts)
			}
			samples = append(samples, s)
		}
	}
}

// passed is what the filter leaves of a body.
func passed(t testing.TB, f *filter) []byte {
	t.Helper()
	out, err := io.ReadAll(f)
	require.NoError(t, err)
	return out
}

func TestFilterSkipsWhatNobodyReads(t *testing.T) {
	body := []byte("# HELP a One \\\" thing.\n# TYPE a counter\na{x=\"1\"} 1\na 2\n" +
		"# HELP b Two.\nb{x=\"a 1\"} 3\n# a comment\n\nab 4\nb 5 1000\n# HELP h H.\n# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_sum 2\nh_count 1\n{\"a\"} 7\n a 8\na")
	f := func(wanted, want string, samples int) {
		t.Helper()
		d := decisionsOn(t, body, textType, func(name string) bool { return name == wanted })
		flt := testFilter(bytes.NewReader(body), d, 0)
		require.Equal(t, want, string(passed(t, flt)))
		require.Equal(t, samples, flt.skipped.Samples)
		require.Equal(t, samples, flt.skipped.Kept)
		require.EqualValues(t, len(body), flt.sent)
	}
	f("a", "# HELP a One \\\" thing.\n# TYPE a counter\na{x=\"1\"} 1\na 2\n# a comment\n\n# TYPE h histogram\n{\"a\"} 7\n a 8\na", 6)
	f("b", "# HELP b Two.\nb{x=\"a 1\"} 3\n# a comment\n\nb 5 1000\n# TYPE h histogram\n{\"a\"} 7\n a 8\na", 6)
	f("h_sum", "# a comment\n\n# HELP h H.\n# TYPE h histogram\nh_sum 2\n{\"a\"} 7\n a 8\na", 7)
	f("", "# a comment\n\n# TYPE h histogram\n{\"a\"} 7\n a 8\na", 8)
}

// The type that the parser has read last decides what le and quantile mean, whatever
// family it is of.
func TestFilterKeepsTypesRight(t *testing.T) {
	known := []byte("# TYPE a histogram\na{le=\"1\"} 1\n# TYPE b gauge\nb 2\n")
	d := decisionsOn(t, known, textType, func(name string) bool { return name == "b" })
	f := func(body, want string) {
		t.Helper()
		require.Equal(t, want, string(passed(t, testFilter(strings.NewReader(body), d, 0))))
	}
	f("# TYPE a histogram\na 1\n# TYPE b gauge\nb 2\n", "# TYPE b gauge\nb 2\n")
	f("# TYPE a histogram\na 1\nb 2\nb 3\n", "# TYPE a histogram\nb 2\nb 3\n")
	f("# TYPE new histogram\nnew 1\nb 2\n", "# TYPE new histogram\nnew 1\nb 2\n")
	f("# TYPE a gauge\na 1\nb 2\n", "b 2\n")
	f("# TYPE new histogram\n# TYPE a gauge\na 1\nb 2\nb 3\n", "# TYPE new histogram\n# TYPE a gauge\nb 2\nb 3\n")
	f("# TYPE a histogram\nb 2\n# TYPE a summary\nb 3", "# TYPE a histogram\nb 2\n# TYPE a summary\nb 3")
	f("# TYPE a odd\nb 2\n# TYPE a  gauge\n# TYPE a\n", "# TYPE a odd\nb 2\n# TYPE a  gauge\n# TYPE a\n")
}

// Everything is passed from where it is not sure where lines end.
func TestFilterGivesUp(t *testing.T) {
	const known = "a 1\nb 2\n"
	d := decisionsOn(t, []byte(known), textType, func(name string) bool { return name == "b" })
	for body, want := range map[string]string{
		// What is inside quotation marks is no line.
		"a{x=\"\nb 666\n\"} 1\nb 2\n":        "a{x=\"\nb 666\n\"} 1\nb 2\n",
		"a 1\nz{x=\"\na 666\n\"} 1\na 2\n":   "z{x=\"\na 666\n\"} 1\na 2\n",
		"a{x=\"\\\"\nb 666\n\"} 1\nb 2\n":    "a{x=\"\\\"\nb 666\n\"} 1\nb 2\n",
		"a{x=\"\\\\\"} 1\nb 2\n":             "b 2\n",
		"a{x=\"\\\"\\n\"} 1\nb 2\n":          "b 2\n",
		"a 1\nb 2\n\x00a 3\n":                "a 1\nb 2\n\x00a 3\n",
		"a\nb 2\n":                           "a\nb 2\n",
		"a\r\nb 2\n":                         "a\r\nb 2\n",
		"a}b 1\na:b 1\n<html>\n\xff\na\t1\n": "a}b 1\na:b 1\n<html>\n\xff\n",
		"":                                   "",
		"\n":                                 "\n",
		"#":                                  "#",
		"# HELP ":                            "# HELP ",
		"# HELP  a\n":                        "# HELP  a\n",
	} {
		require.Equal(t, want, string(passed(t, testFilter(strings.NewReader(body), d, 0))), body)
	}
}

// The body may come in pieces of any size and have lines of any length.
func TestFilterPieces(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	var body strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&body, "%c{x=\"%s\"} %d\n", 'a'+rune(rnd.IntN(4)), strings.Repeat("v", rnd.IntN(1<<rnd.IntN(12))), i)
	}
	wanted := func(name string) bool { return name == "b" || name == "d" }
	d := decisionsOn(t, []byte(body.String()), textType, wanted)
	want, n, err := wantedSamples([]byte(body.String()), textType, wanted)
	require.NoError(t, err)
	pool := testPools(0)
	for _, r := range []io.Reader{
		strings.NewReader(body.String()), iotest.OneByteReader(strings.NewReader(body.String())),
		iotest.HalfReader(strings.NewReader(body.String())), iotest.DataErrReader(strings.NewReader(body.String())),
	} {
		f := pool.filter(unlimited(), r, d, 0)
		got := passed(t, f)
		samples, kept, err := wantedSamples(got, textType, wanted)
		require.NoError(t, err)
		require.Equal(t, want, samples)
		require.Equal(t, n, kept+f.skipped.Samples)
		// Each line has the number that it has in the body.
		lines := strings.SplitAfter(body.String(), "\n")
		for at := 0; at < len(got); {
			line, _, _ := bytes.Cut(got[at:], []byte{'\n'})
			require.Equal(t, lines[f.skipped.lineOf(got, at)-1], string(line)+"\n")
			at += len(line) + 1
		}
		f.release()
	}
}

func TestFilterLimits(t *testing.T) {
	d := decisionsOn(t, []byte("a 1\nb 1\n"), textType, func(name string) bool { return name == "b" })
	pool := testPools(0)
	body := strings.Repeat("a 1\n", 1000)
	f := pool.filter(unlimited(), strings.NewReader(body), d, int64(len(body)+1))
	require.Empty(t, passed(t, f))
	// Skipped bytes count as well.
	_, err := io.ReadAll(pool.filter(unlimited(), strings.NewReader(body), d, int64(len(body))))
	require.Equal(t, "body_size", reason.LimitOf(err))

	long := "b 1\na{x=\"" + strings.Repeat("x", 3*maxToken) + "\"} 1\n"
	f = pool.filter(unlimited(), strings.NewReader(long), d, 0)
	_, err = io.ReadAll(f)
	require.ErrorContains(t, err, "line 2: longer than 1048576 bytes: \"a{x=")
	f.release()
	require.LessOrEqual(t, len(pool.filter(unlimited(), nil, d, 0).buf), filterChunk)

	broken := errors.New("broken")
	f = pool.filter(unlimited(), io.MultiReader(strings.NewReader("b 1\na 1\nb"), iotest.ErrReader(broken)), d, 0)
	got, err := io.ReadAll(f)
	require.ErrorIs(t, err, broken)
	require.Equal(t, "b 1\nb", string(got))
}

func TestFilterOfRealBodies(t *testing.T) {
	for file, contentType := range map[string]string{"kube-apiserver.txt.gz": textType, "node_exporter.txt.gz": textType, "node_exporter.openmetrics.gz": omType} {
		body := unzipped(t, file)
		for seed := range uint64(20) {
			wanted := func(name string) bool { return hashOf(name, seed)%10 == 0 }
			d := decisionsOn(t, body, contentType, wanted)
			want, n, err := wantedSamples(body, contentType, wanted)
			require.NoError(t, err)
			f := testFilter(bytes.NewReader(body), d, 0)
			got, kept, err := wantedSamples(passed(t, f), contentType, wanted)
			require.NoError(t, err)
			require.Equal(t, want, got)
			require.Equal(t, n, kept+f.skipped.Samples)
			require.Len(t, want, kept, "only what is wanted is passed")
		}
	}
}

// hashOf picks names at random, the same for the same seed.
func hashOf(name string, seed uint64) uint32 {
	return crc32.Update(uint32(seed), crc32.IEEETable, []byte(name)) //nolint:gosec // Any 32 bits will do.
}

// FuzzFilter compares what the filter leaves of a valid body with the whole: the wanted
// samples are the same, with the same values, times and types.
func FuzzFilter(f *testing.F) {
	for _, file := range []string{"kube-apiserver.txt.gz", "node_exporter.txt.gz", "node_exporter.openmetrics.gz"} {
		body := unzipped(f, file)
		f.Add(body[:min(len(body), 2<<10)], uint64(1), strings.Contains(file, "openmetrics"), uint8(7))
	}
	f.Add([]byte("a{x=\"\\\"\nb 1\n\"} 1\n# HELP a \"\nb 2\n# HELP b x\nb{y=\"\\\\\"} 3 4\n"), uint64(3), false, uint8(1))
	f.Add([]byte("# HELP \"a\" x\n{\"a\",b=\"\n\"} 1\n\x00a 2\n"), uint64(3), false, uint8(1))
	f.Add([]byte("# TYPE a histogram\na{le=\"1\"} 1\n# TYPE b summary\nb{quantile=\"1\"} 1\nc{le=\"1\",quantile=\"1\"} 1\n"), uint64(3), false, uint8(1))
	f.Add([]byte("# HELP \"a\nb{x=\"1\"} 1\nc{x=\"1\"} 5\n# TYPE z counter\n"), uint64(3), false, uint8(1))
	f.Add([]byte("a_total 1 # {x=\"a_total 2\"} 3 4\nb 1\n# EOF\n"), uint64(3), true, uint8(1))
	f.Fuzz(func(t *testing.T, body []byte, seed uint64, openMetrics bool, piece uint8) {
		contentType := textType
		if openMetrics {
			contentType = omType
		}
		wanted := func(name string) bool { return hashOf(name, seed)%3 == 0 }
		want, n, err := wantedSamples(bytes.Clone(body), contentType, wanted)
		if err != nil {
			return
		}
		d := decisionsOn(t, bytes.Clone(body), contentType, wanted)
		flt := testFilter(&smallReads{bytes.NewReader(body), int(piece)%100 + 1}, d, 0)
		passed := passed(t, flt)
		got, kept, err := wantedSamples(passed, contentType, wanted)
		require.NoError(t, err)
		require.Equal(t, want, got)
		require.Equal(t, n, kept+flt.skipped.Samples)
	})
}

// smallReads gives a few bytes at a time.
type smallReads struct {
	io.Reader
	n int
}

func (p *smallReads) Read(b []byte) (int, error) { return p.Reader.Read(b[:min(len(b), p.n)]) }

// Where every other line is wanted, the numbers of lines are known up to a bound.
func TestRunsAreBounded(t *testing.T) {
	d := decisionsOn(t, []byte("a 1\nb 1\n"), textType, func(name string) bool { return name == "b" })
	f := testFilter(strings.NewReader(strings.Repeat("a 1\nb 1\n", 3*maxRuns)), d, 0)
	text := passed(t, f)
	require.LessOrEqual(t, len(f.skipped.runs), maxRuns+1)
	require.Equal(t, 2, f.skipped.lineOf(text, 0))
	require.Equal(t, 200, f.skipped.lineOf(text, 99*len("b 1\n")))
	require.Zero(t, f.skipped.lineOf(text, len(text)-4))
}

// BenchmarkFilter is one body of which one name is wanted: one with many series of each name,
// and one with few.
func BenchmarkFilter(b *testing.B) {
	b.Run("many", func(b *testing.B) { benchmarkFilter(b, "kube-apiserver.txt.gz", "apiserver_request_total") })
	b.Run("few", func(b *testing.B) { benchmarkFilter(b, "node_exporter.txt.gz", "node_context_switches_total") })
}

func benchmarkFilter(b *testing.B, file, wanted string) {
	text := unzipped(b, file)
	d := decisionsOn(b, text, textType, func(name string) bool { return name == wanted })
	pool := testPools(0)
	samples := 0
	b.ReportAllocs()
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		f := pool.filter(unlimited(), bytes.NewReader(text), d, 0)
		if _, err := io.Copy(io.Discard, f); err != nil {
			b.Fatal(err)
		}
		samples = f.skipped.Samples
		f.release()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*samples), "ns/sample")
}
