package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/metrics/pkg/apis/custom_metrics/v1beta2"
)

// roundTrip answers in the place of an application.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// answers has the values of a Service and of its second pod.
type answers struct {
	service, pod string
	age          time.Duration
}

func (a answers) value(value string) v1beta2.MetricValue {
	return v1beta2.MetricValue{
		DescribedObject: corev1.ObjectReference{Name: podName(1)}, Value: resource.MustParse(value),
		Timestamp: metav1.NewTime(time.Now().Add(-a.age)), WindowSeconds: new(int64(10)),
	}
}

func (a answers) GetForObject(schema.GroupKind, string, string, labels.Selector) (*v1beta2.MetricValue, error) {
	if a.service == "" {
		return nil, errors.New("no monitor selects it")
	}
	return new(a.value(a.service)), nil
}

func (a answers) GetForObjects(schema.GroupKind, labels.Selector, string, labels.Selector) (*v1beta2.MetricValueList, error) {
	return &v1beta2.MetricValueList{Items: []v1beta2.MetricValue{a.value(a.pod)}}, nil
}

// The load is steady, counts only what was answered, and stands in the table beside the value of the same window.
func TestTableOfALoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &demo{manifests: ".."}
		require.NoError(t, d.connect())
		d.loads = []*load{{url: "http://one", rate: 50, began: time.Now()}, {url: "http://two", rate: 100, began: time.Now()}}
		client := &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			time.Sleep(30 * time.Millisecond)
			status := http.StatusOK
			if r.URL.Path == "/fails" {
				status = http.StatusInternalServerError
			}
			return &http.Response{StatusCode: status, Status: strconv.Itoa(status), Body: io.NopCloser(strings.NewReader("hello")), Request: r}, nil
		})}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for _, l := range d.loads {
			wg.Go(func() { l.run(ctx, client) })
		}
		defer wg.Wait()
		defer cancel()
		f := func(a answers, want string) {
			t.Helper()
			d.metrics = a
			table, err := d.table()
			require.Equal(t, a.service == "", err != nil)
			require.Equal(t, strings.TrimPrefix(want, "\n"), regexp.MustCompile(" +\n").ReplaceAllString(table, "\n"))
		}
		time.Sleep(15*time.Second + time.Millisecond)
		f(answers{"149600m", "101", 1250 * time.Millisecond}, `
OBJECT                        METRIC          VALUE    LOAD     OFF BY   TARGET   THE HPA ASKS FOR               AGE    WINDOW
services/sample-metrics-app   http_requests   149.60   150.00   -0.3%    100      3 replicas (has 2, may 2-10)   1.2s   10s
pods/sample-metrics-app-1     http_requests   -        -        -        -        -                              -      -
pods/sample-metrics-app-2     http_requests   101.00   100.00   +1.0%    -        -                              1.2s   10s
`)
		f(answers{"", "3", 6 * time.Second}, `
OBJECT                        METRIC          VALUE   LOAD    OFF BY    TARGET   THE HPA ASKS FOR   AGE    WINDOW
services/sample-metrics-app   http_requests   -       -       -         100      -                  -      -
pods/sample-metrics-app-1     http_requests   -       -       -         -        -                  -      -
pods/sample-metrics-app-2     http_requests   3.00    89.80   filling   -        -                  6.0s   10s
waiting: no monitor selects it
`)
		require.ErrorContains(t, get(t.Context(), client, "http://one/fails"), "http://one/fails: 500") // so no load
	})
}

func TestScreen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		f := func(s *screen, served, final bool, want string) {
			t.Helper()
			out.Reset()
			s.out = &out
			s.draw("one\ntwo\n", served, final)
			require.Equal(t, want, out.String())
			time.Sleep(time.Second)
		}
		file := &screen{}
		f(file, false, false, "\none\ntwo\n")
		f(file, false, false, "")
		f(file, true, false, "\none\ntwo\n") // now there are values
		for range 9 {
			f(file, true, false, "")
		}
		f(file, true, false, "\none\ntwo\n")
		f(file, true, true, "\none\ntwo\n")
		terminal := &screen{terminal: true}
		f(terminal, true, false, "\n\x1b[?7l\x1b[Jone\ntwo\n\x1b[?7h")
		f(terminal, true, false, "\x1b[2A\r\x1b[?7l\x1b[Jone\ntwo\n\x1b[?7h")
	})
}
