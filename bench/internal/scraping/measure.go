package scraping

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"time"

	promscrape "github.com/prometheus/prometheus/scrape"

	"github.com/promlet/promlet/bench/internal/harness"
	"github.com/promlet/promlet/bench/internal/sink"
)

const (
	// reports are the samples of a scrape besides those of the body, up among them. On
	// demand promlet stores none.
	reports = 5
	// patience is how long a moment without scrapes is waited for.
	patience = time.Minute
)

// What is kept of a body.
const (
	everything           = "everything kept"
	onePercentOnDemand   = "1 % kept"
	onePercentRelabelled = "1 % kept, promlet by relabelling too"
)

// The two sides.
const (
	sidePromlet    = "promlet"
	sidePrometheus = "prometheus"
)

// kase is what is measured of one body. On demand Prometheus keeps by relabelling.
type kase struct {
	side, keeps string
	plain       bool // the body is never compressed
}

// String names a case for messages.
func (c kase) String() string {
	name := c.side + "-" + map[string]string{everything: "all", onePercentOnDemand: "demand", onePercentRelabelled: "relabel"}[c.keeps]
	if c.plain {
		name += "-plain"
	}
	return name
}

// cases are in the order in which they are measured: those that are compared follow
// each other.
func cases() []kase {
	var out []kase
	for _, plain := range []bool{false, true} {
		out = append(out,
			kase{sidePrometheus, everything, plain}, kase{sidePromlet, everything, plain},
			kase{sidePrometheus, onePercentOnDemand, plain}, kase{sidePromlet, onePercentOnDemand, plain},
			kase{sidePromlet, onePercentRelabelled, plain})
	}
	return out
}

// samples returns how many samples are stored of a scrape of so many series.
func (c kase) samples(series int) int64 {
	switch {
	case c.keeps == everything:
		return int64(series) + reports
	case c.keeps == onePercentOnDemand && c.side == sidePromlet:
		return int64(series) / 100
	}
	return int64(series)/100 + reports
}

// measured is what a case costs.
type measured struct {
	scrapes                int64
	cpu                    time.Duration // per scrape, in user and kernel mode
	allocations, allocated float64       // per scrape; bytes
	heap, stacks           float64       // bytes per target
	zipped                 bool          // whether bodies came compressed
}

// bench measures the cases of one body.
type bench struct {
	*body
	targets int
	// stacks is what stacks take when nothing runs. It is read once, as what a case
	// leaves behind would count for the next.
	stacks            uint64
	warming, counting time.Duration
}

// attempts is how often a case is measured until it succeeds: on a machine that is busy
// with something else a scrape may fail.
const attempts = 3

// try measures a case.
func (b *bench) try(ctx context.Context, c kase) (m measured, err error) {
	for range attempts {
		if m, err = b.measure(ctx, c); err == nil || ctx.Err() != nil {
			break
		}
	}
	if err != nil {
		return m, fmt.Errorf("measure %s, %d series: %w", c, b.series, err)
	}
	return m, nil
}

// measure measures a case once.
func (b *bench) measure(ctx context.Context, c kase) (m measured, err error) {
	child, err := harness.StartChild(ctx, name, "server", b.text)
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, child.Stop()) }()
	ask := askState
	if c.plain {
		ask = askPlain
	}
	var s state
	if err := child.Ask(ask, &s); err != nil {
		return m, err
	}
	to := &sink.Sink{}
	before := harness.ReadHeld()
	running, err := c.start(b.body, b.targets, s.Address, to)
	if err != nil {
		return m, err
	}
	defer running.stop()
	if err := harness.Sleep(ctx, b.warming); err != nil {
		return m, err
	}
	if err := b.count(ctx, c, to, &m); err != nil {
		return m, err
	}
	after, err := atRest(ctx, child, to)
	if err != nil {
		return m, err
	}
	m.heap = (float64(after.Heap) - float64(before.Heap)) / float64(b.targets)
	m.stacks = (float64(readStacks()) - float64(b.stacks)) / float64(b.targets)
	if err := child.Ask(askState, &s); err != nil {
		return m, err
	}
	m.zipped = s.Zipped > 0
	return m, b.check(running)
}

// count measures what scrapes cost while some go by, and that they are what they should
// be.
func (b *bench) count(ctx context.Context, c kase, to *sink.Sink, m *measured) error {
	before, began := harness.ReadUsage(), time.Now()
	commits, samples := to.Counts()
	if err := harness.Sleep(ctx, b.counting); err != nil {
		return err
	}
	endCommits, endSamples := to.Counts()
	after, took := harness.ReadUsage(), time.Since(began)
	m.scrapes, samples = endCommits-commits, endSamples-samples
	// A machine that is busy with something else may miss turns, which changes nothing
	// in what a scrape costs.
	if want := float64(b.targets) * took.Seconds() / interval.Seconds(); float64(m.scrapes) < want/2 {
		return fmt.Errorf("%d scrapes instead of %.0f", m.scrapes, want)
	}
	if want := c.samples(b.series); samples != m.scrapes*want {
		return fmt.Errorf("%d samples in %d scrapes instead of %d in each", samples, m.scrapes, want)
	}
	m.cpu = (after.CPU - before.CPU) / time.Duration(m.scrapes)
	m.allocations = float64(after.Allocations-before.Allocations) / float64(m.scrapes)
	m.allocated = float64(after.Allocated-before.Allocated) / float64(m.scrapes)
	return nil
}

// atRest reads the memory at a moment when every target waits for its next scrape, and
// no connection is open: the server closes them. Whether a scrape is on its way is
// told by the requests that have begun and the commits.
func atRest(ctx context.Context, child *harness.Process, to *sink.Sink) (u harness.Usage, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errors.New("there was no moment without scrapes"))
	defer cancel()
	var s state
	for err = child.Ask(askClose, &s); err == nil; err = child.Ask(askState, &s) {
		begun := s.Begun
		if commits, _ := to.Counts(); commits == begun {
			u = harness.ReadHeld()
			if err := child.Ask(askState, &s); err != nil || s.Begun == begun {
				return u, err
			}
		}
		if err := harness.Sleep(ctx, time.Millisecond); err != nil {
			return u, context.Cause(ctx)
		}
	}
	return u, err
}

// check tells whether all targets are there and up.
func (b *bench) check(running *side) error {
	targets := running.targets()[jobName]
	if len(targets) != b.targets {
		return fmt.Errorf("%d targets instead of %d", len(targets), b.targets)
	}
	for _, t := range targets {
		if t.Health() != promscrape.HealthGood {
			return fmt.Errorf("target %s is %s: %w", t.URL(), t.Health(), t.LastError())
		}
	}
	return nil
}

// readStacks reads what stacks take at the least. Each collection halves those that are
// too large by then.
func readStacks() uint64 {
	var m runtime.MemStats
	least := uint64(math.MaxUint64)
	for range 8 {
		runtime.GC()
		runtime.ReadMemStats(&m)
		least = min(least, m.StackInuse)
	}
	return least
}
