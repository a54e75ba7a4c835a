package scrape

import (
	"context"
	"encoding/binary"
	"hash/crc32"
	"net"
	"net/http"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/prometheus/client_golang/prometheus"
	config_util "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	promscrape "github.com/prometheus/prometheus/scrape"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/test/bufconn"

	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/targetgroup"
)

// The comparison runs on the clock of a bubble, which stands still while any goroutine
// works: scrapes take only the time that the answers take, and two runs are the same to
// the nanosecond.
const (
	stepEvery   = 10 * time.Second // the scrape interval
	stepTimeout = 5 * time.Second
	stepSeen    = 7 * time.Second // from a step's beginning until its result is read
	// setupTime is for the scrapes of new targets before their scheduled times. Until
	// then the server fails.
	setupTime = 20*time.Second + time.Nanosecond
	// setupScrapes is how many scheduled scrapes there are within setupTime, so that
	// the storage knows the time.
	setupScrapes = 1
)

// answer is what the target answers one scrape with.
type answer struct {
	status      int    // 0 is 200
	contentType string // "" is textType, "-" is none
	body        string // @-30s@ stands for the time 30 s before the first scrape's interval, in ms or, in OpenMetrics, s
	gzip        bool
	encoding    string                                       // Content-Encoding, if not that of gzip
	cut         int                                          // bytes of the encoded body that are not sent
	hang        bool                                         // instead of sending them
	handler     func(w http.ResponseWriter, r *http.Request) // instead of all of these
}

func text(bodies ...string) []answer { return typedAnswers("", bodies) }

func om(bodies ...string) []answer {
	for i := range bodies {
		bodies[i] += "# EOF\n"
	}
	return typedAnswers(omType, bodies)
}

func typedAnswers(contentType string, bodies []string) []answer {
	out := make([]answer, 0, len(bodies))
	for _, b := range bodies {
		out = append(out, answer{body: b, contentType: contentType})
	}
	return out
}

var placeholder = regexp.MustCompile(`@([+-][0-9a-z.]+)@`)

// at fills in the times.
func (a answer) at(base time.Time) string {
	if !strings.Contains(a.body, "@") {
		return a.body
	}
	return placeholder.ReplaceAllStringFunc(a.body, func(s string) string {
		d, err := time.ParseDuration(strings.Trim(s, "@"))
		if err != nil {
			return s
		}
		if a.contentType == omType {
			return strconv.FormatFloat(float64(base.Add(d).UnixMilli())/1000, 'f', 3, 64)
		}
		return strconv.FormatInt(base.Add(d).UnixMilli(), 10)
	})
}

// gzipStored is gzip without compression, which is quick.
func gzipStored(b []byte) []byte {
	out := []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255}
	for rest, last := b, false; !last; {
		n := min(len(rest), 1<<15)
		last = n == len(rest)
		header := []byte{0, byte(n), byte(n >> 8), ^byte(n), ^byte(n >> 8)}
		if last {
			header[0] = 1
		}
		out = append(append(out, header...), rest[:n]...)
		rest = rest[n:]
	}
	out = binary.LittleEndian.AppendUint32(out, crc32.ChecksumIEEE(b))
	return binary.LittleEndian.AppendUint32(out, uint32(len(b))) //nolint:gosec // Modulo 2^32 by definition.
}

// serve sends the answer. With quick, gzip does not compress.
func (a answer) serve(t testing.TB, w http.ResponseWriter, r *http.Request, base time.Time, quick bool) {
	if a.handler != nil {
		a.handler(w, r)
		return
	}
	switch a.contentType {
	case "":
		w.Header().Set("Content-Type", textType)
	case "-":
		w.Header()["Content-Type"] = nil
	default:
		w.Header().Set("Content-Type", a.contentType)
	}
	body := []byte(a.at(base))
	if a.gzip {
		w.Header().Set("Content-Encoding", "gzip")
		if quick {
			body = gzipStored(body)
		} else {
			body = gzipped(t, string(body))
		}
	}
	if a.encoding != "" {
		w.Header().Set("Content-Encoding", a.encoding)
	}
	if a.cut > 0 {
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		body = body[:max(len(body)-a.cut, 0)]
	}
	if a.status != 0 {
		w.WriteHeader(a.status)
	}
	_, _ = w.Write(body)
	if a.hang && a.cut > 0 {
		_ = http.NewResponseController(w).Flush()
		select {
		case <-r.Context().Done():
		case <-time.After(stepSeen): // The client may have read all that it needs.
		}
	}
}

// answerServer is the target: it serves one answer per scrape, each for the interval
// around its scrape, the last one for ever.
type answerServer struct {
	t       testing.TB
	answers []answer
	quick   bool
	opens   time.Time
	first   chan time.Time // receives the beginning of the first step

	mu    sync.Mutex
	begun time.Time
}

func (s *answerServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	now := time.Now()
	if now.Before(s.opens) {
		http.Error(w, "not ready yet", http.StatusServiceUnavailable)
		return
	}
	s.mu.Lock()
	if s.begun.IsZero() {
		s.begun = now
		s.first <- now
	}
	n := int((now.Sub(s.begun) + stepEvery/2) / stepEvery)
	s.mu.Unlock()
	s.answers[min(n, len(s.answers)-1)].serve(s.t, w, r, s.opens, s.quick)
}

// scraper is Prometheus' or ours.
type scraper struct {
	configure func(cfg *config.Config) // to be followed by start
	start     func(groups map[string][]*targetgroup.Group)
	// targets are those of job j.
	targets func() []*promscrape.Target
	stop    func()
}

type newScraper func(t *testing.T, d difference, cfg *config.Config, r *recorder, opts ...config_util.HTTPClientOption) scraper

func newOurs(t *testing.T, d difference, cfg *config.Config, r *recorder, opts ...config_util.HTTPClientOption) scraper {
	m, err := NewManager(Options{
		Appendable: r, ParseStartTimestamps: d.parseST, HTTPClientOptions: opts, Compression: true,
		// With these nothing differs from Prometheus.
		BodySizeLimit: -1, SampleLimit: -1, LabelLimit: -1, LabelNameLengthLimit: -1,
		LabelValueLengthLimit: -1, BucketLimit: -1, ScrapeMemory: -1,
	})
	require.NoError(t, err)
	return scraper{
		configure: func(c *config.Config) { cfg = c },
		start: func(g map[string][]*targetgroup.Group) {
			// Prometheus only logs errors of targets.
			_ = m.Apply(cfg.ScrapeConfigs, g)
		},
		targets: func() []*promscrape.Target { return m.TargetsActive()["j"] },
		stop:    m.Stop,
	}
}

func newTheirs(t *testing.T, d difference, cfg *config.Config, r *recorder, opts ...config_util.HTTPClientOption) scraper {
	o := &promscrape.Options{
		AppendMetadata: true, ParseST: d.parseST, HTTPClientOptions: opts,
		DiscoveryReloadOnStartup: true, DiscoveryReloadInterval: model.Duration(d.reload),
	}
	withoutOffset(t, o)
	m, err := promscrape.NewManager(o, nil, nil, nil, r, prometheus.NewRegistry())
	require.NoError(t, err)
	require.NoError(t, m.ApplyConfig(cfg))
	sets := make(chan map[string][]*targetgroup.Group)
	done := make(chan error)
	go func() { done <- m.Run(sets) }()
	return scraper{
		configure: func(c *config.Config) { require.NoError(t, m.ApplyConfig(c)) },
		start:     func(g map[string][]*targetgroup.Group) { sets <- g },
		targets:   func() []*promscrape.Target { return m.TargetsActive()["j"] },
		stop: func() {
			m.Stop()
			close(sets)
			require.NoError(t, <-done)
		},
	}
}

// withoutOffset makes Prometheus' manager scrape targets as soon as it has them.
// Its own tests set the field; without it the manager looks up the machine's
// name, which depends on the machine and must not happen in a bubble.
func withoutOffset(t testing.TB, o *promscrape.Options) {
	f := reflect.ValueOf(o).Elem().FieldByName("skipJitterOffsetting")
	require.True(t, f.IsValid(), "Prometheus' scrape.Options have changed")
	reflect.NewAt(f.Type(), unsafe.Pointer(f.UnsafeAddr())).Elem().SetBool(true) //nolint:gosec // See above.
}

// inBubbleWith runs f in a bubble with a server, which all addresses lead to.
func inBubbleWith(t *testing.T, h http.Handler, f func(t *testing.T, opts ...config_util.HTTPClientOption)) {
	synctest.Test(t, func(t *testing.T) {
		network := bufconn.Listen(1 << 20)
		srv := &http.Server{Handler: h} //nolint:gosec // No timeouts: no network.
		served := make(chan error)
		go func() { served <- srv.Serve(network) }()
		defer func() {
			require.NoError(t, srv.Close())
			require.ErrorIs(t, <-served, http.ErrServerClosed)
		}()
		dial := func(ctx context.Context, _, _ string) (net.Conn, error) { return network.DialContext(ctx) }
		f(t, config_util.WithDialContextFunc(dial))
	})
}

// run serves the answers to one of the scrapers. It returns what the scraper made of each,
// and when the first scrape began. If at is given, the first scrape begins at that time.
func (d difference) run(t *testing.T, r *recorder, scraperOf newScraper, at time.Time) (steps []step, first time.Time) {
	cfg := d.config(t)
	target := model.LabelSet{model.AddressLabel: "target:80"}.Merge(d.labels)
	server := &answerServer{t: t, answers: d.answers, quick: d.memory}
	inBubbleWith(t, server, func(t *testing.T, opts ...config_util.HTTPClientOption) {
		server.opens, server.first = time.Now().Add(setupTime), make(chan time.Time, 1)
		s := scraperOf(t, d, cfg, r, opts...)
		defer s.stop()
		if !at.IsZero() {
			time.Sleep(time.Until(at.Add(-setupScrapes * stepEvery)))
		}
		s.start(groups("j", &targetgroup.Group{Source: "s", Targets: []model.LabelSet{target}}))
		time.Sleep(time.Until(server.opens))
		synctest.Wait()
		commits, rolledBack := r.counts()
		select {
		case first = <-server.first:
		case <-time.After(2 * stepEvery):
			require.Fail(t, "never scraped")
		}
		for i := range d.answers {
			time.Sleep(time.Until(first.Add(time.Duration(i)*stepEvery + stepSeen)))
			synctest.Wait()
			a := step{}
			a.committed, a.rolledBack = r.since(commits, rolledBack)
			commits, rolledBack = r.counts()
			if tgs := s.targets(); len(tgs) == 1 {
				a.health, a.err, a.metadata = tgs[0].Health(), tgs[0].LastError(), sortedMetadata(tgs[0])
			}
			steps = append(steps, a)
		}
	})
	return steps, first
}

func (r *recorder) counts() (commits, rolledBack int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.commits), len(r.rolledBack)
}

func (r *recorder) since(commits, rolledBack int) (_, _ [][]string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return canonicals(r.commits[commits:]), canonicals(r.rolledBack[rolledBack:])
}
