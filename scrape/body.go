package scrape

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"
)

const (
	// freeBody is the size up to which a body is not counted against the
	// memory for bodies: small targets never wait for large ones.
	freeBody = 256 << 10
	// bodySpare is the capacity left behind the last byte of a body.
	// textparse.NewPromParser appends a byte and would otherwise copy it all,
	// and located depends on its not being copied.
	bodySpare = 64
)

// bodies lends the buffers that bodies are read into.
type bodies struct {
	// classes holds returned buffers by capacity. They are sync.Pools, so the
	// collector empties them; buffers above the largest class are not kept.
	classes [len(bodyClasses)]sync.Pool
	memory  *semaphore.Weighted // nil: no limit
	total   int64               // of memory
	gauge   prometheus.Gauge
}

var bodyClasses = [...]int{16 << 10, 32 << 10, 64 << 10, 128 << 10, 256 << 10, 512 << 10, 1 << 20, 2 << 20, 4 << 20}

func newBodies(memory int64, gauge prometheus.Gauge) *bodies {
	b := &bodies{gauge: gauge}
	if memory > 0 {
		b.memory, b.total = semaphore.NewWeighted(memory), memory
	}
	return b
}

// body is a buffer on loan. Its zero value is an empty body.
type body struct {
	buf     []byte
	from    *bodies
	counted int64 // bytes counted against the memory for bodies
}

// release gives the buffer back. buf must not be used any more.
func (b *body) release() {
	if b.from == nil {
		return
	}
	b.from.put(b.buf)
	b.from.uncount(b.counted)
	*b = body{}
}

var (
	// errNoMemory is returned by read when a body needs more than there is for
	// all bodies together.
	errNoMemory = errors.New("body does not fit into the memory for bodies")
	// errMemoryBusy is returned by read when other bodies hold the memory: at the
	// beginning, when ctx ended before they had given up enough; later at once,
	// for bodies that wait for each other would wait until their timeouts.
	errMemoryBusy = errors.New("memory for bodies is in use")
)

// read reads r to its end into a lent buffer. hint is the expected size. A body
// of limit bytes or more is an error; limit 0 is none. On error nothing is lent
// and n is how much had been read.
func (p *bodies) read(ctx context.Context, r io.Reader, hint int, limit int64) (_ body, n int, err error) {
	if limit <= 0 {
		limit = math.MaxInt64 / 2
	}
	b := body{from: p}
	whole := false
	defer func() {
		// After a panic of r as well.
		if !whole {
			b.release()
		}
	}()
	size := capacityFor(int(min(int64(hint), limit)) + bodySpare)
	if b.counted, err = p.count(ctx, size); err != nil {
		return body{}, 0, err
	}
	b.buf = p.get(size)
	for {
		if cap(b.buf)-n <= bodySpare {
			want := min(2*int64(cap(b.buf)), limit+2*bodySpare)
			if err := b.grow(capacityFor(int(want))); err != nil {
				return body{}, n, err
			}
		}
		end := min(int64(cap(b.buf)-bodySpare), limit)
		m, err := r.Read(b.buf[n:end])
		n += m
		b.buf = b.buf[:n]
		switch {
		case int64(n) >= limit:
			return body{}, n, limitErrorf("body_size", "body_size_limit exceeded (limit: %d bytes)", limit)
		case err == io.EOF: // Readers return it bare; wrapped it is a broken connection.
			whole = true
			return b, n, nil
		case err != nil:
			return body{}, n, err
		}
	}
}

// grow moves the body to a larger buffer. For the moment of the move both count.
func (b *body) grow(size int) error {
	n, err := b.from.countable(size)
	if err != nil {
		return err
	}
	if n > 0 && !b.from.memory.TryAcquire(n) {
		return errMemoryBusy
	}
	b.from.gauge.Add(float64(n))
	buf := append(b.from.get(size), b.buf...)
	b.from.put(b.buf)
	b.from.uncount(b.counted)
	b.buf, b.counted = buf, n
	return nil
}

// count takes a first buffer of size bytes into account, once there is memory.
func (p *bodies) count(ctx context.Context, size int) (counted int64, err error) {
	n, err := p.countable(size)
	if n == 0 || err != nil {
		return 0, err
	}
	if err := p.memory.Acquire(ctx, n); err != nil {
		return 0, fmt.Errorf("%w: %w", errMemoryBusy, err)
	}
	p.gauge.Add(float64(n))
	return n, nil
}

// countable is how much a buffer of size bytes counts.
func (p *bodies) countable(size int) (int64, error) {
	n := int64(size)
	if n <= freeBody || p.memory == nil {
		return 0, nil
	}
	if n > p.total {
		return 0, fmt.Errorf("%w (%d of %d bytes)", errNoMemory, n, p.total)
	}
	return n, nil
}

func (p *bodies) uncount(n int64) {
	if n == 0 {
		return
	}
	p.memory.Release(n)
	p.gauge.Sub(float64(n))
}

// capacityFor rounds size up to a class, if there is one that large.
func capacityFor(size int) int {
	for _, class := range bodyClasses {
		if size <= class {
			return class
		}
	}
	return size
}

// get gives an empty buffer of the capacity, which capacityFor has rounded.
func (p *bodies) get(capacity int) []byte {
	for i, class := range bodyClasses {
		if capacity != class {
			continue
		}
		if buf, ok := p.classes[i].Get().(*[]byte); ok {
			return (*buf)[:0]
		}
	}
	return make([]byte, 0, capacity)
}

// put keeps a buffer that get made for one of the classes.
func (p *bodies) put(buf []byte) {
	for i, class := range bodyClasses {
		if cap(buf) == class {
			buf = buf[:0]
			p.classes[i].Put(&buf)
			return
		}
	}
}
