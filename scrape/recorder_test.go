package scrape

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
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

func (s sample) name() string { return s.lset.Get(model.MetricNameLabel) }

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

// recorder records what is appended, by commit. Without next it gives out references by
// labels and accepts every sample that refuse does not reject.
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

// GetRef implements storage.GetRef where next does.
func (a *recordingAppender) GetRef(ls labels.Labels, hash uint64) (storage.SeriesRef, labels.Labels) {
	if known, ok := a.next.(storage.GetRef); ok {
		return known.GetRef(ls, hash)
	}
	return 0, labels.EmptyLabels()
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

// last returns the samples of the last commit, synthetic ones apart.
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

// byInstance returns all committed samples of the target, in order.
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
