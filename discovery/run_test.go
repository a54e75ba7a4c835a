package discovery

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/promlet/promlet/discovery/internal/runtest"
	"github.com/promlet/promlet/discovery/internal/samples"
	"github.com/promlet/promlet/discovery/internal/storetest"
	"github.com/promlet/promlet/discovery/objects"
)

// handSource is a Source whose changes the test makes.
type handSource struct {
	synced  atomic.Bool
	ready   chan func() // gets changed when Run has begun
	failure chan error
}

func newHandSource() *handSource {
	return &handSource{ready: make(chan func(), 1), failure: make(chan error, 1)}
}

func (s *handSource) Run(ctx context.Context, _ *objects.Store, changed func()) error {
	s.ready <- changed
	select {
	case <-ctx.Done():
		return nil
	case err := <-s.failure:
		return err
	}
}

func (s *handSource) HasSynced() bool    { return s.synced.Load() }
func (s *handSource) Problems() []string { return nil }

// runByHand runs a Discoverer in a bubble of synctest.
func runByHand(t *testing.T, d *Discoverer, a *runtest.Applied) (src *handSource, changed func()) {
	t.Helper()
	src = newHandSource()
	start(t, d, src, a)
	return src, <-src.ready
}

func addPod(t *testing.T, o *objects.Store, name, ip string) {
	t.Helper()
	require.NoError(t, storetest.Pods(o).Update(&corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Ports: []corev1.ContainerPort{{ContainerPort: 1}}}}},
		Status:     corev1.PodStatus{PodIP: ip},
	}))
}

func TestRunAppliesWhenSynced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := storetest.Load(t, samples.PodMonitor(`{selector: {}, podMetricsEndpoints: [{}]}`))
		d := New(o, Options{})
		var a runtest.Applied
		src, changed := runByHand(t, d, &a)
		addPod(t, o, "a", "10.0.0.1")
		changed()
		time.Sleep(time.Minute)
		require.Empty(t, a.All(), "nothing is applied before the source has synced")
		require.False(t, d.HasSynced())

		src.synced.Store(true)
		changed()
		synctest.Wait()
		require.Len(t, a.All(), 1, "applied at once")
		require.Len(t, a.All()[0].Groups["podMonitor/default/m/0"], 1)
		require.True(t, d.HasSynced())

		changed()
		time.Sleep(time.Minute)
		require.Len(t, a.All(), 1, "a change that changes nothing is not applied")

		addPod(t, o, "b", "10.0.0.2")
		changed()
		time.Sleep(time.Minute)
		require.Len(t, a.All(), 2)
		require.Len(t, a.All()[1].Groups["podMonitor/default/m/0"], 2)
		require.Same(t, a.All()[0].Groups["podMonitor/default/m/0"][0], a.All()[1].Groups["podMonitor/default/m/0"][0])
		require.Same(t, a.All()[0].Configs[0], a.All()[1].Configs[0])
	})
}

func TestRunAppliesEmptySet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := New(objects.NewStore(), Options{})
		var a runtest.Applied
		src, changed := runByHand(t, d, &a)
		src.synced.Store(true)
		changed()
		synctest.Wait()
		require.Len(t, a.All(), 1, "the receiver learns that there is nothing")
		require.True(t, d.HasSynced())
	})
}

func TestRunGathersChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := storetest.Load(t, samples.PodMonitor(`{selector: {}, podMetricsEndpoints: [{}]}`))
		d := New(o, Options{})
		var a runtest.Applied
		src, changed := runByHand(t, d, &a)
		src.synced.Store(true)
		changed()
		synctest.Wait()

		// A burst is applied once, soon after its end.
		for i := range 20 {
			addPod(t, o, "burst", fmt.Sprintf("10.0.1.%d", i))
			changed()
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(time.Second)
		require.Len(t, a.All(), 2)
		require.Contains(t, a.Last()[0], "10.0.1.19")
	})
}

func TestRunUnderConstantChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := storetest.Load(t, samples.PodMonitor(`{selector: {}, podMetricsEndpoints: [{}]}`))
		d := New(o, Options{})
		var a runtest.Applied
		src, changed := runByHand(t, d, &a)
		src.synced.Store(true)
		changed()
		synctest.Wait()

		begin := time.Now()
		for i := range 1000 { // 20 s of a change every 20 ms
			addPod(t, o, "busy", fmt.Sprintf("10.0.%d.%d", i/250, i%250))
			changed()
			time.Sleep(20 * time.Millisecond)
		}
		calls := a.All()[1:]
		require.InDelta(t, 20, len(calls), 3, "about one a second")
		previous := begin
		for _, c := range calls {
			require.LessOrEqual(t, c.At.Sub(previous), 2*time.Second)
			previous = c.At
		}
	})
}

// TestRunGathersChangesThatCannotBeApplied: one bad target at the start does not make
// every change an apply.
func TestRunGathersChangesThatCannotBeApplied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := storetest.Load(t, samples.Web, samples.WebMonitor())
		var a runtest.Applied
		a.SetErr(errors.New("no"))
		src, changed := runByHand(t, New(o, Options{}), &a)
		src.synced.Store(true)
		changed()
		for i := range 200 {
			addPod(t, o, fmt.Sprint("web-", i), "10.0.1.1")
			changed()
			time.Sleep(5 * time.Millisecond)
		}
		require.Less(t, len(a.All()), 4)
	})
}

func TestRunTriesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log runtest.LogBuffer
		o := storetest.Load(t, samples.PodMonitor(`{selector: {}, podMetricsEndpoints: [{}]}`))
		addPod(t, o, "a", "10.0.0.1")
		d := New(o, Options{Logger: log.Logger()})
		var a runtest.Applied
		a.SetErr(errors.New("scraper is full"))
		src, changed := runByHand(t, d, &a)
		src.synced.Store(true)
		changed()
		time.Sleep(time.Minute)
		require.Greater(t, len(a.All()), 5)
		require.Equal(t, 1, log.Count("scraper is full"), "logged once")
		require.True(t, d.HasSynced(), "what could be applied was")

		a.SetErr(nil)
		time.Sleep(10 * time.Second)
		n := len(a.All())
		time.Sleep(time.Minute)
		require.Len(t, a.All(), n, "no more once it has been applied")

		// A failure after that keeps what was applied, and is mended likewise.
		a.SetErr(errors.New("scraper is full"))
		addPod(t, o, "b", "10.0.0.2")
		changed()
		time.Sleep(2 * time.Second)
		require.Equal(t, 2, log.Count("scraper is full"))
		a.SetErr(nil)
		time.Sleep(10 * time.Second)
		require.Len(t, a.Last(), 2)
		require.True(t, d.HasSynced())
	})
}

func TestRunEndsWithItsSource(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want string
	}{
		{errors.New("disk on fire"), "run source: disk on fire"},
		{nil, "run source: it has ended"},
	} {
		d := New(objects.NewStore(), Options{})
		src := newHandSource()
		src.failure <- tc.err
		err := d.Run(context.Background(), src, func([]*config.ScrapeConfig, map[string][]*targetgroup.Group) error { return nil })
		require.EqualError(t, err, tc.want)
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	d := New(objects.NewStore(), Options{})
	src := newHandSource()
	done := make(chan error, 1)
	go func() {
		done <- d.Run(ctx, src, func([]*config.ScrapeConfig, map[string][]*targetgroup.Group) error { return nil })
	}()
	<-src.ready
	cancel()
	require.NoError(t, <-done)
}

func TestBatchIsSeenWhole(t *testing.T) {
	// Two objects that are exchanged in one batch: no pass sees one of them only.
	o := storetest.Load(t, samples.PodMonitor(`{selector: {}, podMetricsEndpoints: [{}]}`))
	addPod(t, o, "a", "10.0.0.1")
	d := New(o, Options{})
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			from, to := "a", "b"
			if i%2 == 1 {
				from, to = to, from
			}
			o.Batch(func() {
				_ = storetest.Pods(o).Delete(objects.Get[corev1.Pod](o, "default/"+from))
				_ = storetest.Pods(o).Update(&corev1.Pod{
					ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: to},
					Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c"}}},
					Status:     corev1.PodStatus{PodIP: "10.0.0.1"},
				})
			})
		}
	}()
	for range 500 {
		_, groups := runtest.Resolve(t, d)
		require.Len(t, groups["podMonitor/default/m/0"], 1)
	}
	close(stop)
	<-done
}
