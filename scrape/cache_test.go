package scrape

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"github.com/promlet/promlet/scrape/internal/names"
)

// cacheModel is what the cache is to do, by the book: maps of texts and sets of
// references.
type cacheModel struct {
	iter     int
	known    map[string]*modelEntry
	now, was map[storage.SeriesRef]bool
	lastSize int
}

type modelEntry struct {
	ref  storage.SeriesRef
	seen int
}

func (m *cacheModel) stale() []storage.SeriesRef {
	var out []storage.SeriesRef
	for ref := range m.was {
		if !m.now[ref] {
			out = append(out, ref)
		}
	}
	slices.Sort(out)
	return out
}

func (m *cacheModel) done(success bool) {
	if success || len(m.known) > 2*m.lastSize+1000 {
		if success {
			m.lastSize = len(m.known)
		}
		maps.DeleteFunc(m.known, func(_ string, e *modelEntry) bool { return e.seen != m.iter })
	}
	m.was, m.now = m.now, map[storage.SeriesRef]bool{}
	m.iter++
}

// Random scrapes, some failing, some series present without being tracked, some
// texts standing for the same reference, some references changing.
func TestCacheAgreesWithModel(t *testing.T) {
	for seed := range uint64(20) {
		rnd := rand.New(rand.NewPCG(seed, 2)) //nolint:gosec // The same every time.
		c := newCache()
		m := &cacheModel{iter: 2, known: map[string]*modelEntry{}, now: map[storage.SeriesRef]bool{}, was: map[storage.SeriesRef]bool{}}
		for step := range 200 {
			for range rnd.IntN(30) {
				n := rnd.IntN(40)
				text, ref := fmt.Sprintf("series %d", n), storage.SeriesRef(n/2+1)
				place, again := c.get(c.key([]byte(text)))
				e := m.known[text]
				require.Equal(t, e != nil, place != none, text)
				if e != nil {
					require.Equal(t, e.seen == m.iter, again)
					require.Equal(t, e.ref, c.entries[place].ref)
					e.seen = m.iter
				} else {
					place = c.add(c.key([]byte(text)), ref, labels.FromStrings("n", text), names.NoName)
					e = &modelEntry{ref: ref, seen: m.iter}
					m.known[text] = e
				}
				if rnd.IntN(4) > 0 {
					c.track(place)
					m.now[e.ref] = true
				}
			}
			got := slices.Sorted(maps.Keys(c.stale()))
			require.Equal(t, m.stale(), got, "seed %d, step %d", seed, step)
			success := rnd.IntN(4) > 0
			c.done(success)
			m.done(success)
			require.Len(t, c.index, len(m.known))
		}
	}
}

func TestCacheForgetsAndShrinks(t *testing.T) {
	c := newCache()
	fill := func(from, to int) {
		for i := from; i < to; i++ {
			k := c.key([]byte(fmt.Sprint(i)))
			if place, _ := c.get(k); place == none {
				c.add(k, storage.SeriesRef(i+1), labels.FromStrings("n", fmt.Sprint(i)), names.NoName)
			}
			place, _ := c.get(k)
			c.track(place)
		}
	}
	fill(0, 10_000)
	require.Empty(t, c.stale())
	c.done(true)
	fill(9_990, 10_010)
	require.Len(t, c.stale(), 9_990)
	c.done(true)
	require.Len(t, c.index, 20)
	require.Len(t, c.entries, 20)
	require.LessOrEqual(t, cap(c.entries), 32)
	// What is left is right after the move.
	for i := 9_990; i < 10_010; i++ {
		place, _ := c.get(c.key([]byte(fmt.Sprint(i))))
		require.Equal(t, storage.SeriesRef(i+1), c.entries[place].ref)
	}
	require.Empty(t, c.free)
}

// A target that always fails, with other series each time, does not fill memory.
func TestCacheOfAFailingTarget(t *testing.T) {
	c := newCache()
	for i := range 100 {
		for n := range 500 {
			k := c.key([]byte(fmt.Sprintf("%d of %d", n, i)))
			if n%2 == 0 {
				c.addDropped(k, names.NoName, false)
			} else {
				c.add(k, 1, labels.EmptyLabels(), names.NoName)
			}
		}
		c.done(false)
		require.LessOrEqual(t, len(c.index)+len(c.dropped), 2000)
	}
}

func TestCacheDropped(t *testing.T) {
	c := newCache()
	a, b := c.key([]byte("a")), c.key([]byte("b"))
	require.False(t, isDropped(c, a))
	c.addDropped(a, names.NoName, false)
	c.addDropped(b, names.NoName, false)
	require.True(t, isDropped(c, a))
	c.done(true)
	require.True(t, isDropped(c, a))
	c.done(true)
	require.True(t, isDropped(c, a))
	require.False(t, isDropped(c, b))
}

// Two texts of the same hash: the second is never taken for the first.
func TestCacheCollision(t *testing.T) {
	c := newCache()
	a := textKey{hash: 7, check: 1}
	b := textKey{hash: 7, check: 2}
	c.add(a, 1, labels.FromStrings("n", "a"), names.NoName)
	place, _ := c.get(b)
	require.EqualValues(t, none, place)
	require.EqualValues(t, none, c.add(b, 2, labels.FromStrings("n", "b"), names.NoName))
	place, _ = c.get(a)
	require.Equal(t, storage.SeriesRef(1), c.entries[place].ref)

	c.addDropped(a, names.NoName, false)
	require.False(t, isDropped(c, b))
	c.addDropped(b, names.NoName, false)
	require.False(t, isDropped(c, b))
	require.True(t, isDropped(c, a))
}

func TestCacheOfAReplacedLoop(t *testing.T) {
	c := newCache()
	for i := range 3 {
		c.track(c.add(c.key([]byte(fmt.Sprint(i))), storage.SeriesRef(i+1), labels.FromStrings("n", fmt.Sprint(i)), names.NoName))
	}
	c.add(c.key([]byte("not tracked")), 9, labels.EmptyLabels(), names.NoName)
	c.done(true)

	second := newCache()
	second.previous = c.present()
	require.Len(t, second.previous, 3)
	// It may be passed on again before the first scrape.
	third := newCache()
	third.previous = second.present()
	require.Len(t, third.previous, 3)

	// One of them is still there, under another text.
	third.track(third.add(third.key([]byte("other")), 2, labels.FromStrings("n", "1"), names.NoName))
	for range 2 {
		// Asking again after a failure gives the same.
		require.Equal(t, []storage.SeriesRef{1, 3}, slices.Sorted(maps.Keys(third.stale())))
	}
	third.done(true)
	require.Empty(t, third.previous)
	third.done(true)
	require.Empty(t, third.stale())
}

func isDropped(c *cache, k textKey) bool {
	_, ok := c.drop(k)
	return ok
}
