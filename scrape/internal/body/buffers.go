package body

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"

	"github.com/promlet/promlet/scrape/internal/reason"
)

const (
	// freeSize is the size up to which a buffer is not counted against the memory for
	// bodies: small targets never wait for large ones.
	freeSize = 256 << 10
	// spare is the capacity left behind the last byte of a body.
	// textparse.NewPromParser appends a byte and would otherwise copy the body, and
	// Locate needs the body itself.
	spare = 64
	// minKept and maxKept are the smallest and the largest buffers that are kept for the
	// next body. Their capacities are powers of two.
	minKept, maxKept = 16 << 10, 4 << 20
)

// Pools lends what reading a body takes.
type Pools struct {
	buffers [bits.UintSize + 1]sync.Pool // of *[]byte, by length of the capacity in bits
	memory  *semaphore.Weighted          // nil: no limit
	total   int64                        // of memory
	gauge   prometheus.Gauge

	gunzips sync.Pool // of *gunzip
	filters sync.Pool // of *filter
}

// gunzip is a reusable decompressor, some 50 KiB.
type gunzip struct {
	in  *bufio.Reader
	out *gzip.Reader
}

// NewPools makes empty pools. memory is how many bytes the buffers above 256 KiB may
// take together, 0 for no limit; the gauge shows how many they take.
func NewPools(memory int64, gauge prometheus.Gauge) *Pools {
	p := &Pools{gauge: gauge}
	if memory > 0 {
		p.memory, p.total = semaphore.NewWeighted(memory), memory
	}
	return p
}

func (p *Pools) gunzip() *gunzip {
	if z, ok := p.gunzips.Get().(*gunzip); ok {
		return z
	}
	return &gunzip{in: bufio.NewReader(nil), out: new(gzip.Reader)}
}

func (p *Pools) putGunzip(z *gunzip) {
	z.in.Reset(nil) // Let go of the connection.
	p.gunzips.Put(z)
}

// buffer holds a body, on loan. The zero value is an empty body.
type buffer struct {
	bytes   []byte
	from    *Pools
	counted int64 // bytes counted against the memory for bodies
}

// release gives the buffer back. bytes must not be used any more.
func (b *buffer) release() {
	if b.from == nil {
		return
	}
	b.from.put(b.bytes)
	b.from.uncount(b.counted)
	*b = buffer{}
}

var (
	// errNoMemory is returned when a body needs more memory than all bodies together
	// may take.
	errNoMemory = errors.New("body does not fit into the memory for bodies")
	// ErrMemoryBusy is returned when other bodies hold the memory. Before the body is
	// read it is returned when ctx ends first. Later it is returned at once: bodies that
	// wait for each other would wait until their timeouts.
	ErrMemoryBusy = errors.New("memory for bodies is in use")
)

// read reads r to its end into a buffer. hint is the expected size. A body of limit
// bytes or more is an error; limit 0 is none. On an error nothing is lent, and n is how
// many bytes had been read.
func (p *Pools) read(ctx context.Context, r io.Reader, hint int, limit int64) (_ buffer, n int, err error) {
	if limit <= 0 {
		limit = math.MaxInt64 / 2
	}
	b := buffer{from: p}
	whole := false
	defer func() {
		// After a panic of r as well.
		if !whole {
			b.release()
		}
	}()
	size := capacityFor(int(min(int64(hint), limit)) + spare)
	if b.counted, err = p.count(ctx, size); err != nil {
		return buffer{}, 0, err
	}
	b.bytes = p.get(size)
	for {
		if cap(b.bytes)-n <= spare {
			want := min(2*int64(cap(b.bytes)), limit+2*spare)
			if err := b.grow(capacityFor(int(want))); err != nil {
				return buffer{}, n, err
			}
		}
		end := min(int64(cap(b.bytes)-spare), limit)
		m, err := r.Read(b.bytes[n:end])
		n += m
		b.bytes = b.bytes[:n]
		switch {
		case int64(n) >= limit:
			return buffer{}, n, reason.Limitf("body_size", "body_size_limit exceeded (limit: %d bytes)", limit)
		case err == io.EOF: // Readers return it bare; wrapped it is a broken connection.
			whole = true
			return b, n, nil
		case err != nil:
			return buffer{}, n, err
		}
	}
}

// grow moves the body to a larger buffer. During the move both are counted.
func (b *buffer) grow(size int) error {
	n, err := b.from.countable(size)
	if err != nil {
		return err
	}
	if n > 0 && !b.from.memory.TryAcquire(n) {
		return ErrMemoryBusy
	}
	b.from.gauge.Add(float64(n))
	buf := append(b.from.get(size), b.bytes...)
	b.from.put(b.bytes)
	b.from.uncount(b.counted)
	b.bytes, b.counted = buf, n
	return nil
}

// count counts a first buffer of size bytes, as soon as there is memory for it.
func (p *Pools) count(ctx context.Context, size int) (counted int64, err error) {
	n, err := p.countable(size)
	if n == 0 || err != nil {
		return 0, err
	}
	if err := p.memory.Acquire(ctx, n); err != nil {
		return 0, fmt.Errorf("%w: %w", ErrMemoryBusy, err)
	}
	p.gauge.Add(float64(n))
	return n, nil
}

// countable is how many bytes are counted for a buffer of size bytes.
func (p *Pools) countable(size int) (int64, error) {
	n := int64(size)
	if n <= freeSize || p.memory == nil {
		return 0, nil
	}
	if n > p.total {
		return 0, fmt.Errorf("%w (%d of %d bytes)", errNoMemory, n, p.total)
	}
	return n, nil
}

func (p *Pools) uncount(n int64) {
	if n == 0 {
		return
	}
	p.memory.Release(n)
	p.gauge.Sub(float64(n))
}

// capacityFor rounds size up to the capacity of a buffer that is kept, if there is one.
func capacityFor(size int) int {
	if size > maxKept {
		return size
	}
	return max(minKept, 1<<bits.Len(uint(size-1))) //nolint:gosec // Not negative.
}

// get returns an empty buffer of a capacity that capacityFor has rounded.
func (p *Pools) get(capacity int) []byte {
	if buf, ok := p.buffers[bits.Len(uint(capacity))].Get().(*[]byte); ok { //nolint:gosec // Not negative.
		return (*buf)[:0]
	}
	return make([]byte, 0, capacity)
}

// put keeps a buffer that get made, unless it is too large.
func (p *Pools) put(buf []byte) {
	if c := cap(buf); c == capacityFor(c) && c <= maxKept {
		p.buffers[bits.Len(uint(c))].Put(&buf) //nolint:gosec // Not negative.
	}
}
