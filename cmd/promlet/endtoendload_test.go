package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
)

// maxLoad bounds every load and every reader, should a test forget to end one.
const maxLoad = 15 * time.Minute

// load is requests sent to a Service at a steady rate, through the API server.
type load struct {
	cancel context.CancelFunc
	group  errgroup.Group
	served atomic.Int64
	start  time.Time
}

// startLoad sends so many requests a second. What fails is not counted: pods come
// and go.
func (e *endToEnd) startLoad(t *testing.T, namespace, service string, perSecond int) *load {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), maxLoad)
	l := &load{cancel: cancel, start: time.Now()}
	due := make(chan struct{}, perSecond) // at most a second behind
	l.group.Go(func() error {
		defer close(due)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		sent := 0
		for {
			select {
			case <-ctx.Done():
				return nil
			case now := <-tick.C:
				for ; sent < int(now.Sub(l.start).Seconds()*float64(perSecond)); sent++ {
					select {
					case due <- struct{}{}:
					default: // the machine cannot keep up
					}
				}
			}
		}
	})
	for range 8 {
		l.group.Go(func() error {
			for range due {
				request := e.client.CoreV1().RESTClient().Get().Namespace(namespace).Resource("services").Name(service + ":web").SubResource("proxy")
				if request.Do(ctx).Error() == nil {
					l.served.Add(1)
				}
			}
			return nil
		})
	}
	t.Cleanup(func() { l.stop() })
	return l
}

func (l *load) stop() {
	l.cancel()
	_ = l.group.Wait() // its goroutines return no error
}

// rate is how many requests a second were served over the next while.
func (l *load) rate(ctx context.Context, while time.Duration) float64 {
	before, start := l.served.Load(), time.Now()
	select {
	case <-ctx.Done():
	case <-time.After(while):
	}
	return float64(l.served.Load()-before) / time.Since(start).Seconds()
}

// reader reads a metric ten times a second, and remembers what went wrong.
type reader struct {
	cancel context.CancelFunc
	group  errgroup.Group

	mtx     sync.Mutex
	reads   int
	lowest  float64
	failed  []failure
	excused []failure
	resumed time.Time // when the machine last went on after it had stood still
}

type failure struct {
	at  time.Time
	err error
}

const (
	// standstill is how late a goroutine of an idle process may come before the
	// machine counts as having stood still: then requests time out, and samples
	// are too old to answer from, whatever promlet does.
	standstill = 2 * time.Second
	// aftermath is how long after that failures are excused: kube-apiserver
	// looks at an APIService again within so long.
	aftermath = 10 * time.Second
)

// startReading also watches that the APIServices stay available.
func (e *endToEnd) startReading(t *testing.T, path string) *reader {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), maxLoad)
	r := &reader{cancel: cancel}
	r.group.Go(func() error { return r.watchTheMachine(ctx) })
	r.group.Go(func() error {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-ctx.Done():
				return nil
			case <-tick.C:
			}
			value, err := e.number(ctx, path)
			r.note(ctx, value, err)
			if n%10 == 0 {
				if err := available(ctx, e.objects); err != nil {
					r.note(ctx, 0, err)
				}
			}
		}
	})
	t.Cleanup(func() { r.stop() })
	return r
}

// watchTheMachine notices when nothing has run for a while.
func (r *reader) watchTheMachine(ctx context.Context) error {
	for last := time.Now(); ctx.Err() == nil; last = time.Now() {
		time.Sleep(100 * time.Millisecond)
		if time.Since(last) > standstill {
			r.mtx.Lock()
			r.resumed = time.Now()
			r.mtx.Unlock()
		}
	}
	return nil
}

func (r *reader) note(ctx context.Context, value float64, err error) {
	if ctx.Err() != nil {
		return // it was told to stop
	}
	r.mtx.Lock()
	defer r.mtx.Unlock()
	now := time.Now()
	switch {
	case err != nil && now.Sub(r.resumed) < aftermath:
		r.excused = append(r.excused, failure{now, err})
	case err != nil:
		r.failed = append(r.failed, failure{now, err})
	default:
		if r.reads == 0 || value < r.lowest {
			r.lowest = value
		}
		r.reads++
	}
}

func (r *reader) stop() {
	r.cancel()
	_ = r.group.Wait() // its goroutines return no error
}

// requireFlawless stops the reader and fails the test if one read did.
func (r *reader) requireFlawless(t *testing.T) {
	t.Helper()
	r.stop()
	for _, f := range append(r.excused, r.failed...) {
		t.Logf("%s: %v", f.at.Format(time.TimeOnly+".000"), f.err)
	}
	if len(r.excused) > 0 {
		t.Logf("the machine stood still: %d failures are excused", len(r.excused))
	}
	require.Empty(t, r.failed, "of %d reads", len(r.failed)+r.reads)
	t.Logf("%d reads, none failed, the lowest value was %.1f", r.reads, r.lowest)
}

// available is an error unless promlet's APIServices are.
func available(ctx context.Context, objects dynamic.Interface) error {
	apiServices := schema.GroupVersionResource{Group: "apiregistration.k8s.io", Version: "v1", Resource: "apiservices"}
	for _, name := range []string{"v1beta1.custom.metrics.k8s.io", "v1beta2.custom.metrics.k8s.io", "v1beta1.external.metrics.k8s.io"} {
		object, err := objects.Resource(apiServices).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if err := isAvailable(object); err != nil {
			return fmt.Errorf("APIService %s: %w", name, err)
		}
	}
	return nil
}

func isAvailable(object *unstructured.Unstructured) error {
	conditions, _, err := unstructured.NestedSlice(object.Object, "status", "conditions")
	if err != nil {
		return err
	}
	for _, c := range conditions {
		condition, ok := c.(map[string]any)
		if ok && condition["type"] == "Available" {
			if condition["status"] == "True" {
				return nil
			}
			return fmt.Errorf("%v: %v", condition["reason"], condition["message"])
		}
	}
	return errors.New("it has no condition Available yet")
}
