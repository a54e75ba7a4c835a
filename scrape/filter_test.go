package scrape

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
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
)

// viewOf is the view of a job whose targets expose the names of a body, some of
// which are wanted.
func viewOf(t testing.TB, body []byte, contentType string, wanted func(string) bool) *view {
	n := newNames(nil, true, newDemand(Demand{Wanted: wanted}, nil), new(atomic.Uint64))
	p, err := textparse.New(body, contentType, nil, textparse.ParserOptions{})
	require.NoError(t, err)
	l := lesson{lines: map[string]fate{}, families: map[string]struct{}{}}
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
				l.lines[string(name)] = fateOf(string(name), nil)
				n.number(lset, metadata.Metadata{})
			}
		case textparse.EntryType, textparse.EntryHelp, textparse.EntryUnit:
			l.families[string(entryName(p, entry))] = struct{}{}
		}
	}
	n.learn(l, nil, nil, 0)
	return n.current.Load()
}

func entryName(p textparse.Parser, entry textparse.Entry) (name []byte) {
	switch entry {
	case textparse.EntryType:
		name, _ = p.Type()
	case textparse.EntryHelp:
		name, _ = p.Help()
	default:
		name, _ = p.Unit()
	}
	return name
}

// wantedSamples are those of a body that are wanted, as the parser gives them, and
// the number of all.
func wantedSamples(body []byte, contentType string, wanted func(string) bool) (samples []string, n int, err error) {
	p, _ := textparse.New(body, contentType, nil, textparse.ParserOptions{})
	var fam string
	var famType model.MetricType
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
			name, typ := p.Type()
			fam, famType = string(name), typ
		case textparse.EntrySeries:
			n++
			var lset labels.Labels
			text, ts, v := p.Series()
			p.Labels(&lset)
			if !wanted(lset.Get(model.MetricNameLabel)) {
				continue
			}
			s := fmt.Sprintf("%s %s %v", text, lset, v)
			if inFamily(lset.Get(model.MetricNameLabel), fam, famType) {
				s += " " + string(famType)
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
		v := viewOf(t, body, textType, func(name string) bool { return name == wanted })
		flt := (&filters{}).over(bytes.NewReader(body), v, 0)
		require.Equal(t, want, string(passed(t, flt)))
		require.Equal(t, samples, flt.samples)
		require.Equal(t, samples, flt.kept)
		require.EqualValues(t, len(body), flt.bytes)
	}
	f("a", "# HELP a One \\\" thing.\n# TYPE a counter\na{x=\"1\"} 1\na 2\n# a comment\n\n# TYPE h histogram\n{\"a\"} 7\n a 8\na", 6)
	f("b", "# HELP b Two.\nb{x=\"a 1\"} 3\n# a comment\n\nb 5 1000\n# TYPE h histogram\n{\"a\"} 7\n a 8\na", 6)
	f("h_sum", "# a comment\n\n# HELP h H.\n# TYPE h histogram\nh_sum 2\n{\"a\"} 7\n a 8\na", 7)
	f("", "# a comment\n\n# TYPE h histogram\n{\"a\"} 7\n a 8\na", 8)
}

// The type that the parser has read last decides what le and quantile mean, whosever
// type it is.
func TestFilterKeepsTypesRight(t *testing.T) {
	known := []byte("# TYPE a histogram\na{le=\"1\"} 1\n# TYPE b gauge\nb 2\n")
	v := viewOf(t, known, textType, func(name string) bool { return name == "b" })
	f := func(body, want string) {
		t.Helper()
		require.Equal(t, want, string(passed(t, (&filters{}).over(strings.NewReader(body), v, 0))))
	}
	f("# TYPE a histogram\na 1\n# TYPE b gauge\nb 2\n", "# TYPE b gauge\nb 2\n")
	f("# TYPE a histogram\na 1\nb 2\nb 3\n", "# TYPE a histogram\nb 2\nb 3\n")
	f("# TYPE new histogram\nnew 1\nb 2\n", "# TYPE new histogram\nnew 1\nb 2\n")
	f("# TYPE a gauge\na 1\nb 2\n", "b 2\n")
	f("# TYPE new histogram\n# TYPE a gauge\na 1\nb 2\nb 3\n", "# TYPE new histogram\n# TYPE a gauge\nb 2\nb 3\n")
	f("# TYPE a histogram\nb 2\n# TYPE a summary\nb 3", "# TYPE a histogram\nb 2\n# TYPE a summary\nb 3")
	f("# TYPE a odd\nb 2\n# TYPE a  gauge\n# TYPE a\n", "# TYPE a odd\nb 2\n# TYPE a  gauge\n# TYPE a\n")
}

// From where lines cannot be told apart all is passed.
func TestFilterGivesUp(t *testing.T) {
	const known = "a 1\nb 2\n"
	v := viewOf(t, []byte(known), textType, func(name string) bool { return name == "b" })
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
		require.Equal(t, want, string(passed(t, (&filters{}).over(strings.NewReader(body), v, 0))), body)
	}
}

// However the body comes, in pieces of any size and with lines of any length.
func TestFilterPieces(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	var body strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&body, "%c{x=\"%s\"} %d\n", 'a'+rune(rnd.IntN(4)), strings.Repeat("v", rnd.IntN(1<<rnd.IntN(12))), i)
	}
	wanted := func(name string) bool { return name == "b" || name == "d" }
	v := viewOf(t, []byte(body.String()), textType, wanted)
	want, n, err := wantedSamples([]byte(body.String()), textType, wanted)
	require.NoError(t, err)
	pool := &filters{}
	for _, r := range []io.Reader{
		strings.NewReader(body.String()), iotest.OneByteReader(strings.NewReader(body.String())),
		iotest.HalfReader(strings.NewReader(body.String())), iotest.DataErrReader(strings.NewReader(body.String())),
	} {
		f := pool.over(r, v, 0)
		got := passed(t, f)
		samples, kept, err := wantedSamples(got, textType, wanted)
		require.NoError(t, err)
		require.Equal(t, want, samples)
		require.Equal(t, n, kept+f.samples)
		// Each line is the one of the body that it says it is.
		lines := strings.SplitAfter(body.String(), "\n")
		for at := 0; at < len(got); {
			line, _, _ := bytes.Cut(got[at:], []byte{'\n'})
			require.Equal(t, lines[f.lineOf(got, at)-1], string(line)+"\n")
			at += len(line) + 1
		}
		pool.put(f)
	}
}

func TestFilterLimits(t *testing.T) {
	v := viewOf(t, []byte("a 1\nb 1\n"), textType, func(name string) bool { return name == "b" })
	pool := &filters{}
	body := strings.Repeat("a 1\n", 1000)
	f := pool.over(strings.NewReader(body), v, int64(len(body)+1))
	require.Empty(t, passed(t, f))
	// It counts what is skipped as well.
	_, err := io.ReadAll(pool.over(strings.NewReader(body), v, int64(len(body))))
	require.Equal(t, "body_size", limitOf(err))

	long := "b 1\na{x=\"" + strings.Repeat("x", 3*maxToken) + "\"} 1\n"
	f = pool.over(strings.NewReader(long), v, 0)
	_, err = io.ReadAll(f)
	require.ErrorContains(t, err, "line 2: longer than 1048576 bytes: \"a{x=")
	pool.put(f)
	require.LessOrEqual(t, len(pool.over(nil, v, 0).buf), filterChunk)

	broken := errors.New("broken")
	f = pool.over(io.MultiReader(strings.NewReader("b 1\na 1\nb"), iotest.ErrReader(broken)), v, 0)
	got, err := io.ReadAll(f)
	require.ErrorIs(t, err, broken)
	require.Equal(t, "b 1\nb", string(got))
}

func TestFilterOfRealBodies(t *testing.T) {
	for file, contentType := range map[string]string{"kube-apiserver.txt.gz": textType, "node_exporter.txt.gz": textType, "node_exporter.openmetrics.gz": omType} {
		body := unzipped(t, filepath.Join("testdata", file))
		for seed := range uint64(20) {
			wanted := func(name string) bool { return hashOf(name, seed)%10 == 0 }
			v := viewOf(t, body, contentType, wanted)
			want, n, err := wantedSamples(body, contentType, wanted)
			require.NoError(t, err)
			f := (&filters{}).over(bytes.NewReader(body), v, 0)
			got, kept, err := wantedSamples(passed(t, f), contentType, wanted)
			require.NoError(t, err)
			require.Equal(t, want, got)
			require.Equal(t, n, kept+f.samples)
			require.Len(t, want, kept, "nothing is passed but what is wanted")
		}
	}
}

func hashOf(s string, seed uint64) uint64 {
	h := seed*2654435761 + 1
	for _, c := range []byte(s) {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return h >> 7
}

// FuzzFilter holds what the filter leaves of a body against the whole: if that is
// well, the same samples are wanted, with the same values, times and types.
func FuzzFilter(f *testing.F) {
	for _, file := range []string{"kube-apiserver.txt.gz", "node_exporter.txt.gz", "node_exporter.openmetrics.gz"} {
		body := unzipped(f, filepath.Join("testdata", file))
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
		v := viewOf(t, bytes.Clone(body), contentType, wanted)
		flt := (&filters{}).over(&smallReads{bytes.NewReader(body), int(piece)%100 + 1}, v, 0)
		passed := passed(t, flt)
		got, kept, err := wantedSamples(passed, contentType, wanted)
		require.NoError(t, err)
		require.Equal(t, want, got)
		require.Equal(t, n, kept+flt.samples)
	})
}

// smallReads gives a few bytes at a time.
type smallReads struct {
	io.Reader
	n int
}

func (p *smallReads) Read(b []byte) (int, error) { return p.Reader.Read(b[:min(len(b), p.n)]) }
