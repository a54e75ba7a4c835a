package main

import (
	"context"
	"io"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// inFlight bounds the requests under way at one application. Beyond it requests are left out rather
	// than piled up.
	inFlight = 64

	// lag is how far the driver may fall behind (the machine slept) before it forgets what it owes.
	lag = time.Second

	// noteEvery and notes bound the record of the load: ten minutes.
	noteEvery = 250 * time.Millisecond
	notes     = 2400
)

// load sends requests to one application at a steady rate, however fast it answers, and remembers when.
type load struct {
	url      string
	rate     float64 // per second
	client   *http.Client
	answered atomic.Int64

	mu    sync.Mutex
	noted []note
}

// note is how many requests had been answered at a time.
type note struct {
	at       time.Time
	answered float64
}

func newLoad(url string, rate float64) *load {
	return &load{url: url, rate: rate, client: &http.Client{
		Timeout:   5 * time.Second,
		Transport: &http.Transport{MaxIdleConnsPerHost: inFlight},
	}}
}

// shares splits a rate unevenly, as 1 : 2 : 3 ..., so that rows of the table differ.
func shares(rate float64, n int) []float64 {
	s := make([]float64, n)
	for i := range s {
		s[i] = rate * float64(i+1) / float64(n*(n+1)/2)
	}
	return s
}

// run drives the load until ctx ends, and waits for the requests under way.
func (l *load) run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	l.note()
	wg.Go(func() { l.keepNotes(ctx) })
	slots := make(chan struct{}, inFlight)
	gap := time.Duration(float64(time.Second) / l.rate)
	for next := time.Now(); sleepUntil(ctx, next); next = next.Add(gap) {
		if time.Since(next) > lag {
			next = time.Now()
		}
		select {
		case slots <- struct{}{}:
			wg.Go(func() {
				defer func() { <-slots }()
				l.send(ctx)
			})
		default:
		}
	}
}

// sleepUntil returns false when ctx ended first.
func sleepUntil(ctx context.Context, t time.Time) bool {
	wait := time.Until(t)
	if wait <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// send counts a request when it has been answered. One that was not is missing from the load, as it should be.
func (l *load) send(ctx context.Context) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, l.url, nil)
	if err != nil {
		return
	}
	resp, err := l.client.Do(req)
	if err != nil {
		return
	}
	_, err = io.Copy(io.Discard, resp.Body)
	if resp.Body.Close() == nil && err == nil && resp.StatusCode == http.StatusOK {
		l.answered.Add(1)
	}
}

func (l *load) keepNotes(ctx context.Context) {
	for sleepUntil(ctx, time.Now().Add(noteEvery)) {
		l.note()
	}
}

func (l *load) note() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.noted = append(l.noted, note{time.Now(), float64(l.answered.Load())})
	l.noted = l.noted[max(0, len(l.noted)-notes):]
}

// over returns the requests per second that were answered in the window that ends at a time.
func (l *load) over(window time.Duration, end time.Time) float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return (l.until(end) - l.until(end.Add(-window))) / window.Seconds()
}

// beganAfter tells whether the load began after a time, or has not.
func (l *load) beganAfter(t time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.noted) == 0 || l.noted[0].at.After(t)
}

// until interpolates between the notes.
func (l *load) until(t time.Time) float64 {
	i, _ := slices.BinarySearchFunc(l.noted, t, func(n note, t time.Time) int { return n.at.Compare(t) })
	switch {
	case len(l.noted) == 0:
		return 0
	case i == 0:
		return l.noted[0].answered
	case i == len(l.noted):
		return l.noted[i-1].answered
	}
	a, b := l.noted[i-1], l.noted[i]
	return a.answered + (b.answered-a.answered)*float64(t.Sub(a.at))/float64(b.at.Sub(a.at))
}
