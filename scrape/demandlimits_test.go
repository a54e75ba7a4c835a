package scrape

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/prometheus/prometheus/discovery/targetgroup"
)

// bodyLoop is a loop that scrapeBody is called on.
func bodyLoop(t *testing.T, d Demand, mutate ...func(*Options)) (*loop, *recorder) {
	r := &recorder{}
	m := newManager(t, r, mutate...)
	m.SetDemand(d)
	return testLoop(t, m, jobOf(t, ""), model.LabelSet{model.AddressLabel: "localhost:1"}), r
}

func storedNames(r *recorder) (names []string) {
	all := r.all()
	body, _ := split(all[len(all)-1])
	for _, s := range body {
		names = append(names, s.name())
	}
	return names
}

func catalogNames(l *loop) (names []string) {
	for _, m := range l.names.metrics("j", nil) {
		names = append(names, m.Name)
	}
	slices.Sort(names)
	return names
}

func TestCatalogWhileTargetsChange(t *testing.T) {
	m := newManager(t, &recorder{}, onDemand)
	cfg := jobConfig("j", slow)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				m.Catalog()
			}
		}
	}()
	for i := range 50 {
		g := &targetgroup.Group{Source: "x", Targets: []model.LabelSet{{model.AddressLabel: model.LabelValue(fmt.Sprintf("127.0.0.1:%d", 1+i%3))}}}
		require.NoError(t, m.Apply(one(cfg), groups("j", g)))
	}
	close(stop)
	<-done
}

// What has come of a body that breaks off tells nothing about what there is.
func TestBrokenOffScrape(t *testing.T) {
	n := 0
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", textType)
		body := "a 1\nb 2\nc 3\nd 4\n"
		if n++; n == 4 {
			w.Header().Set("Content-Length", "1000")
			body = "a 1\nc 2\n"
		}
		_, _ = w.Write([]byte(body))
	})
	r := &recorder{}
	m := newManager(t, r, onDemand)
	m.SetDemand(wants("b"))
	l := testLoop(t, m, jobOf(t, ""), model.LabelSet{model.AddressLabel: model.LabelValue(addressOf(s))})
	for i := range 4 {
		l.scrape(time.Now().Add(time.Duration(i) * time.Second))
		require.Equal(t, []string{"a", "b", "c", "d"}, catalogNames(l))
	}
	body, report := r.last(t)
	require.Equal(t, []string{`{__name__="b"} stale`}, values(body))
	require.Zero(t, report["up"])
	require.Zero(t, report["scrape_samples_scraped"])
	require.Len(t, l.cache.index, 1)
}

// A name in quotation marks may go on in the next line, which then is none.
func TestQuotedNameOverLines(t *testing.T) {
	l, r := bodyLoop(t, wants("c"), onDemand)
	at := time.Now()
	for i, body := range []string{"b{x=\"1\"} 1\nc{x=\"1\"} 5\n", "# HELP \"a\nb{x=\"1\"} 1\nc{x=\"1\"} 5\n# TYPE z counter\n"} {
		require.NoError(t, l.scrapeBody(t, []byte(body), textType, at.Add(time.Duration(i)*time.Second)))
		samples, _ := r.last(t)
		require.Equal(t, []string{`{__name__="c", x="1"} 5`}, values(samples))
	}
}

// In a body that is parsed whole, a series whose name is not remembered is judged by its own
// name, not by that of the series before.
func TestNamesBeyondTheTable(t *testing.T) {
	l, r := bodyLoop(t, wants("wanted", "late"), onDemand, func(o *Options) { o.ParseStartTimestamps = true })
	l.names.full, l.names.forgot = true, time.Now()
	const body = "wanted 1\nunread 2\nwanted 3\nlate 4\nunread 5\n# EOF\n"
	for n := range 3 {
		l.names.full = true
		require.NoError(t, l.scrapeBody(t, []byte(strings.Replace(body, "wanted 3\n", "", 1)), omType, time.Now().Add(time.Duration(n)*time.Second)))
		require.Equal(t, []string{"wanted", "late"}, storedNames(r))
	}
}

// However many names come and go beside it, what is wanted of a target that fails
// now and then stays wanted.
func TestNumbersOfNamesChangeHands(t *testing.T) {
	r := &recorder{}
	m := newManager(t, r, onDemand)
	m.SetDemand(wants("wanted"))
	g := &targetgroup.Group{Source: "test", Targets: []model.LabelSet{{model.AddressLabel: "localhost:1"}, {model.AddressLabel: "localhost:2"}}}
	p, err := m.planJob(nil, jobOf(t, ""), []*targetgroup.Group{g})
	require.NoError(t, err)
	j := &job{loops: map[uint64]*loop{}}
	j.adopt(p)
	good, churning := m.newLoop(j, p.settings, p.made[g].candidates[0]), m.newLoop(j, p.settings, p.made[g].candidates[1])
	at := time.Now()
	require.Error(t, good.scrapeBody(t, []byte("wanted 1\n!!!\n"), textType, at))
	for n := range 2 {
		var b bytes.Buffer
		for i := range maxNames + 1000 {
			fmt.Fprintf(&b, "x%d_%d 1\n", n, i)
		}
		good.names.forgot = time.Time{}
		require.NoError(t, churning.scrapeBody(t, b.Bytes(), textType, at.Add(time.Duration(n+1)*time.Second)))
	}
	require.NotZero(t, good.names.generation.Load())
	for n := range 3 {
		require.NoError(t, good.scrapeBody(t, []byte("wanted 1\n"), textType, at.Add(time.Duration(n+10)*time.Second)))
		require.Equal(t, []string{"wanted"}, storedNames(r))
	}
	for i := range good.names.entries {
		require.GreaterOrEqual(t, good.names.entries[i].series, 0)
	}
}

// With everything stored the catalog follows what there is as well.
func TestCatalogForgets(t *testing.T) {
	l, _ := bodyLoop(t, Demand{})
	at := time.Now()
	var b bytes.Buffer
	for i := range maxNames + 100 {
		fmt.Fprintf(&b, "x%d 1\n", i)
	}
	require.NoError(t, l.scrapeBody(t, b.Bytes(), textType, at))
	l.names.forgot = time.Time{}
	for n := range 3 {
		body := fmt.Sprintf("c 1\nd%d 1\n", n)
		require.NoError(t, l.scrapeBody(t, []byte(body), textType, at.Add(time.Duration(n+1)*time.Second)))
	}
	require.Equal(t, []string{"c", "d2"}, catalogNames(l))
}

// Of texts without end no more is kept than is reasonable.
func TestNamesAreBounded(t *testing.T) {
	l, _ := bodyLoop(t, wants("c"), onDemand)
	for n := range 3 {
		var b bytes.Buffer
		for i := range 4 {
			fmt.Fprintf(&b, "# TYPE a%d_%d_%s counter\n", n, i, strings.Repeat("x", maxToken-100))
		}
		for i := range 3000 {
			fmt.Fprintf(&b, "# HELP b%d_%d %s\nb%d_%d 1\n", n, i, strings.Repeat("h", 900), n, i)
		}
		require.NoError(t, l.scrapeBody(t, b.Bytes(), textType, time.Now().Add(time.Duration(n)*time.Second)))
		require.LessOrEqual(t, l.names.bytes, maxNameBytes)
		kept := 0
		for name := range l.names.fams {
			kept += len(name)
		}
		for name := range l.names.lines {
			kept += len(name)
		}
		for i := range l.names.entries {
			if e := &l.names.entries[i]; e.used() {
				kept += e.size()
			}
		}
		require.LessOrEqual(t, kept, maxNameBytes)
	}
}

// Lines of a body in which every other one is wanted are told up to a number.
func TestRunsAreBounded(t *testing.T) {
	v := viewOf(t, []byte("a 1\nb 1\n"), textType, func(name string) bool { return name == "b" })
	f := (&filters{}).over(strings.NewReader(strings.Repeat("a 1\nb 1\n", 3*maxRuns)), v, 0)
	text := passed(t, f)
	require.LessOrEqual(t, len(f.runs), maxRuns+1)
	require.Equal(t, 2, f.lineOf(text, 0))
	require.Equal(t, 200, f.lineOf(text, 99*len("b 1\n")))
	require.Zero(t, f.lineOf(text, len(text)-4))
}

// Series of protobuf bodies are no lines, and spaces no part of a name.
func TestWhatLinesBeginWith(t *testing.T) {
	l, _ := bodyLoop(t, wants("things_total"), onDemand)
	require.NoError(t, l.scrapeBody(t, []byte(protobuf(1)[0].body), pbType, time.Now()))
	require.Empty(t, l.names.lines)
	require.NoError(t, l.scrapeBody(t, []byte("a {x=\"1\"} 1\nb\t2\n"), textType, time.Now().Add(time.Second)))
	require.Contains(t, l.names.lines, "a")
	require.Contains(t, l.names.lines, "b")
	require.Len(t, l.names.lines, 2)
}
