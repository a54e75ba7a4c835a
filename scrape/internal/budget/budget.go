// Package budget bounds the memory that scrapes of many owners hold together.
//
//   - [Budget] counts the bytes, and shares them between owners, such as namespaces.
//   - [Loan] is what one user of an owner holds.
//
// An owner gets no more than the others leave: it may hold as many bytes as are left for
// all others after it has taken them. So one that floods gets about half of the budget,
// two a third each, and however many there are, some is left for one that needs little.
// Within the share of an owner the last quarter is for loans that are small, so that its
// own large ones do not starve them.
package budget

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

var (
	// ErrBusy is returned when others hold the memory.
	ErrBusy = errors.New("memory for scrapes is in use")
	// ErrTooLarge is returned when a loan would be larger than it can be when nobody else
	// holds anything.
	ErrTooLarge = errors.New("more memory than one scrape may take")
	// errEnded is returned for a loan that has ended.
	errEnded = errors.New("scrape has ended")
)

// Budget counts the bytes that loans hold. It may be used from many goroutines.
type Budget struct {
	total int64
	small int64
	gauge prometheus.Gauge

	mu      sync.Mutex
	used    int64
	held    map[string]int64 // by owner
	waiting []*request       // in the order in which they came
}

// request waits for bytes.
type request struct {
	loan    *Loan
	bytes   int64
	large   bool
	granted chan struct{} // closed once the loan has the bytes
}

// New makes a Budget of total bytes; 0 or less is no limit. Loans of up to small bytes are
// small. The gauge shows how many bytes are held.
func New(total, small int64, gauge prometheus.Gauge) *Budget {
	if total <= 0 {
		total = math.MaxInt64 / 8
	}
	return &Budget{total: total, small: small, gauge: gauge, held: map[string]int64{}}
}

// Loan returns a loan of an owner that holds nothing yet. It ends with [Loan.End].
func (b *Budget) Loan(owner string) *Loan { return &Loan{budget: b, owner: owner} }

// fits reports whether there is room for so many more bytes of a loan. b.mu is held.
func (b *Budget) fits(l *Loan, bytes int64) bool {
	left := b.total - b.used - bytes
	if b.large(l, bytes) {
		left = left / 4 * 3
	}
	return b.held[l.owner]+bytes <= left
}

func (b *Budget) large(l *Loan, bytes int64) bool { return l.held+bytes > b.small }

// largest is the largest loan there can be: held == (total-held) / 4 * 3.
func (b *Budget) largest() int64 { return b.total / 7 * 3 }

// add gives bytes to a loan, or takes them back if they are negative. b.mu is held.
func (b *Budget) add(l *Loan, bytes int64) {
	l.held += bytes
	b.used += bytes
	if b.held[l.owner] += bytes; b.held[l.owner] == 0 {
		delete(b.held, l.owner)
	}
	b.gauge.Set(float64(b.used))
}

// serve gives what has become free to those that wait for it. One that does not fit is
// passed over, but not by those of its owner and size that came later. b.mu is held.
func (b *Budget) serve() {
	if len(b.waiting) == 0 {
		return
	}
	type class struct {
		owner string
		large bool
	}
	full := map[class]bool{}
	b.waiting = slices.DeleteFunc(b.waiting, func(r *request) bool {
		c := class{r.loan.owner, r.large}
		if r.loan.ended {
			close(r.granted)
			return true
		}
		if full[c] || !b.fits(r.loan, r.bytes) {
			full[c] = true
			return false
		}
		b.add(r.loan, r.bytes)
		close(r.granted)
		return true
	})
}

// Loan is what one user holds. It may be used from many goroutines. A nil Loan has no limit.
type Loan struct {
	budget *Budget
	owner  string
	held   int64 // guarded by budget.mu, as is ended
	ended  bool
}

// Try takes so many more bytes, or returns an error if there is no room for them now.
func (l *Loan) Try(bytes int64) error {
	if l == nil || bytes == 0 {
		return nil
	}
	b := l.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := l.check(bytes); err != nil {
		return err
	}
	if !b.fits(l, bytes) {
		return ErrBusy
	}
	b.add(l, bytes)
	return nil
}

// check returns why the loan cannot grow by so many bytes, whoever holds what.
func (l *Loan) check(bytes int64) error {
	switch most := l.budget.largest(); {
	case l.ended:
		return errEnded
	case l.held+bytes > most:
		return fmt.Errorf("%w (%d bytes, at most %d)", ErrTooLarge, l.held+bytes, most)
	}
	return nil
}

// Wait takes so many more bytes as soon as there is room for them. It returns ErrBusy if
// ctx ends first.
func (l *Loan) Wait(ctx context.Context, bytes int64) error {
	if l == nil || bytes == 0 {
		return nil
	}
	b := l.budget
	b.mu.Lock()
	if err := l.check(bytes); err != nil {
		b.mu.Unlock()
		return err
	}
	r := &request{loan: l, bytes: bytes, large: b.large(l, bytes)}
	if !b.overtakes(r) && b.fits(l, bytes) {
		b.add(l, bytes)
		b.mu.Unlock()
		return nil
	}
	r.granted = make(chan struct{})
	b.waiting = append(b.waiting, r)
	b.mu.Unlock()
	select {
	case <-r.granted:
		return nil
	case <-ctx.Done():
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if i := slices.Index(b.waiting, r); i >= 0 {
		b.waiting = slices.Delete(b.waiting, i, i+1)
		b.serve() // Others may have waited behind it.
		return fmt.Errorf("%w: %w", ErrBusy, ctx.Err())
	}
	return nil // It was granted at the same moment.
}

// overtakes reports whether another request of the same owner and size waits already.
// b.mu is held.
func (b *Budget) overtakes(r *request) bool {
	return slices.ContainsFunc(b.waiting, func(w *request) bool {
		return w.loan.owner == r.loan.owner && w.large == r.large
	})
}

// Return gives bytes back.
func (l *Loan) Return(bytes int64) {
	if l == nil || bytes == 0 {
		return
	}
	b := l.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	if l.ended {
		return
	}
	b.add(l, -bytes)
	b.serve()
}

// End gives everything back. From then on the loan takes nothing. Ending it twice is fine.
func (l *Loan) End() {
	if l == nil {
		return
	}
	b := l.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	if l.ended {
		return
	}
	b.add(l, -l.held)
	l.ended = true
	b.serve()
}
