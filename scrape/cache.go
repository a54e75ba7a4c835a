package scrape

import (
	"hash/maphash"
	"maps"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"github.com/promlet/promlet/scrape/internal/budget"
)

// cache is what one loop remembers about the series of its target: labels and storage
// reference of each by its text in the body, so that a line seen before is not relabelled
// again; the texts that are not stored; and, for stale markers, which series the last
// scrape and this one held.
//
// Texts are kept as two hashes, of 64 and 32 bits, with secret seeds: the first finds
// the entry, the second detects that the entry is another text's. Such a text is then
// handled as new on every scrape.
//
// A cache belongs to one goroutine at a time.
type cache struct {
	seeds [2]maphash.Seed
	iter  uint32 // number of the scrape under way; a failed one may count twice

	index   map[uint64]int32 // into entries
	entries []cacheEntry
	free    []int32 // entries not in use
	dropped map[uint64]droppedEntry

	droppedRoom droppedRoom

	// previous are the series of the loop that this one replaces, by reference, until
	// the first scrape shows which of them are still there.
	previous map[storage.SeriesRef]labels.Labels

	// With these counts, scrapes without a change need no pass over the entries.
	seen, droppedSeen                  int // entries met in this scrape
	tracked, trackedBefore, stillThere int // entries present in this scrape, in the last, in both

	lastSize int // entries after the last success

	forgotten func(*cacheEntry) // called for each series that is forgotten; may be nil
}

// cacheEntry is a series. Iteration numbers start at 2, so that 0 is never.
type cacheEntry struct {
	ref     storage.SeriesRef
	lset    labels.Labels // shares its memory with the head block's
	check   uint32        // second hash of the text
	seen    uint32        // iteration that last met the text
	tracked uint32        // iteration that last counted it among the series present
	number  uint32        // of its name
}

type droppedEntry struct {
	check, seen uint32
	// unread: relabelling keeps the series, but nobody reads it. number is then that of
	// its name.
	number uint32
	unread bool
}

// textKey identifies the text of a series.
type textKey struct {
	hash  uint64
	check uint32
}

const (
	// maxDropped bounds the memory of dropped texts, 32 bytes each. Those above
	// it are relabelled on every scrape.
	maxDropped = 1 << 17
	// none is the place of a series that has no entry.
	none = -1
)

func newCache() *cache {
	return &cache{
		seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()},
		iter:  2,
		index: map[uint64]int32{},
	}
}

func (c *cache) key(text []byte) textKey {
	return textKey{
		hash:  maphash.Bytes(c.seeds[0], text),
		check: uint32(maphash.Bytes(c.seeds[1], text)), //nolint:gosec // The low half is meant.
	}
}

// get returns the place of a series, or none, and whether this scrape has met it
// before. Places are valid until the next add or done.
func (c *cache) get(k textKey) (place int32, again bool) {
	place, ok := c.index[k.hash]
	if !ok {
		return none, false
	}
	e := &c.entries[place]
	if e.check != k.check {
		return none, false
	}
	if e.seen == c.iter {
		return place, true
	}
	e.seen = c.iter
	c.seen++
	return place, false
}

// add remembers a series that get did not know, and returns its place.
func (c *cache) add(k textKey, ref storage.SeriesRef, lset labels.Labels, number uint32) int32 {
	if _, taken := c.index[k.hash]; taken {
		return none
	}
	e := cacheEntry{ref: ref, lset: lset, check: k.check, seen: c.iter, number: number}
	c.seen++
	var place int32
	if n := len(c.free); n > 0 {
		place = c.free[n-1]
		c.free = c.free[:n-1]
		c.entries[place] = e
	} else {
		place = int32(len(c.entries)) //nolint:gosec // Far more than a body can hold.
		c.entries = append(c.entries, e)
	}
	c.index[k.hash] = place
	return place
}

// track counts the series at place among those present in this scrape.
func (c *cache) track(place int32) {
	e := &c.entries[place]
	switch e.tracked {
	case c.iter:
		return
	case c.iter - 1:
		c.stillThere++
	}
	e.tracked = c.iter
	c.tracked++
}

// drop returns what is known of a text that is not stored, because relabelling drops it
// or nobody reads it.
func (c *cache) drop(k textKey) (d droppedEntry, ok bool) {
	if d, ok = c.dropped[k.hash]; !ok || d.check != k.check {
		return d, false
	}
	if d.seen != c.iter {
		d.seen = c.iter
		c.dropped[k.hash] = d
		c.droppedSeen++
	}
	return d, true
}

// undrop forgets a text that drop has just returned.
func (c *cache) undrop(k textKey) {
	delete(c.dropped, k.hash)
	c.droppedSeen--
}

// addDropped remembers a text that relabelling drops; or, with unread, one that nobody
// reads, of the name with the number.
func (c *cache) addDropped(k textKey, number uint32, unread bool) {
	if len(c.dropped) >= maxDropped || !c.droppedRoom.take(len(c.dropped)+1) {
		return
	}
	if c.dropped == nil {
		c.dropped = map[uint64]droppedEntry{}
	}
	if _, taken := c.dropped[k.hash]; taken {
		return
	}
	c.dropped[k.hash] = droppedEntry{check: k.check, seen: c.iter, number: number, unread: unread}
	c.droppedSeen++
}

// inLast reports whether a series was present in the last scrape.
func (c *cache) inLast(e *cacheEntry) bool { return e.tracked == c.iter-1 && e.ref != 0 }

// stale returns the series that were present in the last scrape, or in that of the
// replaced loop, and are not in this one. Several texts may have the same reference: its
// series is present if any of them is.
func (c *cache) stale() map[storage.SeriesRef]labels.Labels {
	if c.stillThere == c.trackedBefore && len(c.previous) == 0 {
		return nil
	}
	// A copy, because the scrape may still fail and ask again.
	gone := maps.Clone(c.previous)
	if gone == nil {
		gone = map[storage.SeriesRef]labels.Labels{}
	}
	for i := range c.entries {
		if e := &c.entries[i]; c.inLast(e) {
			gone[e.ref] = e.lset
		}
	}
	for i := range c.entries {
		if e := &c.entries[i]; e.tracked == c.iter {
			delete(gone, e.ref)
		}
	}
	return gone
}

// done ends a scrape. After a success it forgets what the scrape did not meet. After a
// failure it does so only when the cache has grown a lot: a target whose series always
// change and whose scrapes always fail would fill the memory.
func (c *cache) done(success bool) {
	size := len(c.index) + len(c.dropped)
	forget := success || size > 2*c.lastSize+1000
	if success {
		c.lastSize = size
	}
	if forget && c.seen < len(c.index) {
		c.forgetUnseen()
	}
	if forget && c.droppedSeen < len(c.dropped) {
		for k, d := range c.dropped {
			if d.seen != c.iter {
				delete(c.dropped, k)
			}
		}
		if len(c.dropped) == 0 {
			c.dropped = nil // Maps do not shrink by themselves.
		}
	}
	c.droppedRoom.keep(len(c.dropped))
	c.trackedBefore, c.tracked, c.stillThere = c.tracked, 0, 0
	c.seen, c.droppedSeen = 0, 0
	c.previous = nil
	c.iter++
}

func (c *cache) forgetUnseen() {
	for k, place := range c.index {
		if c.entries[place].seen != c.iter {
			delete(c.index, k)
			c.forget(place)
		}
	}
	// Maps and slices do not shrink by themselves.
	if len(c.entries) > 64 && len(c.index) < len(c.entries)/4 {
		c.compact()
	}
}

// forget forgets a series that is no longer in the index.
func (c *cache) forget(place int32) {
	if c.forgotten != nil {
		c.forgotten(&c.entries[place])
	}
	c.entries[place] = cacheEntry{}
	c.free = append(c.free, place)
}

// release forgets the series at some places before a scrape, as if the target did not
// expose them any more.
func (c *cache) release(places map[int32]bool) {
	if c.previous == nil {
		c.previous = map[storage.SeriesRef]labels.Labels{}
	}
	for k, place := range c.index {
		if !places[place] {
			continue
		}
		if e := &c.entries[place]; c.inLast(e) {
			c.previous[e.ref] = e.lset
		}
		delete(c.index, k)
		c.forget(place)
	}
}

func (c *cache) compact() {
	entries := make([]cacheEntry, 0, len(c.index))
	index := make(map[uint64]int32, len(c.index))
	for k, place := range c.index {
		index[k] = int32(len(entries)) //nolint:gosec // Less than before.
		entries = append(entries, c.entries[place])
	}
	c.entries, c.index, c.free = entries, index, nil
}

// series returns the labels of all series.
func (c *cache) series() []labels.Labels {
	all := make([]labels.Labels, 0, len(c.index))
	for _, place := range c.index {
		all = append(all, c.entries[place].lset)
	}
	return all
}

// present returns the series of the last scrape, for a loop that replaces this one.
func (c *cache) present() map[storage.SeriesRef]labels.Labels {
	present := c.previous
	c.previous = nil
	if present == nil {
		present = make(map[storage.SeriesRef]labels.Labels, c.trackedBefore)
	}
	for i := range c.entries {
		if e := &c.entries[i]; c.inLast(e) {
			present[e.ref] = e.lset
		}
	}
	return present
}

const (
	// droppedSize is what a dropped text takes, in bytes.
	droppedSize = 64
	// droppedStep is how many are charged at a time.
	droppedStep = 64
)

// droppedRoom charges the dropped texts of a cache to the memory for names. Its zero value
// has no limit.
type droppedRoom struct {
	loan    *budget.Loan
	charged int // texts
}

// take reports whether there is room for so many texts in all.
func (r *droppedRoom) take(texts int) bool {
	if texts <= r.charged {
		return true
	}
	if r.loan.Try(droppedStep*droppedSize) != nil {
		return false
	}
	r.charged += droppedStep
	return true
}

// keep gives back what is charged for more than so many texts.
func (r *droppedRoom) keep(texts int) {
	if steps := (r.charged - texts) / droppedStep; steps > 0 {
		r.loan.Return(int64(steps) * droppedStep * droppedSize)
		r.charged -= steps * droppedStep
	}
}
