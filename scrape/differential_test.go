package scrape

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"
	"github.com/prometheus/common/promslog"
	promscrape "github.com/prometheus/prometheus/scrape"
	"github.com/stretchr/testify/require"

	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"

	"github.com/promlet/promlet/scrape/internal/body"
)

// difference is a sequence of answers that Prometheus' scraper and ours must
// turn into the same appends, scrape for scrape.
type difference struct {
	name    string
	job     string // YAML, beyond the name and the interval
	labels  model.LabelSet
	parseST bool
	ooo     time.Duration // out of order window of the storage
	refuse  func(sample) error
	memory  bool // into a headModel instead of a TSDB
	// refsLast is that of the headModel.
	refsLast time.Duration
	answers  []answer

	// reload is after how long, at most, Prometheus follows a change of targets; 0 is
	// its default.
	reload time.Duration

	// allowed removes a known and wanted difference from the two results of an answer. It
	// reports whether to stop comparing there.
	allowed func(d *difference, theirs, ours *step) (over bool)
}

// step is what a scraper made of one answer.
type step struct {
	committed  [][]string
	rolledBack [][]string
	health     promscrape.TargetHealth
	err        error
	metadata   []promscrape.MetricMetadata
}

func (d difference) config(t testing.TB) *config.Config {
	cfg, err := config.Load(fmt.Sprintf("scrape_configs:\n- job_name: j\n  scrape_interval: %s\n  scrape_timeout: %s\n  %s\n",
		stepEvery, stepTimeout, strings.ReplaceAll(d.job, "\n", "\n  ")), promslog.NewNopLogger())
	require.NoError(t, err)
	return cfg
}

// recorder records into a storage of its own.
func (d difference) recorder(t testing.TB) *recorder {
	var next storage.AppendableV2
	if d.memory {
		next = newHeadModel(d.ooo, d.refsLast)
	} else {
		next = newTSDB(t, func(o *tsdb.Options) { o.OutOfOrderTimeWindow = d.ooo.Milliseconds() })
	}
	return &recorder{next: next, refuse: d.refuse}
}

// compare runs both scrapers and returns what differs, "" for nothing.
func (d difference) compare(t *testing.T) string {
	if i := slices.IndexFunc(d.answers, d.neverEnds); i >= 0 {
		d.answers = d.answers[:i]
	}
	if len(d.answers) == 0 {
		return ""
	}
	ours, first := d.run(t, d.recorder(t), newOurs, time.Time{})
	theirs, _ := d.run(t, d.recorder(t), newTheirs, first)
	for i := range d.answers {
		if d.allowed != nil && d.allowed(&d, &theirs[i], &ours[i]) {
			return ""
		}
		if diff := compareSteps(theirs[i], ours[i]); diff != "" {
			a := d.answers[i]
			body := a.body
			a.body = ""
			return fmt.Sprintf("scrape %d of %d (- Prometheus, + ours): %s\nPrometheus says %v, ours %v\nanswer %+v of %.4000q",
				i+1, len(d.answers), diff, theirs[i].err, ours[i].err, a, body)
		}
	}
	return ""
}

// neverEnds reports whether Prometheus might work on the answer for ever: its search for
// start timestamps does not end on some malformed exemplars of OpenMetrics bodies. Ours
// refuses malformed bodies before it searches.
func (d difference) neverEnds(a answer) bool {
	if !d.parseST {
		return false
	}
	contentType := cmp.Or(a.contentType, textType)
	// A body of another type may be read as OpenMetrics, as a fallback.
	p, _ := textparse.New([]byte(a.at(bubbleStart.Add(setupTime))), contentType, labels.NewSymbolTable(), textparse.ParserOptions{FallbackContentType: config.OpenMetricsText1_0_0.HeaderMediaType()})
	if _, openMetrics := p.(*textparse.OpenMetricsParser); !openMetrics {
		return false
	}
	for {
		if _, err := p.Next(); err != nil {
			return !errors.Is(err, io.EOF)
		}
	}
}

func compareSteps(theirs, ours step) string {
	if reflect.DeepEqual(theirs, ours) {
		return ""
	}
	if diff := gocmp.Diff(theirs.committed, ours.committed); diff != "" {
		return "committed:\n" + diff
	}
	if diff := gocmp.Diff(theirs.rolledBack, ours.rolledBack); diff != "" {
		return "rolled back:\n" + diff
	}
	if theirs.health != ours.health || !sameError(theirs.err, ours.err) {
		return fmt.Sprintf("errors:\n- %s: %v\n+ %s: %v", theirs.health, theirs.err, ours.health, ours.err)
	}
	if diff := gocmp.Diff(theirs.metadata, ours.metadata); diff != "" {
		return "metadata:\n" + diff
	}
	return ""
}

// refusedWhole allows what ours does with bodies that Prometheus' parsers do not survive
// (see internal/body/check.go): it takes nothing from them, while Prometheus takes what
// comes before the error. The stale markers then differ as well.
func refusedWhole(d *difference, theirs, ours *step) (over bool) {
	switch {
	case ours.err == nil:
		return false
	case errors.Is(ours.err, body.ErrEmptyFamilies), errors.Is(ours.err, body.ErrLargeField):
		return true
	}
	if d.parseST {
		// Ours does not look for start timestamps in a body that does not parse.
		for _, a := range []*step{theirs, ours} {
			for _, batch := range a.rolledBack {
				for i, line := range batch {
					batch[i] = startTimestamp.ReplaceAllString(line, "")
				}
			}
		}
	}
	return false
}

var startTimestamp = regexp.MustCompile(` st@-?[0-9]+`)

// newReferences also allows two differences in series that the storage gives new references
// to. Where the body has such a series under several texts, one of which is rejected, both
// may write a stale marker although the body holds the series; in Prometheus this depends
// on the order of the texts. And Prometheus keeps the old reference where the storage
// refused an exemplar.
func newReferences(d *difference, theirs, ours *step) (over bool) {
	for _, a := range []*step{theirs, ours} {
		all := slices.Concat(slices.Concat(a.committed...), slices.Concat(a.rolledBack...))
		for i, batch := range a.committed {
			a.committed[i] = slices.DeleteFunc(batch, func(line string) bool {
				series, _, marker := strings.Cut(line, " stale @")
				return marker && slices.ContainsFunc(all, func(l string) bool {
					return strings.HasPrefix(l, series+" ") && !strings.HasPrefix(l, series+" stale @")
				})
			})
		}
		for _, batch := range slices.Concat(a.committed, a.rolledBack) {
			for i, line := range batch {
				if at := strings.LastIndex(line, " as "); at >= 0 {
					batch[i] = line[:at]
				}
			}
		}
	}
	return refusedWhole(d, theirs, ours)
}

// saidDifferently are errors that mean the same: Prometheus', and promlet's.
var saidDifferently = [][2]*regexp.Regexp{
	{regexp.MustCompile(`context deadline exceeded`), regexp.MustCompile(`^timed out after 5s`)},
	{regexp.MustCompile(`^body size limit exceeded$`), regexp.MustCompile(`^body_size_limit exceeded`)},
	{regexp.MustCompile(`^sample limit exceeded$`), regexp.MustCompile(`^sample_limit exceeded`)},
	{regexp.MustCompile(`^histogram bucket limit exceeded$`), regexp.MustCompile(`^native_histogram_bucket_limit exceeded`)},
	{regexp.MustCompile(`^strconv\.Parse`), regexp.MustCompile(`is not a number|is out of range`)},
	{regexp.MustCompile(`^received a zstd-compressed response`), regexp.MustCompile(`^content encoding "zstd" was not asked for`)},
}

// sameError reports whether both errors say the same. Ours also say where and how much,
// and shorten what they quote.
func sameError(theirs, ours error) bool {
	if theirs == nil || ours == nil {
		return theirs == nil && ours == nil
	}
	a, b := theirs.Error(), ours.Error()
	if a == "unexpected EOF" && strings.HasPrefix(b, "body_size_limit exceeded") {
		return true // A cut body that is as long as its limit has both errors.
	}
	for _, p := range saidDifferently {
		if p[0].MatchString(a) || p[1].MatchString(b) {
			return p[0].MatchString(a) && p[1].MatchString(b)
		}
	}
	if strings.HasPrefix(a, "invalid metric name or label names: ") {
		return strings.HasPrefix(b, "invalid metric name or label names: ")
	}
	text, _, _ := strings.Cut(a, " while parsing: ")
	// Ours is cut between characters, and no earlier than here.
	return strings.Contains(b, text[:min(len(text), 200)])
}

// canonical prints a scrape: samples in order, then stale markers by name. It leaves out
// known differences: the texts and family names of synthetic series, and their
// references, which Prometheus does not renew.
func canonical(batch []sample) []string {
	var out, stale []string
	for _, s := range batch {
		name, report := strings.CutSuffix(s.family, "\xff")
		for i := range allReports {
			n, _, help := reportInfo(i)
			report = report || s.family == n && s.meta.Help == help
		}
		if report {
			s.family, s.meta.Help, s.ref = name, "", 0
		}
		if s.stale() && s.reject {
			stale = append(stale, s.String())
		} else {
			out = append(out, fmt.Sprintf("%s as %d", s, s.ref))
		}
	}
	return append(out, sorted(stale)...)
}

func canonicals(batches [][]sample) [][]string {
	var out [][]string
	for _, b := range batches {
		out = append(out, canonical(b))
	}
	return out
}

// sortedMetadata is a target's metadata, as a status page shows it.
func sortedMetadata(t *promscrape.Target) []promscrape.MetricMetadata {
	list := t.ListMetadata()
	slices.SortFunc(list, func(a, b promscrape.MetricMetadata) int { return strings.Compare(a.MetricFamily, b.MetricFamily) })
	return list
}

func TestSameAsPrometheus(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, d := range slices.Concat(seriesDifferences(), limitDifferences(), formatDifferences(), histogramDifferences(), httpDifferences(), storageDifferences(), exporterDifferences(t)) {
		require.False(t, seen[d.name], d.name)
		seen[d.name] = true
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			require.Empty(t, d.compare(t))
		})
	}
}

// The comparison notices differences.
func TestComparisonNotices(t *testing.T) {
	d := difference{name: "x", memory: true, answers: text("a 1\nb 1\n", "a 2\n", "}{")}
	ours, first := d.run(t, d.recorder(t), newOurs, time.Time{})
	for name, other := range map[string][]answer{
		"value":       text("a 1\nb 3\n", "a 2\n", "}{"),
		"order":       text("b 1\na 1\n", "a 2\n", "}{"),
		"marker":      text("a 1\nc 1\n", "a 2\n", "}{"),
		"error":       text("a 1\nb 1\n", "a 2\n", "a x\n"),
		"no error":    text("a 1\nb 1\n", "a 2\n", "\n"),
		"metadata":    text("a 1\nb 1\n", "# TYPE z gauge\na 2\n", "}{"),
		"rolled back": text("a 1\nb 1\n", "a 2\n", "a 1\n}{"),
		"status":      append(text("a 1\nb 1\n", "a 2\n"), answer{status: 500}),
	} {
		d.answers = other
		theirs, _ := d.run(t, d.recorder(t), newTheirs, first)
		n := slices.IndexFunc([]int{0, 1, 2}, func(i int) bool { return compareSteps(theirs[i], ours[i]) != "" })
		require.NotEqual(t, -1, n, name)
	}
}
