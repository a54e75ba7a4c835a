package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// inFlight bounds the requests under way at one application. Beyond it requests are left out.
	inFlight = 64

	// remembered is the load's memory, well over the window of a rate and the age of a value.
	remembered = time.Minute
)

// load sends requests to one application at a steady rate, however fast it answers.
type load struct {
	url   string
	rate  float64 // per second
	began time.Time

	mu       sync.Mutex
	answered []time.Time // when; those of remembered
}

// run sends requests until ctx ends, and waits for those under way.
func (l *load) run(ctx context.Context, client *http.Client) {
	var requests errgroup.Group
	requests.SetLimit(inFlight)
	gap := time.Duration(float64(time.Second) / l.rate)
	for next := time.Now(); ctx.Err() == nil; {
		requests.TryGo(func() error {
			if get(ctx, client, l.url) == nil { // a request that failed is no load
				l.mu.Lock()
				defer l.mu.Unlock()
				l.answered = append(l.answered, time.Now())
				l.answered = l.answered[max(0, len(l.answered)-int(l.rate*remembered.Seconds())-1):]
			}
			return nil
		})
		next = next.Add(gap)
		select {
		case <-ctx.Done():
		case <-time.After(time.Until(next)):
		}
	}
	_ = requests.Wait() // they return no errors
}

// over returns the requests per second that were answered in the window that ends at a time.
func (l *load) over(window time.Duration, end time.Time) float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	from, _ := slices.BinarySearchFunc(l.answered, end.Add(-window), time.Time.Compare)
	to, _ := slices.BinarySearchFunc(l.answered, end, time.Time.Compare)
	return float64(to-from) / window.Seconds()
}

// get returns an error unless a URL answers 200.
func get(ctx context.Context, client *http.Client, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end, or given up
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, resp.Status)
	}
	return nil
}
