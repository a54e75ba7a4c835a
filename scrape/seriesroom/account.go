package seriesroom

import (
	"math"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"github.com/promlet/promlet/scrape/internal/names"
)

// Account is what one target has in the storage. A nil Account has no limit.
type Account struct {
	room    *Room
	owner   *owner
	rank    uint64
	closed  bool
	live    Amount
	refused Amount // as in owner
}

// Open opens the account of a target. Of the accounts of an owner, those of the highest rank
// give back what the owner has borrowed. The caller closes the account.
func (r *Room) Open(name string, rank uint64) *Account {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	o := r.owners[name]
	if o == nil {
		o = &owner{name: name, accounts: map[*Account]struct{}{}}
		r.owners[name] = o
	}
	a := &Account{room: r, owner: o, rank: rank}
	o.accounts[a] = struct{}{}
	return a
}

// Owner returns the name of the account's owner.
func (a *Account) Owner() string {
	if a == nil {
		return ""
	}
	return a.owner.name
}

// SetRank replaces the account's rank.
func (a *Account) SetRank(rank uint64) {
	if a == nil {
		return
	}
	a.room.mu.Lock()
	defer a.room.mu.Unlock()
	a.rank = rank
}

// Close closes the account. Its series go on until [Account.EndLeft].
func (a *Account) Close() {
	if a == nil {
		return
	}
	a.room.mu.Lock()
	defer a.room.mu.Unlock()
	a.closed = true
	a.settle(Amount{})
	delete(a.owner.accounts, a)
	a.room.forget(a.owner)
}

// Admit reports whether there is room for a series that the target has not written before.
// stored returns the series' reference in the storage, 0 if it is not there. It is called
// only if it matters.
func (a *Account) Admit(ls labels.Labels, n names.Need, stored func() storage.SeriesRef) bool {
	if a == nil {
		return true
	}
	r, more := a.room, Amount{1, Cost(ls, 0)}
	if r.lock(func() bool { return r.lends(more[Series], Series, n) && r.lends(more[Bytes], Bytes, n) }) {
		return true
	}
	ref := stored()
	return r.lock(func() bool {
		if ref != 0 {
			// What is there takes no more memory: after a restart it finds its owner, and
			// a loop takes over from another. What has been given back is not taken again.
			e, owned := r.series[ref]
			if !owned || e.live && e.of.owner == a.owner {
				return true
			}
			more = Amount{}
		}
		for i := range more {
			if !r.lends(more[i], i, n) && (n == names.Unread || !a.owns(more[i], i, n)) {
				r.short = true
				return false
			}
		}
		return true
	})
}

// lock calls f with r.mu held.
func (r *Room) lock(f func() bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return f()
}

// owns reports whether the owner's share has room for more. The room's mu is held.
func (a *Account) owns(more int64, i int, n names.Need) bool {
	r := a.room
	return a.owner.held[i]+more <= share(r.level[i], n) && r.stored[i]+more <= r.limits[i]+r.limits[i]/ownPart
}

// Claim notes that the target writes a series, with so many buckets. The series stays that
// of another target that writes it as well.
func (a *Account) Claim(ref storage.SeriesRef, ls labels.Labels, buckets int) {
	if a == nil || ref == 0 {
		return
	}
	now := entry{of: a, bytes: uint32(min(Cost(ls, buckets), math.MaxUint32)), live: true} //nolint:gosec // Bounded.
	r := a.room
	r.mu.Lock()
	defer r.mu.Unlock()
	before, owned := r.series[ref]
	switch {
	case !owned:
		r.stored[Bytes] -= Cost(ls, 0)
	case before.live && before.of != a && !before.of.closed:
		return
	case before == now:
		return
	default:
		if before.live {
			before.of.end(before)
		}
		before.of.owner.held.subtract(before.amount())
		r.stored[Bytes] -= int64(before.bytes)
		r.forget(before.of.owner)
	}
	r.series[ref] = now
	r.stored[Bytes] += int64(now.bytes)
	a.live.add(now.amount())
	a.owner.live.add(now.amount())
	a.owner.held.add(now.amount())
}

// end takes a series out of what is live. The room's mu is held.
func (a *Account) end(e entry) {
	a.live.subtract(e.amount())
	a.owner.live.subtract(e.amount())
}

// End notes that the target writes a series no more. It returns what the target still writes.
func (a *Account) End(ref storage.SeriesRef) (live Amount) {
	if a == nil {
		return Amount{}
	}
	r := a.room
	r.mu.Lock()
	defer r.mu.Unlock()
	if e, owned := r.series[ref]; owned && e.live && e.of == a {
		r.endEntry(ref, e)
	}
	return a.live
}

// EndLeft ends a series that nobody has claimed since the account of its target was closed.
func (a *Account) EndLeft(ref storage.SeriesRef) {
	if a == nil {
		return
	}
	r := a.room
	r.mu.Lock()
	defer r.mu.Unlock()
	if e, owned := r.series[ref]; owned && e.live && e.of.closed {
		r.endEntry(ref, e)
	}
}

// endEntry marks a live series as ended. r.mu is held.
func (r *Room) endEntry(ref storage.SeriesRef, e entry) {
	e.of.end(e)
	e.live = false
	r.series[ref] = e
}

// Settle notes which series of the target's last scrape, that somebody reads, were refused,
// and computes the shares anew.
func (a *Account) Settle(refused Amount) {
	if a == nil {
		return
	}
	a.room.mu.Lock()
	defer a.room.mu.Unlock()
	a.settle(refused)
}

func (a *Account) settle(refused Amount) {
	a.owner.refused.subtract(a.refused)
	a.owner.refused.add(refused)
	a.refused = refused
	a.room.divide()
}

// Allowed returns how much the target may go on writing, by need of its series, if its
// owner has borrowed what others need now. It returns false if the owner has not.
func (a *Account) Allowed() (allowed [names.Needs]Amount, over bool) {
	if a == nil {
		return allowed, false
	}
	r, o := a.room, a.owner
	r.mu.Lock()
	defer r.mu.Unlock()
	var borrowed [2]bool
	for i := range r.limits {
		borrowed[i] = r.stored[i] > r.limits[i]+r.limits[i]/backPart && o.live[i] > r.level[i]
	}
	if borrowed == [2]bool{} {
		return allowed, false
	}
	var older Amount
	for other := range o.accounts {
		if other.rank < a.rank {
			older.add(other.live)
		}
	}
	for n := range allowed {
		for i := range r.limits {
			if allowed[n][i] = unlimited; borrowed[i] {
				allowed[n][i] = max(0, share(r.level[i], names.Need(n))-older[i]) //nolint:gosec // Few.
			}
		}
	}
	return allowed, true
}
