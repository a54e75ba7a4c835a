package embedded

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing/synctest"
	"time"

	config_util "github.com/prometheus/common/config"
	"github.com/stretchr/testify/require"

	"github.com/promlet/promlet/adapter"
	"github.com/promlet/promlet/adapter/rules"
	"github.com/promlet/promlet/scrape"
	"github.com/promlet/promlet/tsdb"
)

// fleetServer is the promlet that scrapes a fleet, on a clock of its own.
type fleetServer struct {
	of     *fleet
	dir    string
	starts int
	dial   config_util.HTTPClientOption
	booted time.Time
	ahead  atomic.Int64 // nanoseconds, of its clock

	promlet *Promlet
	cancel  context.CancelFunc
	done    chan error
}

func newFleetServer(f *fleet, dir string, dial config_util.HTTPClientOption) *fleetServer {
	s := &fleetServer{of: f, dir: dir, dial: dial, booted: time.Now()}
	s.start()
	return s
}

func (s *fleetServer) now() time.Time { return time.Now().Add(time.Duration(s.ahead.Load())) }

// data is the directory of the current start.
func (s *fleetServer) data() string { return filepath.Join(s.dir, fmt.Sprint(s.starts)) }

// start wires what [New] does, around the objects and the dialler of the fleet.
func (s *fleetServer) start() {
	boot := func() (string, time.Duration, error) { return "", time.Since(s.booted), nil }
	p := &Promlet{Dir: s.data(), opts: Options{
		Now: s.now, Storage: tsdb.Options{Boot: boot}, Scrape: scrape.Options{HTTPClientOptions: []config_util.HTTPClientOption{s.dial}},
	}.withDefaults()}
	p.targetsVersion.Store(1)
	var err error
	p.DB, err = tsdb.Open(p.storageOptions())
	require.NoError(s.of.t, err)
	require.NoError(s.of.t, p.forgetTargets())
	p.Scraper, err = scrape.NewManager(p.scrapeOptions())
	require.NoError(s.of.t, err)
	p.readiness = p.newReadiness()
	p.readiness.synced = func() error { return nil }
	p.Provider, err = adapter.NewProvider(adapter.Options{
		DB: p.DB, Objects: s.of.objects.Lister, Rules: rules.Set{Custom: rules.Defaults(rules.DefaultRateWindow)}, Now: s.now,
		Exposed: p.exposed, Targets: p.targets, Source: p.sourceOf, Ready: p.readiness.answerable, Collecting: p.Scraper.Collecting, Reuse: reuse,
	})
	require.NoError(s.of.t, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(s.of.t.Context()))
	s.promlet, s.cancel, s.done = p, cancel, make(chan error, 1)
	go func(c *collection, done chan error) { done <- c.run(ctx) }(p.collection(), s.done)
}

func (s *fleetServer) stop() {
	s.cancel()
	require.NoError(s.of.t, <-s.done)
	s.promlet.Scraper.Stop()
	require.NoError(s.of.t, s.promlet.DB.Close())
}

// demand makes both metrics wanted.
func (s *fleetServer) demand() {
	wanted := func(name string) bool { return name == "http_requests_total" || name == "queue_depth" }
	require.NoError(s.of.t, s.promlet.Scraper.SetDemand(context.Background(), scrape.Demand{Wanted: wanted}))
}

// kill ends it, and leaves the data of that moment for the next start.
func (s *fleetServer) kill() {
	synctest.Wait()
	killed := os.DirFS(s.data())
	s.starts++
	require.NoError(s.of.t, os.CopyFS(s.data(), killed))
	s.starts--
	s.stop()
	s.starts++
}

// damage breaks the log in some way.
func (s *fleetServer) damage() string {
	files, err := filepath.Glob(filepath.Join(s.data(), "wal", "0*"))
	require.NoError(s.of.t, err)
	file := files[s.of.IntN(len(files))]
	b, err := os.ReadFile(file)
	require.NoError(s.of.t, err)
	at := s.of.IntN(len(b) + 1)
	way := s.of.IntN(5)
	switch way {
	case 0, 1:
		b = b[:at]
	case 2:
		if at < len(b) {
			b[at] ^= 1 << s.of.IntN(8)
		}
	case 3:
		clear(b[at:])
	case 4:
		b = nil
	}
	require.NoError(s.of.t, os.WriteFile(file, b, 0o600))
	return fmt.Sprintf("way %d at %d of %d bytes of %s", way, at, len(b), filepath.Base(file))
}

// disturb kills promlet, with or without damage, or sets its clock.
func (w *watched) disturb(event int) {
	if event == 10 {
		w.set()
	} else {
		w.kill()
		w.note("killed")
		if event == 9 {
			w.note("damage: %s", w.damage())
		}
		if w.IntN(2) == 0 {
			w.whileDown()
		}
		if w.IntN(6) == 0 {
			w.set()
		}
		w.start()
		if !w.begun.IsZero() {
			w.demand()
		}
		w.apply()
		w.note("started: damage %v", w.promlet.DB.Damage())
	}
	w.disturbed = time.Now()
	for _, wait := range []time.Duration{0, time.Duration(w.IntN(200)) * time.Millisecond, time.Second, 2 * time.Second} {
		time.Sleep(wait)
		if wait > 0 {
			synctest.Wait()
		}
		if !w.begun.IsZero() {
			w.ask()
		}
	}
}

// set sets promlet's clock.
func (w *watched) set() {
	step := []time.Duration{30 * time.Second, time.Hour, 5 * time.Second, 700 * time.Millisecond}[w.IntN(4)]
	if w.IntN(2) == 0 {
		step = -step
	}
	w.ahead.Add(int64(step))
	w.note("the clock is set by %s", step)
}

// whileDown lets time pass, and pods come or go, while no promlet runs.
func (w *watched) whileDown() {
	time.Sleep(time.Duration(w.IntN(20_000)) * time.Millisecond)
	switch {
	case w.IntN(3) == 0 && len(w.pods) < 8:
		w.join()
		w.note("join %s", w.pods[len(w.pods)-1].Name)
	case w.IntN(3) == 0 && len(w.pods) > 1:
		w.leave()
		w.note("leave %s", w.gone[len(w.gone)-1].pod)
	default:
		return
	}
	w.changed = time.Now()
}
