package scrape

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/targetgroup"
)

// unreliable answers in every way a target can, quickly.
func unreliable(seed uint64) http.HandlerFunc {
	var mu sync.Mutex
	rnd := rand.New(rand.NewPCG(seed, 3)) //nolint:gosec // The same every time.
	return func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		what, n := rnd.IntN(8), rnd.IntN(50)
		mu.Unlock()
		switch what {
		case 0:
			http.Error(w, "no", http.StatusInternalServerError)
		case 1:
			plain("a 1\n}\n")(w, r)
		case 2:
			<-r.Context().Done()
		default:
			w.Header().Set("Content-Type", textType)
			for i := range n {
				_, _ = fmt.Fprintf(w, "a{n=\"%d\"} %d\n", i, what)
			}
		}
	}
}

// randomSet is some of the jobs with some of the targets.
func randomSet(rnd *rand.Rand, jobs []*config.ScrapeConfig, gs []*targetgroup.Group) ([]*config.ScrapeConfig, map[string][]*targetgroup.Group) {
	var cfgs []*config.ScrapeConfig
	sets := map[string][]*targetgroup.Group{}
	for i, cfg := range jobs {
		switch rnd.IntN(6) {
		case 0:
			continue
		case 1:
			changed := *cfg
			changed.SampleLimit = uint(rnd.IntN(100))
			cfg = &changed
			jobs[i] = cfg
		case 2:
			broken := *cfg
			broken.HTTPClientConfig.TLSConfig.CAFile = "/no/such/file"
			cfg = &broken
		}
		cfgs = append(cfgs, cfg)
		for _, g := range gs {
			if rnd.IntN(2) == 0 {
				sets[cfg.JobName] = append(sets[cfg.JobName], g)
			}
		}
	}
	return cfgs, sets
}

// Several goroutines apply random sets while scrapes run and another goroutine reads the
// status. In the end exactly the last set runs.
func TestStressApply(t *testing.T) {
	var gs []*targetgroup.Group
	for i := range 6 {
		s := serve(t, unreliable(uint64(i)))
		g := group(addressOf(s))
		g.Labels = model.LabelSet{"group": model.LabelValue(itoa(i))}
		gs = append(gs, g)
	}
	var jobs []*config.ScrapeConfig
	for i := range 4 {
		jobs = append(jobs, jobConfig("job"+itoa(i), every(20*time.Millisecond)))
	}
	r := &recorder{next: newTSDB(t)}
	reg := prometheus.NewRegistry()
	m := newManager(t, r, func(o *Options) { o.Registerer = reg })

	var changers, watchers sync.WaitGroup
	for n := range 3 {
		changers.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(n), 4)) //nolint:gosec // As above.
			own := slices.Clone(jobs)
			for range 100 {
				cfgs, sets := randomSet(rnd, own, gs)
				_ = m.Apply(cfgs, sets) // Some are broken on purpose.
				time.Sleep(time.Duration(rnd.IntN(10)) * time.Millisecond)
			}
		})
	}
	stop := make(chan struct{})
	watchers.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			for _, ts := range m.TargetsActive() {
				for _, tg := range ts {
					_, _, _ = tg.Health(), tg.LastError(), tg.ListMetadata()
				}
			}
			_, _ = reg.Gather()
		}
	})
	changers.Wait()
	close(stop)
	watchers.Wait()

	require.NoError(t, m.Apply(jobs[:2], map[string][]*targetgroup.Group{"job0": gs[:3], "job1": gs}))
	active := m.TargetsActive()
	require.Len(t, active, 2)
	require.Len(t, active["job0"], 3)
	require.Len(t, active["job1"], 6)
	n := len(r.all())
	eventually(t, func() bool { return len(r.all()) > n+20 }, "scrapes of the last set")
	m.Stop()
	checkHistory(t, r)
}

// checkHistory checks what holds after every sequence of events: the times of each series
// increase and nothing was refused.
func checkHistory(t *testing.T, r *recorder) {
	last := map[string]int64{}
	stale := 0
	for _, batch := range r.all() {
		for _, s := range batch {
			require.NoError(t, s.err, s)
			key := s.lset.String()
			require.Greater(t, s.t, last[key], key)
			last[key] = s.t
			if s.stale() {
				stale++
			}
		}
	}
	require.NotEmpty(t, last)
	require.Positive(t, stale)
}

// Several goroutines call Stop at any moment while sets change.
func TestStressStop(t *testing.T) {
	s := serve(t, unreliable(9))
	g := group(addressOf(s))
	for n := range 30 {
		r := &recorder{}
		m := newManager(t, r)
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				for i := range 20 {
					cfg := jobConfig("j", every(5*time.Millisecond), func(c *config.ScrapeConfig) { c.SampleLimit = uint(i + 1) })
					if err := m.Apply(one(cfg), groups("j", g)); err != nil {
						assert.ErrorIs(t, err, ErrStopped)
						return
					}
				}
			})
			wg.Go(func() {
				time.Sleep(time.Duration(n) * time.Millisecond)
				m.Stop()
				committed := len(r.all())
				time.Sleep(10 * time.Millisecond)
				assert.Len(t, r.all(), committed, "written after Stop")
			})
		}
		wg.Wait()
		require.Empty(t, m.TargetsActive())
	}
}
