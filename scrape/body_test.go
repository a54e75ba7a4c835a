package scrape

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
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"
)

func testBodies(memory int64) *bodies {
	return newBodies(memory, prometheus.NewGauge(prometheus.GaugeOpts{Name: "g"}))
}

func TestReadBody(t *testing.T) {
	p := testBodies(64 << 20)
	for _, size := range []int{0, 1, 1000, 16<<10 - bodySpare, 16 << 10, 300_000, 4 << 20, 5_000_001} {
		want := bytes.Repeat([]byte("0123456789"), size/10+1)[:size]
		for _, hint := range []int{0, size, 2 * size} {
			b, n, err := p.read(t.Context(), iotest.HalfReader(bytes.NewReader(want)), hint, 0)
			require.NoError(t, err)
			require.Equal(t, size, n)
			require.True(t, bytes.Equal(want, b.buf))
			// The text parser appends a byte; locate depends on its not copying.
			require.Greater(t, cap(b.buf), len(b.buf))
			b.release()
			b.release()
			require.Zero(t, testutil.ToFloat64(p.gauge))
		}
	}
}

func TestReadBodyLimit(t *testing.T) {
	p := testBodies(64 << 20)
	for _, limit := range []int64{1, 5, 1000, 100_000, 1 << 20} {
		b, _, err := p.read(t.Context(), strings.NewReader(strings.Repeat("x", int(limit-1))), 0, limit)
		require.NoError(t, err)
		require.Len(t, b.buf, int(limit-1))
		b.release()
		for _, hint := range []int{0, 10 << 20} {
			_, _, err = p.read(t.Context(), strings.NewReader(strings.Repeat("x", int(limit))), hint, limit)
			require.Equal(t, "body_size", limitOf(err))
			_, n, err := p.read(t.Context(), strings.NewReader(strings.Repeat("x", 10*int(limit))), hint, limit)
			require.Equal(t, "body_size", limitOf(err))
			// Not read on and on.
			require.EqualValues(t, limit, n)
		}
		require.Zero(t, testutil.ToFloat64(p.gauge))
	}
}

func TestReadBodyError(t *testing.T) {
	p := testBodies(64 << 20)
	broken := errors.New("cable cut")
	_, n, err := p.read(t.Context(), io.MultiReader(strings.NewReader(strings.Repeat("x", 500_000)), iotest.ErrReader(broken)), 0, 0)
	require.ErrorIs(t, err, broken)
	require.Equal(t, 500_000, n)
	require.Zero(t, testutil.ToFloat64(p.gauge))
}

// A decompressor's panic, for example, leaves no memory counted.
func TestReadBodyPanic(t *testing.T) {
	p := testBodies(64 << 20)
	require.Panics(t, func() {
		_, _, _ = p.read(t.Context(), io.MultiReader(strings.NewReader(strings.Repeat("x", 500_000)), nil), 0, 0)
	})
	require.Zero(t, testutil.ToFloat64(p.gauge))
}

func TestBodyMemory(t *testing.T) {
	p := testBodies(3 << 20)
	large := strings.Repeat("x", 1<<20-1000)
	read := func(ctx context.Context, hint int) (body, error) {
		b, _, err := p.read(ctx, strings.NewReader(large), hint, 0)
		return b, err
	}
	a, err := read(t.Context(), len(large))
	require.NoError(t, err)
	b, err := read(t.Context(), len(large))
	require.NoError(t, err)
	require.EqualValues(t, 2<<20, testutil.ToFloat64(p.gauge))
	c, err := read(t.Context(), len(large))
	require.NoError(t, err)

	// All is lent. Small bodies never wait,
	small, _, err := p.read(t.Context(), strings.NewReader("a 1\n"), 0, 0)
	require.NoError(t, err)
	small.release()
	// bodies that turn out large do not wait,
	_, err = read(t.Context(), 0)
	require.ErrorIs(t, err, errMemoryBusy)
	// those known to be large wait until the timeout,
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err = read(ctx, len(large))
	require.ErrorIs(t, err, errMemoryBusy)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	// or until there is room.
	got := make(chan error)
	go func() {
		d, err := read(context.Background(), len(large))
		d.release()
		got <- err
	}()
	a.release()
	require.NoError(t, <-got)
	b.release()
	c.release()
	require.Zero(t, testutil.ToFloat64(p.gauge))

	// More than there is at all.
	_, _, err = p.read(t.Context(), strings.NewReader(strings.Repeat("x", 4<<20)), 0, 0)
	require.ErrorIs(t, err, errNoMemory)
	_, _, err = p.read(t.Context(), strings.NewReader(""), 5<<20, 0)
	require.ErrorIs(t, err, errNoMemory)
}

// A target that failed for want of memory asks for enough the next time.
func TestBusyMemoryIsAskedForNextTime(t *testing.T) {
	s := serveBody(t, textType, manySeries(50_000))
	m := newManager(t, &recorder{}, func(o *Options) { o.BodyMemory = 8 << 20 })
	l := testLoop(t, m, jobConfig("j", every(time.Second)), model.LabelSet{model.AddressLabel: model.LabelValue(addressOf(s))})
	require.NoError(t, m.bodies.memory.Acquire(t.Context(), 7<<20))
	l.scrape(time.Now())
	require.ErrorIs(t, l.target.LastError(), errMemoryBusy)
	require.NotErrorIs(t, l.target.LastError(), context.DeadlineExceeded)
	require.Greater(t, l.size, 512<<10)
	l.scrape(time.Now())
	require.EqualError(t, l.target.LastError(), "timed out after 1s: memory for bodies is in use: context deadline exceeded")
	m.bodies.memory.Release(7 << 20)
	l.timeout = soon
	l.scrape(time.Now())
	require.NoError(t, l.target.LastError())
}

// Buffers come back from the pools empty, and large ones are not kept.
func TestBuffersAreReused(t *testing.T) {
	p := testBodies(0)
	buf := p.get(bodyClasses[1])
	p.put(append(buf, "something"...))
	require.Empty(t, p.get(bodyClasses[1]))
	p.put(make([]byte, 10<<20))
	for i := range p.classes {
		if b, ok := p.classes[i].Get().(*[]byte); ok {
			require.LessOrEqual(t, cap(*b), bodyClasses[len(bodyClasses)-1])
		}
	}
}
