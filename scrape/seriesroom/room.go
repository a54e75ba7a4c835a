package seriesroom

import (
	"errors"
	"math"
	"sync"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunks"

	"github.com/promlet/promlet/scrape/internal/names"
)

// ErrFull is returned by the storage for a series that would take it above its ceiling.
var ErrFull = errors.New("series limit reached")

const (
	// backPart of the limit is how far the storage may be above the limit before anybody has
	// to give back what they have borrowed, so that a pod that comes and goes changes nothing
	// for others.
	backPart = 16
	// ownPart of the limit is how far owners below their share may go above the limit,
	// until others have given back what they have borrowed.
	ownPart = 8
	// ceilingPart of the limit is how far the storage may go above it. The synthetic series
	// have what lies between.
	ceilingPart = 4
	// unlimited is the limit where there is none. Sums of a few do not overflow.
	unlimited = math.MaxInt64 / 8
)

// Limits say how much may be stored in all; 0 or less is no limit.
type Limits struct {
	Series int
	Bytes  int64 // as Cost counts them
}

// Amount is an amount of series: their number and their bytes.
type Amount [2]int64

// The parts of an Amount.
const (
	Series = iota
	Bytes
)

func (a *Amount) add(b Amount) {
	for i := range a {
		a[i] += b[i]
	}
}

func (a *Amount) subtract(b Amount) {
	for i := range a {
		a[i] -= b[i]
	}
}

// Within reports whether a is not above b in either part.
func (a Amount) Within(b Amount) bool { return a[Series] <= b[Series] && a[Bytes] <= b[Bytes] }

// share returns the part of an amount that series needed so much may have: unread series
// four fifths, wanted ones nine tenths, vital ones all of it.
func share(of int64, n names.Need) int64 {
	tenths := [names.Needs]int64{8, 9, 10}[n]
	return of/10*tenths + of%10*tenths/10
}

// Room is the room for the series of a storage. A nil Room has no limit.
type Room struct {
	limits Amount

	mu      sync.Mutex
	storage *Storage
	stored  Amount // whoever's it is
	series  map[storage.SeriesRef]entry
	owners  map[string]*owner
	level   Amount // what each owner may have, whatever the others have
	short   bool   // a series was refused since Short was last called
}

// entry is a stored series with an owner.
type entry struct {
	of    *Account
	bytes uint32
	live  bool // samples are still added to it
}

func (e *entry) amount() Amount { return Amount{1, int64(e.bytes)} }

// owner is one who owns series.
type owner struct {
	name     string
	accounts map[*Account]struct{}
	held     Amount // in the storage
	live     Amount // of these, series that have not ended
	refused  Amount // series that somebody reads
}

// New makes an empty Room. It returns nil if there is no limit.
func New(l Limits) *Room {
	if l.Series <= 0 && l.Bytes <= 0 {
		return nil
	}
	r := &Room{limits: Amount{int64(l.Series), l.Bytes}, owners: map[string]*owner{}}
	for i, limit := range r.limits {
		if limit <= 0 {
			r.limits[i] = unlimited
		}
	}
	r.Storage()
	return r
}

// Storage counts the series of a storage: it is a SeriesLifecycleCallback of Prometheus's
// tsdb.
type Storage struct{ room *Room }

// Storage returns the counter for a storage that is about to be opened. The one before
// counts no more: a Room has one storage at a time.
func (r *Room) Storage() *Storage {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.storage = &Storage{room: r}
	r.stored, r.series, r.level = Amount{}, map[storage.SeriesRef]entry{}, r.limits
	for _, o := range r.owners {
		o.held, o.live = Amount{}, Amount{}
		for a := range o.accounts {
			a.live = Amount{}
		}
	}
	return r.storage
}

// PreCreation refuses series above the ceiling.
func (s *Storage) PreCreation(ls labels.Labels) error {
	r := s.room
	r.mu.Lock()
	defer r.mu.Unlock()
	after := r.stored
	after.add(Amount{1, Cost(ls, 0)})
	for i, limit := range r.limits {
		if after[i] > limit+limit/ceilingPart {
			return ErrFull
		}
	}
	return nil
}

// PostCreation counts a series.
func (s *Storage) PostCreation(ls labels.Labels) {
	r := s.room
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.storage == s {
		r.stored.add(Amount{1, Cost(ls, 0)})
	}
}

// PostDeletion forgets series.
func (s *Storage) PostDeletion(deleted map[chunks.HeadSeriesRef]labels.Labels) {
	r := s.room
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.storage != s {
		return
	}
	for ref, ls := range deleted {
		e, owned := r.series[storage.SeriesRef(ref)]
		if !owned {
			r.stored.subtract(Amount{1, Cost(ls, 0)})
			continue
		}
		delete(r.series, storage.SeriesRef(ref))
		r.stored.subtract(e.amount())
		if e.live {
			e.of.end(e)
		}
		e.of.owner.held.subtract(e.amount())
		r.forget(e.of.owner)
	}
}

// forget forgets an owner that has nothing any more. r.mu is held.
func (r *Room) forget(o *owner) {
	if len(o.accounts) == 0 && o.held == (Amount{}) && r.owners[o.name] == o {
		delete(r.owners, o.name)
	}
}

// lends reports whether there is room for more below the limit. r.mu is held.
func (r *Room) lends(more int64, i int, n names.Need) bool {
	return r.stored[i]+more <= share(r.limits[i], n)
}

// Unclaimed returns how many stored series have no owner: those from before a restart that no
// target has gone on with.
func (r *Room) Unclaimed() int {
	if r == nil {
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return int(r.stored[Series]) - len(r.series)
}

// IsUnclaimed reports whether a stored series has no owner.
func (r *Room) IsUnclaimed(ref storage.SeriesRef) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, owned := r.series[ref]
	return !owned
}

// Short reports whether a series was refused, or the limit exceeded, since Short was last
// called: then it helps to remove from the storage what has ended.
func (r *Room) Short() bool {
	if r == nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	short := r.short || !r.stored.Within(r.limits)
	r.short = false
	return short
}
