package scrape

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestScrapesAtEqualDistances(t *testing.T) {
	inBubble(t, plain("a 1\n"), func(t *testing.T, r *recorder, m *Manager) {
		cfg := jobConfig("j", every(15*time.Second))
		start := time.Now().UnixMilli()
		require.NoError(t, m.Apply(one(cfg), groups("j", group("target:80"))))
		time.Sleep(10 * time.Minute)
		times, _ := ups(r)
		require.Len(t, times, 42)
		// At once, again after QuickGap, and then at the scheduled times.
		require.EqualValues(t, []int64{start + 5, start + 5 + QuickGap.Milliseconds()}, times[:2])
		for i := range times[3:] {
			require.EqualValues(t, 15_000, times[i+3]-times[i+2])
		}
		place := times[2] % 15_000

		// After a restart the target's scheduled times are the same.
		require.NoError(t, m.Apply(nil, nil))
		time.Sleep(7 * time.Second)
		require.NoError(t, m.Apply(one(cfg), groups("j", group("target:80"))))
		time.Sleep(time.Minute)
		again, _ := ups(r)
		again = again[len(times)+1:] // the stale marker
		require.GreaterOrEqual(t, len(again), 5)
		for _, at := range again[2:] {
			require.Equal(t, place, at%15_000)
		}
	})
}

// A scheduled time within QuickGap replaces the second scrape.
func TestFirstScheduledTimes(t *testing.T) {
	const s = time.Second
	base := time.Unix(1_700_000_000, 0)
	f := func(quick bool, last, now, place, want time.Duration, left bool) {
		t.Helper()
		next := schedule{quick: quick, last: base.Add(last)}
		key := uint64(base.Add(place).UnixNano()) //nolint:gosec // After 1970.
		require.Equal(t, want, next.next(base.Add(now), key, 60*s))
		require.Equal(t, left, next.quick)
	}
	f(false, 0, 0, 10*s, 10*s, false)
	f(true, 0, 0, 10*s, QuickGap, false)
	f(true, 0, s, 10*s, QuickGap, false)
	f(true, 0, 0, 2*s, 2*s, false)
	f(true, 0, 0, s, s, true) // too near for a rate
	// Scraped a moment before its scheduled time.
	f(false, 0, -time.Millisecond, 0, 60*s+time.Millisecond, false)
	f(false, 0, 0, 0, 60*s, false)
	f(false, 0, time.Millisecond, 60*s, 60*s-time.Millisecond, false)
}

func TestTargetsAreSpread(t *testing.T) {
	inBubble(t, plain("a 1\n"), func(t *testing.T, r *recorder, m *Manager) {
		var addresses []string
		for i := range 100 {
			addresses = append(addresses, "target"+itoa(i)+":80")
		}
		require.NoError(t, m.Apply(one(jobConfig("j", every(10*time.Second))), groups("j", group(addresses...))))
		time.Sleep(10 * time.Second)
		first, _ := ups(r)
		time.Sleep(10 * time.Second)
		times, _ := ups(r)
		times = times[len(first):]
		require.GreaterOrEqual(t, len(times), 99)
		seconds := map[int64]int{}
		for _, at := range times {
			seconds[at/1000]++
		}
		require.GreaterOrEqual(t, len(seconds), 10)
		for _, n := range seconds {
			require.LessOrEqual(t, n, 30)
		}
	})
}

// A name that becomes wanted is scraped at once and once more, however often that is
// requested.
func TestScrapeSoon(t *testing.T) {
	inBubble(t, plain("a 1\n"), func(t *testing.T, r *recorder, m *Manager) {
		require.NoError(t, m.Apply(one(jobConfig("j", every(time.Hour))), groups("j", group("target:80"))))
		time.Sleep(time.Minute)
		before, _ := ups(r)
		require.Len(t, before, 2)
		l := loopsByAddress(m, "j")["target:80"]
		start := time.Now().UnixMilli()
		for range 100 {
			l.scrapeSoon(0)
		}
		time.Sleep(time.Minute)
		times, _ := ups(r)
		require.Equal(t, []int64{start, start + QuickGap.Milliseconds()}, times[2:])
		// At most once in a second.
		start = time.Now().UnixMilli()
		for range 100 {
			l.scrapeSoon(0)
			time.Sleep(50 * time.Millisecond)
		}
		time.Sleep(time.Minute)
		times, _ = ups(r)
		require.Len(t, times[4:], 7)
		require.Equal(t, start, times[4])
	})
}

func TestAlign(t *testing.T) {
	const ms, s = time.Millisecond, time.Second
	base := time.Unix(1_000_000, 0)
	f := func(late, interval, want time.Duration) {
		t.Helper()
		key := uint64(base.UnixNano()) //nolint:gosec // After 1970.
		require.Equal(t, want, align(base.Add(late), key, interval).Sub(base))
	}
	f(0, 10*s, 0)
	f(1*ms, 10*s, 0)
	f(2*ms, 10*s, 0)
	f(3*ms, 10*s, 3*ms)
	f(10*s+1*ms, 10*s, 10*s)
	f(10*s-1*ms, 10*s, 10*s) // A timer may be early.
	f(10*s-3*ms, 10*s, 10*s-3*ms)
	f(35*s, 10*s, 35*s)
	f(30*s+2*ms, 10*s, 30*s)
	// For short intervals, the tolerance is one hundredth of them.
	f(1*ms, 50*ms, 1*ms)
	f(500*time.Microsecond, 50*ms, 0)
	// Setting the wall clock does not move the scheduled times.
	f(-time.Hour+1*ms, 10*s, -time.Hour)
}

func TestOffset(t *testing.T) {
	now := time.Unix(1_700_000_000, 123)
	for key := range uint64(2000) {
		key *= 9_223_372_036_854_771
		for _, interval := range []time.Duration{time.Millisecond, 10 * time.Second, time.Hour} {
			wait := offset(key, interval, now)
			require.GreaterOrEqual(t, wait, time.Duration(0))
			require.Less(t, wait, interval)
			// The scheduled time does not depend on when it is computed.
			later := now.Add(interval / 3)
			require.Equal(t, now.Add(wait).UnixNano()%int64(interval), later.Add(offset(key, interval, later)).UnixNano()%int64(interval))
		}
	}
}

// After a storage was slow for two intervals, the next scrape has its scheduled time.
func TestScheduleAfterADelay(t *testing.T) {
	inBubble(t, plain("a 1\n"), func(t *testing.T, r *recorder, m *Manager) {
		slow := true
		r.refuse = func(s sample) error {
			if s.name() == "a" && slow {
				slow = false
				time.Sleep(25 * time.Second)
			}
			return nil
		}
		require.NoError(t, m.Apply(one(jobConfig("j", every(10*time.Second))), groups("j", group("target:80"))))
		time.Sleep(95 * time.Second)
		times, _ := ups(r)
		require.Len(t, times, 9)
		for _, at := range times[2:] {
			require.Zero(t, (at-times[2])%10_000)
		}
	})
}
