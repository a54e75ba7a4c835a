package body

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/promlet/promlet/scrape/internal/budget"
	"github.com/promlet/promlet/scrape/internal/reason"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// gauged are pools with the gauge that shows how much is lent.
type gauged struct {
	*Pools
	gauge prometheus.Gauge
}

func testPools(memory int64) gauged {
	g := prometheus.NewGauge(prometheus.GaugeOpts{Name: "g"})
	return gauged{NewPools(memory, g), g}
}

// read reads a body of an owner with a loan of its own, which end ends.
func (p *Pools) readOf(ctx context.Context, owner string, r io.Reader, hint int, limit int64) (b buffer, n int, err error) {
	loan := p.memory.Loan(owner)
	lent := false
	defer func() {
		if !lent {
			loan.End()
		}
	}()
	b, n, err = p.read(ctx, loan, r, hint, limit)
	lent = err == nil
	return b, n, err
}

func end(b buffer) {
	b.loan.End()
	b.release()
	b.release()
}

func TestReadBody(t *testing.T) {
	p := testPools(64 << 20)
	for _, size := range []int{0, 1, 1000, 16<<10 - spare, 16 << 10, 300_000, 4 << 20, 5_000_001} {
		want := bytes.Repeat([]byte("0123456789"), size/10+1)[:size]
		for _, hint := range []int{0, size, 2 * size} {
			b, n, err := p.readOf(t.Context(), "", iotest.HalfReader(bytes.NewReader(want)), hint, 0)
			require.NoError(t, err)
			require.Equal(t, size, n)
			require.True(t, bytes.Equal(want, b.bytes))
			// The text parser appends a byte, and Locate needs it not to copy the body.
			require.Greater(t, cap(b.bytes), len(b.bytes))
			end(b)
			require.Zero(t, testutil.ToFloat64(p.gauge))
		}
	}
}

func TestReadBodyLimit(t *testing.T) {
	p := testPools(64 << 20)
	for _, limit := range []int64{1, 5, 1000, 100_000, 1 << 20} {
		b, _, err := p.readOf(t.Context(), "", strings.NewReader(strings.Repeat("x", int(limit-1))), 0, limit)
		require.NoError(t, err)
		require.Len(t, b.bytes, int(limit-1))
		end(b)
		for _, hint := range []int{0, 10 << 20} {
			_, _, err = p.readOf(t.Context(), "", strings.NewReader(strings.Repeat("x", int(limit))), hint, limit)
			require.Equal(t, "body_size", reason.LimitOf(err))
			_, n, err := p.readOf(t.Context(), "", strings.NewReader(strings.Repeat("x", 10*int(limit))), hint, limit)
			require.Equal(t, "body_size", reason.LimitOf(err))
			// It stops there.
			require.EqualValues(t, limit, n)
		}
		require.Zero(t, testutil.ToFloat64(p.gauge))
	}
}

func TestReadBodyError(t *testing.T) {
	p := testPools(64 << 20)
	broken := errors.New("cable cut")
	_, n, err := p.readOf(t.Context(), "", io.MultiReader(strings.NewReader(strings.Repeat("x", 500_000)), iotest.ErrReader(broken)), 0, 0)
	require.ErrorIs(t, err, broken)
	require.Equal(t, 500_000, n)
	require.Zero(t, testutil.ToFloat64(p.gauge))
}

// A panic, of a decompressor for example, leaves no memory counted.
func TestReadBodyPanic(t *testing.T) {
	p := testPools(64 << 20)
	require.Panics(t, func() {
		_, _, _ = p.readOf(t.Context(), "", io.MultiReader(strings.NewReader(strings.Repeat("x", 500_000)), nil), 0, 0)
	})
	require.Zero(t, testutil.ToFloat64(p.gauge))
}

func TestBodyMemory(t *testing.T) {
	p := testPools(7 << 20) // of which an owner may have three, in large pieces
	large := strings.Repeat("x", 1<<20-1000)
	read := func(ctx context.Context, hint int) (buffer, error) {
		b, _, err := p.readOf(ctx, "", strings.NewReader(large), hint, 0)
		return b, err
	}
	a, err := read(t.Context(), len(large))
	require.NoError(t, err)
	b, err := read(t.Context(), len(large))
	require.NoError(t, err)
	require.EqualValues(t, 2<<20, testutil.ToFloat64(p.gauge))
	c, err := read(t.Context(), len(large))
	require.NoError(t, err)

	// Small bodies have a part for themselves;
	small, _, err := p.readOf(t.Context(), "", strings.NewReader(large[:40<<10]), 0, 0)
	require.NoError(t, err)
	end(small)
	// bodies that turn out to be large do not wait;
	_, err = read(t.Context(), 0)
	require.ErrorIs(t, err, budget.ErrBusy)
	// those known to be large wait until the timeout,
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err = read(ctx, len(large))
	require.ErrorIs(t, err, budget.ErrBusy)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	// or until there is room.
	got := make(chan error)
	go func() {
		d, err := read(context.Background(), len(large))
		end(d)
		got <- err
	}()
	end(a)
	require.NoError(t, <-got)
	end(b)
	end(c)
	require.Zero(t, testutil.ToFloat64(p.gauge))

	// More than all bodies together may take.
	_, _, err = p.readOf(t.Context(), "", strings.NewReader(strings.Repeat("x", 4<<20)), 0, 0)
	require.ErrorIs(t, err, budget.ErrTooLarge)
	_, _, err = p.readOf(t.Context(), "", strings.NewReader(""), 5<<20, 0)
	require.ErrorIs(t, err, budget.ErrTooLarge)
}

// Buffers come out of the pools empty, and large ones are not kept.
func TestBuffersAreReused(t *testing.T) {
	p := testPools(0)
	buf := p.get(2 * minKept)
	p.put(append(buf, "something"...))
	require.Empty(t, p.get(2*minKept))
	p.put(make([]byte, 10<<20))
	for i := range p.buffers {
		if b, ok := p.buffers[i].Get().(*[]byte); ok {
			require.LessOrEqual(t, cap(*b), maxKept)
		}
	}
}
