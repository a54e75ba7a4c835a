package seriesroom

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunks"

	"github.com/promlet/promlet/scrape/internal/names"
)

// head stands for a storage.
type head struct {
	*Storage
	series map[storage.SeriesRef]labels.Labels
	last   storage.SeriesRef
}

func newHead(r *Room) *head {
	return &head{Storage: r.Storage(), series: map[storage.SeriesRef]labels.Labels{}}
}

// put stores n more series of an account if there is room, and returns those stored.
func (h *head) put(a *Account, n int, need names.Need) (stored []storage.SeriesRef) {
	refused := Amount{}
	for range n {
		ls := labels.FromStrings("i", fmt.Sprint(h.last))
		if !a.Admit(ls, need, func() storage.SeriesRef { return 0 }) {
			refused.add(Amount{1, Cost(ls, 0)})
			continue
		}
		if h.PreCreation(ls) != nil {
			continue
		}
		h.last++
		h.PostCreation(ls)
		h.series[h.last] = ls
		a.Claim(h.last, ls, 0)
		stored = append(stored, h.last)
	}
	a.Settle(refused)
	return stored
}

func (h *head) remove(refs ...storage.SeriesRef) {
	gone := map[chunks.HeadSeriesRef]labels.Labels{}
	for _, ref := range refs {
		gone[chunks.HeadSeriesRef(ref)] = h.series[ref]
		delete(h.series, ref)
	}
	h.PostDeletion(gone)
}

// Shares are equal, and what an owner does not want is divided among the others.
func TestDivide(t *testing.T) {
	f := func(level int64, wants ...int64) {
		t.Helper()
		r := New(Limits{Series: 100})
		for i, want := range wants {
			r.Open(fmt.Sprint(i), 0).Settle(Amount{want, 0})
		}
		require.Equal(t, level, r.Status().Share[Series])
		require.Zero(t, r.Status().Share[Bytes])
	}
	f(100)
	f(100, 50)
	f(100, 5000)
	f(100, 50, 50)
	f(50, 51, 51)
	f(60, 40, 1000)
	f(30, 40, 1000, 500, 10)
	f(33, 1000, 1000, 1000)
}

func TestOwnersBelowTheirShareFindRoom(t *testing.T) {
	r := New(Limits{Series: 100})
	h := newHead(r)
	a, b := r.Open("a", 1), r.Open("b", 2)
	require.Len(t, h.put(a, 300, names.Unread), 80)
	require.Len(t, h.put(a, 300, names.Wanted), 10)
	mine := h.put(a, 300, names.Vital)
	require.Len(t, mine, 10)
	_, over := a.Allowed()
	require.False(t, over, "nobody else wants anything")

	require.Empty(t, h.put(b, 5, names.Unread), "unread series have no share")
	theirs := h.put(b, 300, names.Wanted)
	require.Len(t, theirs, 12)
	require.Len(t, h.put(b, 300, names.Wanted), 0, "not before others have given back")
	allowed, over := a.Allowed()
	require.True(t, over)
	require.Equal(t, [names.Needs]Amount{{40, unlimited}, {45, unlimited}, {50, unlimited}}, allowed)
	require.Equal(t, Amount{99, a.live[Bytes] - Cost(h.series[mine[0]], 0)}, a.End(mine[0]))
	require.Equal(t, int64(112), r.Status().Stored[Series], "the storage still has it")
	h.remove(mine...)
	require.Equal(t, int64(102), r.Status().Stored[Series])
	require.Len(t, h.put(b, 300, names.Wanted), 10)
	require.Empty(t, h.put(a, 300, names.Wanted), "above its share")
}

// What is counted goes back to nothing, whichever way series and targets go.
func TestNothingIsLeft(t *testing.T) {
	r := New(Limits{Series: 1000, Bytes: 1 << 20})
	h := newHead(r)
	h.PostCreation(labels.FromStrings("from", "the log"))
	h.series[1000] = labels.FromStrings("from", "the log")
	a, b := r.Open("a", 1), r.Open("b", 2)
	refs := h.put(a, 10, names.Wanted)
	a.Claim(1000, h.series[1000], 0)
	b.Claim(refs[0], h.series[refs[0]], 0) // written by both: it stays the first's
	a.Claim(refs[1], h.series[refs[1]], 10)
	a.Claim(refs[1], h.series[refs[1]], 5)
	require.Equal(t, r.Status().Stored, a.owner.held)
	require.Equal(t, r.Status().Stored, a.live)
	h.remove(refs[2])
	a.End(refs[3])
	b.Claim(refs[3], h.series[refs[3]], 0) // goes on with what has ended
	require.Equal(t, int64(9), a.live[Series])
	require.Equal(t, int64(1), b.owner.held[Series])
	a.Close()
	b.EndLeft(refs[4])
	require.Equal(t, int64(8), a.live[Series])
	b.Close()
	for ref := range h.series {
		h.remove(ref)
	}
	require.Equal(t, Amount{}, r.stored)
	require.Empty(t, r.series)
	require.Empty(t, r.owners)
	require.Equal(t, Amount{}, a.live)
}

// After a restart series find their owners, even where there is no room for others.
func TestStoredSeriesNeedNoRoom(t *testing.T) {
	r := New(Limits{Series: 10})
	h := newHead(r)
	var log []labels.Labels
	for i := range 12 {
		log = append(log, labels.FromStrings("i", fmt.Sprint(i)))
		h.PostCreation(log[i])
	}
	a := r.Open("a", 1)
	for i, ls := range log {
		require.True(t, a.Admit(ls, names.Wanted, func() storage.SeriesRef { return storage.SeriesRef(i + 1) }))
		a.Claim(storage.SeriesRef(i+1), ls, 0)
	}
	require.Equal(t, int64(12), r.Status().Stored[Series])
	require.False(t, a.Admit(labels.FromStrings("i", "new"), names.Wanted, func() storage.SeriesRef { return 0 }))
	_, over := a.Allowed()
	require.True(t, over)
	a.End(1)
	require.False(t, a.Admit(log[0], names.Wanted, func() storage.SeriesRef { return 1 }), "what was given back is not taken again")
	require.ErrorIs(t, h.PreCreation(log[0]), ErrFull)
	newHead(r)
	require.Equal(t, Amount{}, r.Status().Stored, "of the storage before")
}
