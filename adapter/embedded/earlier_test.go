package embedded

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/promlet/promlet/discovery"
)

// A promlet that is killed and started again answers as soon as it has scraped all targets once, if they are the same:
// the other sample of each rate is of the process before. TestFleets holds such values against the truth.
func TestAnswersSoonAfterARestart(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1)
		dial, stop := f.serve()
		defer stop()
		w := &watched{fleet: f, discoverer: discovery.New(f.objects, discovery.Options{}), changed: time.Now()}
		w.fleetServer = newFleetServer(f, dir, dial)
		defer func() { w.stop() }()
		starts := func() (until time.Duration) {
			w.demand()
			w.apply()
			for began := time.Now(); w.promlet.readiness.answerable() != nil; until = time.Since(began) {
				time.Sleep(100 * time.Millisecond)
				synctest.Wait()
			}
			w.disturbed = time.Now().Add(-time.Hour)
			w.ask()
			return until
		}
		w.begun = time.Now()
		require.Greater(t, starts(), time.Second, "a rate takes two scrapes")
		time.Sleep(time.Minute)
		w.kill()
		w.start()
		require.Less(t, starts(), time.Second)
	})
}
