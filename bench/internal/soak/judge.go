package soak

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/promlet/promlet/bench/internal/harness"
)

const (
	accuracy = 0.02
	// A pod counts from grace after it is ready: the EndpointSlice, the next two scrapes. One that has gone does not
	// from afterwards on.
	grace      = 12 * time.Second
	afterwards = 10 * time.Second
	// aftermath is how long promlet may not know changes after kube-apiserver is back. Clients restart their watches after
	// up to a minute. So does kube-controller-manager, which then writes its first EndpointSlices late.
	aftermath = 90 * time.Second
)

// judge holds answers against the truth.
type judge struct {
	mu          sync.Mutex
	stopped     time.Time // kube-apiserver, last
	back        time.Time
	values      int
	absent      int // values that should have been there
	unavailable int // answers that were neither, while kube-apiserver was away
	wrong       []string
	reasons     []string // why values are absent; the first
	took        []time.Duration
}

func (j *judge) apiServerStops(at time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.stopped, j.back = at, time.Time{}
}

func (j *judge) apiServerIsBack(at time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.back = at
}

// judge judges the values of all objects of a kind, which were asked for at a time.
func (j *judge) judge(f *fleet, resource, metric string, asked time.Time, values map[string]float64, err error) {
	took := time.Since(asked)
	bounds := j.bounds(f.all(), resource, metric, asked)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.took = append(j.took, took)
	if status := (*statusError)(nil); err != nil && (!errors.As(err, &status) || status.code != http.StatusNotFound) {
		if j.away(asked) {
			j.unavailable++
		} else {
			j.fail("%s/*/%s: %v", resource, metric, err)
		}
		return
	}
	for name, b := range bounds {
		value, ok := values[name]
		switch {
		case ok && (value < b.low*(1-accuracy) || value > b.high*(1+accuracy)):
			j.fail("%s/%s/%s: it is between %g and %g, and answered is %g", resource, name, metric, b.low, b.high, value)
		case ok:
			j.values++
		case b.known && err == nil:
			j.absent++ // a list has no reasons
		case b.known:
			j.absent++
			j.note("%s/%s/%s is absent: %v", resource, name, metric, err)
		}
	}
	for name := range values {
		if _, ok := bounds[name]; !ok {
			j.fail("%s/%s/%s: it has gone, and answered is %g", resource, name, metric, values[name])
		}
	}
}

// bound is what a value is at least and at most.
type bound struct {
	low, high float64
	known     bool // it must be there
}

// bounds are those of all objects that may have a value.
func (j *judge) bounds(all []pod, resource, metric string, asked time.Time) map[string]bound {
	j.mu.Lock()
	defer j.mu.Unlock()
	bounds := map[string]bound{}
	for _, p := range all {
		value := p.depth
		if metric == rateMetric {
			value = p.rate
		}
		known := p.gone.IsZero() && !p.ready.IsZero() && asked.Sub(p.ready) > j.delay(p.ready, asked, grace)
		if !p.gone.IsZero() && asked.Sub(p.gone) > j.delay(p.gone, asked, afterwards) {
			continue
		}
		if resource == "pods" {
			bounds[p.name] = bound{value, value, known}
			continue
		}
		b := bounds[p.service]
		b.high += value
		if known {
			b.low += value
			b.known = true
		}
		bounds[p.service] = b
	}
	return bounds
}

// delay is how long after a change it may be unknown. One shortly before kube-apiserver stops may be, until its watches
// are back.
func (j *judge) delay(changed, asked time.Time, usual time.Duration) time.Duration {
	if j.stopped.IsZero() || changed.Before(j.stopped.Add(-usual)) || !j.back.IsZero() && changed.After(j.back.Add(aftermath)) {
		return usual
	}
	if j.back.IsZero() {
		return asked.Sub(changed) + usual
	}
	return max(usual, j.back.Sub(changed)+aftermath)
}

// away reports whether kube-apiserver is, or was a moment ago.
func (j *judge) away(asked time.Time) bool {
	return !j.stopped.IsZero() && (j.back.IsZero() || asked.Sub(j.back) < afterwards)
}

func (j *judge) fail(format string, args ...any) {
	j.wrong = append(j.wrong, time.Now().Format("15:04:05.000 ")+fmt.Sprintf(format, args...))
}

// result prints how all answers were, and is an error if one was wrong.
func (j *judge) result(out io.Writer) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	slices.Sort(j.took)
	text := fmt.Sprintf("\n%s values, %d wrong, %d absent, %d answers without kube-apiserver; an answer took %s, p99 %s, at most %s\n",
		harness.Grouped(j.values), len(j.wrong), j.absent, j.unavailable, harness.Quantile(j.took, 0.5), harness.Quantile(j.took, 0.99), harness.Quantile(j.took, 1))
	for _, reason := range j.reasons {
		text += reason + "\n"
	}
	if _, err := io.WriteString(out, text); err != nil {
		return err
	}
	if len(j.wrong) == 0 {
		return nil
	}
	return fmt.Errorf("%d values are wrong, such as:\n%s", len(j.wrong), strings.Join(j.wrong[:min(10, len(j.wrong))], "\n"))
}

// note records why a value is absent.
func (j *judge) note(format string, args ...any) {
	if len(j.reasons) < 10 {
		j.reasons = append(j.reasons, time.Now().Format("15:04:05.000 ")+fmt.Sprintf(format, args...))
	}
}
