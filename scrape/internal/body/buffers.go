package body

import (
	"bufio"
	"context"
	"io"
	"math"
	"math/bits"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/promlet/promlet/scrape/internal/budget"
	"github.com/promlet/promlet/scrape/internal/reason"
)

const (
	// seatSize is what every scrape takes of the memory once its target has begun to
	// answer. It holds a filter, a first buffer and small things.
	seatSize = 96 << 10
	// firstSize is the size up to which a buffer is a part of seatSize.
	firstSize = 32 << 10
	// gunzipSize is what a decompressor takes.
	gunzipSize = 64 << 10
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
	memory  *budget.Budget

	gunzips sync.Pool // of *gunzip
	filters sync.Pool // of *filter
}

// gunzip is a reusable decompressor, some 50 KiB.
type gunzip struct {
	in  *bufio.Reader
	out *gzip.Reader
}

// NewPools makes empty pools. memory is how many bytes all scrapes may take together while
// they read and parse, 0 for no limit; the gauge shows how many they take.
func NewPools(memory int64, gauge prometheus.Gauge) *Pools {
	return &Pools{memory: budget.New(memory, seatSize+gunzipSize, gauge)}
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
	bytes []byte
	from  *Pools
	loan  *budget.Loan
}

// release gives the buffer back. bytes must not be used any more. The loan goes on.
func (b *buffer) release() {
	if b.from == nil {
		return
	}
	b.from.put(b.bytes)
	*b = buffer{}
}

// read reads r to its end into a buffer, and charges what is above firstSize to the loan.
// hint is the expected size. A body of limit bytes or more is an error; limit 0 is none. On
// an error nothing is lent, and n is how many bytes had been read.
func (p *Pools) read(ctx context.Context, loan *budget.Loan, r io.Reader, hint int, limit int64) (_ buffer, n int, err error) {
	if limit <= 0 {
		limit = math.MaxInt64 / 2
	}
	b := buffer{from: p, loan: loan}
	whole := false
	defer func() {
		// After a panic of r as well.
		if !whole {
			b.release()
		}
	}()
	size := capacityFor(int(min(int64(hint), limit)) + spare)
	if err := loan.Wait(ctx, charged(size)); err != nil {
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

// grow moves the body to a larger buffer. During the move both are charged. It does not
// wait: bodies that wait for each other would wait until their timeouts.
func (b *buffer) grow(size int) error {
	before, now := charged(cap(b.bytes)), charged(size)
	if err := b.loan.Try(now); err != nil {
		return err
	}
	buf := append(b.from.get(size), b.bytes...)
	b.from.put(b.bytes)
	b.loan.Return(before)
	b.bytes = buf
	return nil
}

// charged is how much of a buffer of that size is charged.
func charged(size int) int64 {
	if size <= firstSize {
		return 0
	}
	return int64(size)
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
