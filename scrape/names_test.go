package scrape

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"

	"github.com/promlet/promlet/scrape/internal/names"
)

// bodyLoop is a loop to call scrapeBody on.
func bodyLoop(t *testing.T, d Demand, mutate ...func(*Options)) (*loop, *recorder) {
	r := &recorder{}
	m := newManager(t, r, mutate...)
	require.NoError(t, m.SetDemand(context.Background(), d))
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
	for _, m := range metricsOf("j", l.settings, nil) {
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

// The beginning of a body that breaks off does not say what is gone.
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
	require.NoError(t, m.SetDemand(context.Background(), wants("b")))
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

// A name in quotation marks may go on in the next line, which is then no line of its own.
func TestQuotedNameOverLines(t *testing.T) {
	l, r := bodyLoop(t, wants("c"), onDemand)
	at := time.Now()
	for i, body := range []string{"b{x=\"1\"} 1\nc{x=\"1\"} 5\n", "# HELP \"a\nb{x=\"1\"} 1\nc{x=\"1\"} 5\n# TYPE z counter\n"} {
		require.NoError(t, l.scrapeBody(t, []byte(body), textType, at.Add(time.Duration(i)*time.Second)))
		samples, _ := r.last(t)
		require.Equal(t, []string{`{__name__="c", x="1"} 5`}, values(samples))
	}
}

// tableSize is how many names a names.Table remembers at most.
const tableSize = 20_000

// manyNames is a body of n series, each of another name.
func manyNames(prefix string, n int) []byte {
	var b bytes.Buffer
	for i := range n {
		fmt.Fprintf(&b, "%s%d 1\n", prefix, i)
	}
	return b.Bytes()
}

// In a body that is parsed whole, the need of a series whose name is not remembered follows
// from its own name, not from that of the series before.
func TestNamesBeyondTheTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, r := bodyLoop(t, wants("wanted", "late"), onDemand, func(o *Options) { o.ParseStartTimestamps, o.NameMemory = true, -1 })
		require.NoError(t, l.scrapeBody(t, append(manyNames("x", tableSize+1), "# EOF\n"...), omType, time.Now()))
		for n := range 3 {
			at := time.Now().Add(time.Duration(n+1) * time.Second)
			require.NoError(t, l.scrapeBody(t, []byte("wanted 1\nunread 2\nlate 4\nunread 5\n# EOF\n"), omType, at))
			require.Equal(t, []string{"wanted", "late"}, storedNames(r))
			number := l.settings.names.Number(labels.FromStrings(model.MetricNameLabel, "late"), metadata.Metadata{})
			require.EqualValues(t, names.NoName, number)
		}
	})
}

// However many names come and go in other targets, what is wanted of a target that fails
// now and then stays wanted.
func TestNumbersOfNamesAreReused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{}
		m := newManager(t, r, onDemand)
		require.NoError(t, m.SetDemand(context.Background(), wants("wanted")))
		g := &targetgroup.Group{Source: "test", Targets: []model.LabelSet{{model.AddressLabel: "localhost:1"}, {model.AddressLabel: "localhost:2"}}}
		p, err := m.planJob(nil, jobOf(t, ""), []*targetgroup.Group{g})
		require.NoError(t, err)
		j := &job{loops: map[uint64]*loop{}}
		j.adopt(p)
		good, churning := m.newLoop(j, p.settings, p.made[g].targets[0]), m.newLoop(j, p.settings, p.made[g].targets[1])
		require.Error(t, good.scrapeBody(t, []byte("wanted 1\n!!!\n"), textType, time.Now()))
		for n := range 2 {
			time.Sleep(time.Minute)
			require.NoError(t, churning.scrapeBody(t, manyNames(fmt.Sprintf("x%d_", n), tableSize+1000), textType, time.Now()))
		}
		require.NotZero(t, p.settings.names.Decisions().Generation)
		for n := range 3 {
			require.NoError(t, good.scrapeBody(t, []byte("wanted 1\n"), textType, time.Now().Add(time.Duration(n+1)*time.Second)))
			require.Equal(t, []string{"wanted"}, storedNames(r))
		}
		p.settings.names.Exposed(func(e *names.Entry) { require.Positive(t, e.Series) })
	})
}

// With everything stored the catalog follows what targets expose as well.
func TestCatalogForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _ := bodyLoop(t, Demand{})
		require.NoError(t, l.scrapeBody(t, manyNames("x", tableSize+100), textType, time.Now()))
		time.Sleep(time.Minute)
		for n := range 3 {
			body := fmt.Sprintf("c 1\nd%d 1\n", n)
			require.NoError(t, l.scrapeBody(t, []byte(body), textType, time.Now().Add(time.Duration(n+1)*time.Second)))
		}
		require.Equal(t, []string{"c", "d2"}, catalogNames(l))
	})
}

// A target that exposes new names on each scrape fills neither the catalog nor the cache.
func TestNewNamesOnEachScrape(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _ := bodyLoop(t, Demand{}, onDemand)
		for n := range 8 {
			require.NoError(t, l.scrapeBody(t, manyNames(fmt.Sprintf("x%d_", n), 5000), textType, time.Now()))
			require.Empty(t, l.cache.dropped)
			require.LessOrEqual(t, len(catalogNames(l)), 5000)
			time.Sleep(time.Minute)
		}
	})
}

// The series of protobuf bodies are not lines, and blanks are not part of a name.
func TestNamesOfLines(t *testing.T) {
	l, _ := bodyLoop(t, wants("things_total"), onDemand)
	decided := func(name string) bool {
		_, ok := l.settings.names.Decisions().Line([]byte(name))
		return ok
	}
	require.NoError(t, l.scrapeBody(t, []byte(protobuf(1)[0].body), pbType, time.Now()))
	for _, name := range []string{"things_total", "sizes", "waits"} {
		require.False(t, decided(name), name)
	}
	require.NoError(t, l.scrapeBody(t, []byte("a {x=\"1\"} 1\nb\t2\n"), textType, time.Now().Add(time.Second)))
	for _, name := range []string{"a", "b"} {
		require.True(t, decided(name), name)
		require.False(t, decided(name+" "), name)
		require.False(t, decided(name+"\t"), name)
	}
}
