package scrape

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	config_util "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	promscrape "github.com/prometheus/prometheus/scrape"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/util/teststorage"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// Started by packages on import, for the life of the process.
		goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"),
		goleak.IgnoreTopFunction("k8s.io/klog/v2.(*flushDaemon).run.func1"),
	)
}

const (
	textType = "text/plain; version=0.0.4; charset=utf-8"
	omType   = "application/openmetrics-text; version=1.0.0; charset=utf-8"
	pbType   = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"

	// soon bounds the wait for what happens within some intervals.
	soon = 30 * time.Second
)

// sample is one append as the storage saw it.
type sample struct {
	ref    storage.SeriesRef // given by the caller
	lset   labels.Labels
	st, t  int64
	v      float64
	h      *histogram.Histogram
	fh     *histogram.FloatHistogram
	es     []exemplar.Exemplar
	meta   metadata.Metadata
	family string
	reject bool  // RejectOutOfOrder
	err    error // given back
}

func (s sample) stale() bool {
	switch {
	case s.h != nil:
		return value.IsStaleNaN(s.h.Sum)
	case s.fh != nil:
		return value.IsStaleNaN(s.fh.Sum)
	}
	return value.IsStaleNaN(s.v)
}

func (s sample) name() string { return s.lset.Get(labels.MetricName) }

// String has all that must be the same for the same body.
func (s sample) String() string {
	v := fmt.Sprint(s.v)
	switch {
	case s.h != nil:
		v = s.h.String()
	case s.fh != nil:
		v = s.fh.String()
	case s.stale():
		v = "stale"
	case math.IsNaN(s.v):
		v = fmt.Sprintf("NaN(%x)", math.Float64bits(s.v))
	}
	out := fmt.Sprintf("%s %s @%d", s.lset, v, s.t)
	if s.st != 0 {
		out += fmt.Sprintf(" st@%d", s.st)
	}
	for _, e := range s.es {
		out += fmt.Sprintf(" # %s %v @%d", e.Labels, e.Value, e.Ts)
	}
	if s.family != "" {
		out += fmt.Sprintf(" [%s %s %q %q]", s.family, s.meta.Type, s.meta.Unit, s.meta.Help)
	}
	if s.reject {
		out += " in order"
	}
	if s.err != nil {
		out += " -> " + s.err.Error()
	}
	return out
}

// recorder records what is appended, by commit. Without next it hands out
// references by labels and takes everything, but for what refuse says.
type recorder struct {
	next   storage.AppendableV2
	refuse func(sample) error

	mu         sync.Mutex
	commits    [][]sample
	rolledBack [][]sample
	refs       map[string]storage.SeriesRef
	epoch      string // a change makes all references new
	failCommit error
}

type recordingAppender struct {
	r     *recorder
	next  storage.AppenderV2
	batch []sample
	over  bool
}

func (r *recorder) AppenderV2(ctx context.Context) storage.AppenderV2 {
	a := &recordingAppender{r: r}
	if r.next != nil {
		a.next = r.next.AppenderV2(ctx)
	}
	return a
}

func (a *recordingAppender) Append(ref storage.SeriesRef, ls labels.Labels, st, t int64, v float64,
	h *histogram.Histogram, fh *histogram.FloatHistogram, opts storage.AOptions,
) (storage.SeriesRef, error) {
	if a.over {
		return 0, errors.New("appender used after its end")
	}
	s := sample{
		ref: ref, lset: ls, st: st, t: t, v: v, h: h, fh: fh,
		es: slices.Clone(opts.Exemplars), meta: opts.Metadata, family: strings.Clone(opts.MetricFamilyName), reject: opts.RejectOutOfOrder,
	}
	if h != nil {
		s.h = h.Copy()
	}
	if fh != nil {
		s.fh = fh.Copy()
	}
	switch {
	case a.r.refuse != nil && a.r.refuse(s) != nil:
		ref, s.err = 0, a.r.refuse(s)
	case a.next != nil:
		ref, s.err = a.next.Append(ref, ls, st, t, v, h, fh, opts)
	default:
		ref = a.r.refOf(ls)
	}
	a.batch = append(a.batch, s)
	return ref, s.err
}

func (r *recorder) refOf(ls labels.Labels) storage.SeriesRef {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refs == nil {
		r.refs = map[string]storage.SeriesRef{}
	}
	key := r.epoch + ls.String()
	if r.refs[key] == 0 {
		r.refs[key] = storage.SeriesRef(len(r.refs) + 1)
	}
	return r.refs[key]
}

func (a *recordingAppender) Commit() error {
	a.over = true
	if a.next != nil {
		if err := a.next.Commit(); err != nil {
			return err
		}
	}
	a.r.mu.Lock()
	defer a.r.mu.Unlock()
	if err := a.r.failCommit; err != nil {
		return err
	}
	a.r.commits = append(a.r.commits, a.batch)
	return nil
}

func (a *recordingAppender) Rollback() error {
	a.over = true
	a.r.mu.Lock()
	a.r.rolledBack = append(a.r.rolledBack, a.batch)
	a.r.mu.Unlock()
	if a.next != nil {
		return a.next.Rollback()
	}
	return nil
}

func (r *recorder) all() [][]sample {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.commits)
}

// last gives the samples of the last commit, synthetic ones apart.
func (r *recorder) last(t testing.TB) (body []sample, report map[string]float64) {
	t.Helper()
	all := r.all()
	require.NotEmpty(t, all)
	return split(all[len(all)-1])
}

func split(batch []sample) (body []sample, report map[string]float64) {
	report = map[string]float64{}
	for _, s := range batch {
		if isReport(s.name()) {
			report[s.name()] = s.v
		} else {
			body = append(body, s)
		}
	}
	return body, report
}

func isReport(name string) bool {
	for i := range allReports {
		if n, _, _ := reportInfo(i); n == name {
			return true
		}
	}
	return false
}

// byInstance gives all committed samples of the target, in order.
func (r *recorder) byInstance(instance string) []sample {
	var out []sample
	for _, batch := range r.all() {
		for _, s := range batch {
			if s.lset.Get(model.InstanceLabel) == instance {
				out = append(out, s)
			}
		}
	}
	return out
}

// values prints samples for comparison: labels but job and instance, and value.
func values(samples []sample) []string {
	out := make([]string, 0, len(samples))
	for _, s := range samples {
		b := labels.NewBuilder(s.lset).Del(model.JobLabel, model.InstanceLabel)
		v := fmt.Sprint(s.v)
		switch {
		case s.stale():
			v = "stale"
		case s.h != nil:
			v = s.h.String()
		case s.fh != nil:
			v = s.fh.String()
		}
		out = append(out, b.Labels().String()+" "+v)
	}
	return out
}

func sorted(s []string) []string {
	slices.Sort(s)
	return s
}

// serve answers every request by h.
func serve(t testing.TB, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

// serveBody answers every request with the body.
func serveBody(t testing.TB, contentType, body string) *httptest.Server {
	return serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		_, _ = w.Write([]byte(body))
	})
}

// answers serves one body after the other; the last one for ever. A body that
// begins with "!" is a failure.
type answers struct {
	*httptest.Server
	n atomic.Int64
}

func serveSequence(t testing.TB, contentType string, bodies ...string) *answers {
	a := &answers{}
	a.Server = serve(t, func(w http.ResponseWriter, _ *http.Request) {
		n := int(a.n.Add(1))
		body := bodies[min(n, len(bodies))-1]
		if strings.HasPrefix(body, "!") {
			http.Error(w, "broken", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", contentType)
		_, _ = w.Write([]byte(body))
	})
	return a
}

func gzipped(t testing.TB, s string) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := z.Write([]byte(s))
	require.NoError(t, err)
	require.NoError(t, z.Close())
	return b.Bytes()
}

// jobConfig is a valid job as the operator would write one.
func jobConfig(name string, mutate ...func(*config.ScrapeConfig)) *config.ScrapeConfig {
	c := config.DefaultScrapeConfig
	c.JobName = name
	c.HTTPClientConfig = config_util.DefaultHTTPClientConfig
	c.ScrapeInterval = model.Duration(100 * time.Millisecond)
	c.ScrapeTimeout = model.Duration(100 * time.Millisecond)
	for _, m := range mutate {
		m(&c)
	}
	return &c
}

func every(d time.Duration) func(*config.ScrapeConfig) {
	return func(c *config.ScrapeConfig) {
		c.ScrapeInterval, c.ScrapeTimeout = model.Duration(d), model.Duration(d)
	}
}

func addressOf(s *httptest.Server) string { return strings.TrimPrefix(s.URL, "http://") }

func group(addresses ...string) *targetgroup.Group {
	g := &targetgroup.Group{Source: "test"}
	for _, a := range addresses {
		g.Targets = append(g.Targets, model.LabelSet{model.AddressLabel: model.LabelValue(a)})
	}
	return g
}

func groups(job string, gs ...*targetgroup.Group) map[string][]*targetgroup.Group {
	return map[string][]*targetgroup.Group{job: gs}
}

func newManager(t testing.TB, app storage.AppendableV2, mutate ...func(*Options)) *Manager {
	t.Helper()
	opts := Options{Appendable: app}
	for _, m := range mutate {
		m(&opts)
	}
	m, err := NewManager(opts)
	require.NoError(t, err)
	t.Cleanup(m.Stop)
	return m
}

// noLimits are the options with which nothing differs from Prometheus.
func noLimits(o *Options) {
	o.BodySizeLimit, o.SampleLimit, o.LabelLimit = -1, -1, -1
	o.LabelNameLengthLimit, o.LabelValueLengthLimit, o.BucketLimit, o.BodyMemory = -1, -1, -1, -1
}

// testLoop makes the loop of one target without running it: the test calls
// scrape, with timestamps of its choice.
func testLoop(t testing.TB, m *Manager, cfg *config.ScrapeConfig, target model.LabelSet) *loop {
	t.Helper()
	g := &targetgroup.Group{Source: "test", Targets: []model.LabelSet{target}}
	p, err := m.planJob(nil, cfg, []*targetgroup.Group{g})
	require.NoError(t, err)
	require.NoError(t, p.err)
	require.Len(t, p.wanted, 1)
	j := &job{loops: map[uint64]*loop{}}
	j.adopt(p)
	l := m.newLoop(j, p.settings, p.made[g].candidates[0])
	t.Cleanup(func() {
		l.cancel()
		l.fetch.client.CloseIdleConnections()
	})
	return l
}

// scrapeOnce scrapes the server with a fresh loop into a fresh recorder.
func scrapeOnce(t testing.TB, s *httptest.Server, cfg *config.ScrapeConfig, mutate ...func(*Options)) (*recorder, *loop) {
	t.Helper()
	r := &recorder{}
	l := testLoop(t, newManager(t, r, mutate...), cfg, model.LabelSet{model.AddressLabel: model.LabelValue(addressOf(s))})
	l.scrape(time.Now())
	return r, l
}

func slow(c *config.ScrapeConfig) { every(time.Minute)(c) }

func newTSDB(t testing.TB, mutate ...teststorage.Option) *teststorage.TestStorage {
	return teststorage.New(t, append([]teststorage.Option{func(o *tsdb.Options) {
		o.EnableExemplarStorage, o.MaxExemplars = true, 1000
	}}, mutate...)...)
}

// eventually waits until ok, which is asked often.
func eventually(t testing.TB, ok func() bool, msg string) {
	t.Helper()
	require.Eventually(t, ok, soon, 5*time.Millisecond, msg)
}

// targetAt gives the status of the target with the address.
func targetAt(t testing.TB, m *Manager, job, address string) *promscrape.Target {
	t.Helper()
	for _, tg := range m.TargetsActive()[job] {
		if tg.GetValue(model.AddressLabel) == address {
			return tg
		}
	}
	require.Failf(t, "no such target", "%s in %v", address, slices.Collect(maps.Keys(m.TargetsActive())))
	return nil
}

// soonTarget is a target with an address whose turn, with the job's long
// interval, comes within the next two seconds.
func soonTarget(t testing.TB, cfg *config.ScrapeConfig, address string) *targetgroup.Group {
	t.Helper()
	checked, err := checkedConfig(cfg)
	require.NoError(t, err)
	for i := range 1_000_000 {
		own := model.LabelSet{model.AddressLabel: model.LabelValue(address), "__try": model.LabelValue(itoa(i))}
		c, err := candidateOf(own, nil, checked, labels.NewBuilder(labels.EmptyLabels()))
		require.NoError(t, err)
		if wait := offset(c.key, c.settings.interval, time.Now()); wait > 300*time.Millisecond && wait < 2*time.Second {
			return &targetgroup.Group{Source: "soon", Targets: []model.LabelSet{own}}
		}
	}
	require.Fail(t, "no turn soon")
	return nil
}

func itoa[T int | int64](n T) string { return strconv.FormatInt(int64(n), 10) }
