package scrape

import (
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/prometheus/prometheus/util/teststorage"

	"github.com/promlet/promlet/scrape/seriesroom"
)

// tenants scrape targets of several owners into one storage with little room, at times that
// the test makes.
type tenants struct {
	t        *testing.T
	room     *seriesroom.Room
	store    *teststorage.TestStorage
	recorder *recorder
	manager  *Manager
	now      time.Time
}

func newTenants(t *testing.T, limits seriesroom.Limits, mutate ...func(*Options)) *tenants {
	s := &tenants{t: t, room: seriesroom.New(limits), now: time.Now().Add(-time.Hour)}
	s.store = newTSDB(t, counted(s.room))
	s.recorder = &recorder{next: s.store}
	s.manager = newManager(t, s.recorder, append(mutate, func(o *Options) {
		o.SeriesRoom = s.room
		o.Owner = func(job string, _ model.LabelSet) string { owner, _, _ := strings.Cut(job, "/"); return owner }
	})...)
	require.NoError(t, s.manager.SetDemand(t.Context(), Demand{Vital: func(string) bool { return true }}))
	return s
}

// target adds a target of a job, which is named owner/anything, that serves as many series as
// count says, with labels of some size.
func (s *tenants) target(job string, count *int, size int) *loop {
	server := serve(s.t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", textType)
		for i := range *count {
			_, _ = fmt.Fprintf(w, "m{i=\"%d\",x=\"%s\"} 1\n", i, strings.Repeat("x", size))
		}
	})
	return testLoop(s.t, s.manager, jobConfig(job, slow), model.LabelSet{model.AddressLabel: model.LabelValue(addressOf(server))})
}

// scrape scrapes a target. It returns the series of its body that were stored.
func (s *tenants) scrape(l *loop) (stored map[string]bool) {
	s.now = s.now.Add(time.Second)
	l.scrape(s.now)
	require.NoError(s.t, l.target.LastError())
	stored = map[string]bool{}
	body, _ := s.recorder.last(s.t)
	for _, one := range body {
		if !one.stale() && one.err == nil {
			stored[one.lset.String()] = true
		}
	}
	status := s.room.Status()
	for i, limit := range status.Limits {
		require.True(s.t, limit == 0 || status.Stored[i] <= limit+limit/4, "%v of %v", status.Stored, status.Limits)
	}
	require.EqualValues(s.t, s.store.Head().NumSeries(), status.Stored[seriesroom.Series])
	return stored
}

// tidy removes what has ended from the storage if that is of use.
func (s *tenants) tidy() {
	if s.room.Short() {
		require.NoError(s.t, s.store.CompactStaleHead())
	}
}

// One owner alone may use all the room. When another comes, it has its series within two
// scrapes, and the first loses as many, always the same.
func TestRoomIsLentAndComesBack(t *testing.T) {
	f := func(arriving, keeps int) {
		t.Helper()
		s := newTenants(t, seriesroom.Limits{Series: 1000})
		many, few := 3000, arriving
		flood := s.target("a/flood", &many, 0)
		for range 3 {
			require.Equal(t, 1000, len(s.scrape(flood)))
			require.Equal(t, int64(2000), s.room.Status().Refused[0].Refused[seriesroom.Series])
		}
		pod := s.target("b/pod", &few, 0)
		s.scrape(pod)
		s.scrape(flood)
		s.tidy()
		require.Equal(t, arriving, len(s.scrape(pod)))
		kept := s.scrape(flood)
		require.InDelta(t, keeps, len(kept), 5)
		for range 10 {
			s.tidy()
			require.Equal(t, arriving, len(s.scrape(pod)))
			require.True(t, maps.Equal(kept, s.scrape(flood)))
		}
		require.Len(t, s.room.Status().Refused, 1, "only those of the first owner")
		// It has what it had when the other one goes.
		few = 0
		s.scrape(pod)
		require.NoError(t, s.store.CompactStaleHead())
		require.InDelta(t, 1000, len(s.scrape(flood)), 10)
	}
	f(40, 1000)          // a few are within what is kept for it
	f(100, 1000-100-2*5) // what is above the limit is given back, the synthetic series among it
	f(400, 1000-400-2*5) // more than can be above the limit
	f(495, 1000-495-2*5) // half of it all
}

// Of two owners who want more than there is, each has half, whoever came first.
func TestRoomIsShared(t *testing.T) {
	s := newTenants(t, seriesroom.Limits{Series: 1000})
	many := 3000
	a, b := s.target("a/x", &many, 0), s.target("b/x", &many, 0)
	s.scrape(a)
	for range 4 {
		s.scrape(b)
		s.scrape(a)
		s.tidy()
	}
	for range 5 {
		require.Equal(t, 500-5, len(s.scrape(a)))
		require.InDelta(t, 500-5, len(s.scrape(b)), 5)
	}
}

// The newest targets of an owner give back first, and what nothing acts upon before the rest.
func TestNewestGivesBackFirst(t *testing.T) {
	s := newTenants(t, seriesroom.Limits{Series: 1000})
	n, other := 400, 490
	old, young, pod := s.target("a/old", &n, 0), s.target("a/young", &n, 0), s.target("b/pod", &other, 0)
	s.scrape(old)
	s.scrape(young)
	for range 3 {
		s.scrape(pod)
		require.Equal(t, 400, len(s.scrape(old)))
		s.scrape(young)
		s.tidy()
	}
	require.InDelta(t, 100, len(s.scrape(young)), 20)
	require.Equal(t, 400, len(s.scrape(old)))
	require.Equal(t, 490, len(s.scrape(pod)))
}

// Labels count by their bytes. An owner whose series change all the time pays for those that
// have ended, and does not keep others out.
func TestRoomCountsBytes(t *testing.T) {
	const limit = 8 << 20
	s := newTenants(t, seriesroom.Limits{Series: 100_000, Bytes: limit})
	many, few := 2000, 40
	flood := s.target("a/flood", &many, 15_000)
	for range 3 {
		s.scrape(flood)
		status := s.room.Status()
		require.InDelta(t, limit, status.Stored[seriesroom.Bytes], limit/20)
		require.EqualValues(t, "a", status.Refused[0].Name)
	}
	require.Equal(t, 40, len(s.scrape(s.target("b/pod", &few, 100))))
}

func TestChurnKeepsNobodyOut(t *testing.T) {
	s := newTenants(t, seriesroom.Limits{Series: 1000})
	round, few := 0, 40
	server := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", textType)
		for i := range 400 {
			_, _ = fmt.Fprintf(w, "m{i=\"%d\",round=\"%d\"} 1\n", i, round)
		}
	})
	churn := testLoop(t, s.manager, jobConfig("a/churn", slow), model.LabelSet{model.AddressLabel: model.LabelValue(addressOf(server))})
	for round = range 6 {
		s.scrape(churn)
	}
	require.Equal(t, 40, len(s.scrape(s.target("b/pod", &few, 0))))
	require.Equal(t, 40, len(s.scrape(s.target("c/pod", &few, 0))))
}

// A target that fails, while others take its room, does not come back above the ceiling.
func TestReturningSeriesFindTheCeiling(t *testing.T) {
	s := newTenants(t, seriesroom.Limits{Series: 1000})
	fail, n := false, 900
	serving := func(w http.ResponseWriter, _ *http.Request) {
		if fail {
			http.Error(w, "broken", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", textType)
		for i := range n {
			_, _ = fmt.Fprintf(w, "m{i=\"%d\"} 1\n", i)
		}
	}
	var loops []*loop
	for i := range 3 {
		l := testLoop(t, s.manager, jobConfig(fmt.Sprint("a/", i), slow), model.LabelSet{model.AddressLabel: model.LabelValue(addressOf(serve(t, serving)))})
		loops = append(loops, l)
		fail = false
		s.scrape(l)
		fail = true
		s.now = s.now.Add(time.Second)
		l.scrape(s.now)
		require.Error(t, l.target.LastError())
		require.NoError(t, s.store.CompactStaleHead())
	}
	fail = false
	for range 3 {
		for _, l := range loops {
			s.scrape(l)
			s.tidy()
		}
	}
	require.LessOrEqual(t, s.room.Status().Stored[seriesroom.Series], int64(1100))
}

// A loop with other settings goes on with the series of the one that it replaces, although
// there is no room for new ones.
func TestReplacingLoopNeedsNoRoom(t *testing.T) {
	s := newTenants(t, seriesroom.Limits{Series: 200})
	many := 300
	l := s.target("a/x", &many, 0)
	kept := s.scrape(l)
	require.Equal(t, 200, len(kept))
	next := s.manager.newLoop(l.job, l.settings, discovered{target: l.target, settings: l.targetSettings, url: l.url, key: l.key, public: l.public})
	l.keepSeries = true
	l.finish()
	next.replaces = l
	next.takeOver()
	for range 3 {
		require.True(t, maps.Equal(kept, s.scrape(next)))
	}
	require.EqualValues(t, 205, s.store.Head().NumSeries())
	next.finish()
	require.Empty(t, s.room.Status().Refused)
}
