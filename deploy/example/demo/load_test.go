package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestShares(t *testing.T) {
	require.Equal(t, []float64{50, 100}, shares(150, 2))
	require.Equal(t, []float64{7}, shares(7, 1))
	require.Equal(t, []float64{1, 2, 3}, shares(6, 3))
}

// roundTrip answers in the place of an application.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func answerWith(code int, after time.Duration) roundTrip {
	return func(r *http.Request) (*http.Response, error) {
		select {
		case <-time.After(after):
			return &http.Response{StatusCode: code, Body: io.NopCloser(strings.NewReader("hello")), Request: r}, nil
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
}

// drive runs a load for a while in the bubble's own time.
func drive(t *testing.T, rate float64, transport http.RoundTripper, d time.Duration) *load {
	t.Helper()
	l := newLoad("http://app/", rate)
	l.client.Transport = transport
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	l.run(ctx)
	return l
}

func TestLoadIsSteady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		l := drive(t, 50, answerWith(http.StatusOK, 30*time.Millisecond), 20*time.Second)
		require.InDelta(t, 1000, l.answered.Load(), 3)
		for s := 2; s <= 19; s++ {
			require.InDelta(t, 50, l.over(time.Second, began.Add(time.Duration(s)*time.Second)), 0.5)
		}
		require.InDelta(t, 50, l.over(10*time.Second, began.Add(15300*time.Millisecond)), 0.1)
		// Before it began there was none, so the first half of this window counts nothing.
		require.InDelta(t, 25, l.over(10*time.Second, began.Add(5*time.Second)), 0.3)
		require.InDelta(t, 0, l.over(10*time.Second, began), 0)
		require.InDelta(t, 0, newLoad("", 1).over(time.Second, began), 0)
		require.True(t, newLoad("", 1).beganAfter(began))
		require.True(t, l.beganAfter(began.Add(-time.Millisecond)))
		require.False(t, l.beganAfter(began))
	})
}

// A slow application gets no fewer requests, until too many are under way; then the load is bounded.
func TestLoadIsOpenAndBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := drive(t, 50, answerWith(http.StatusOK, time.Second), 20*time.Second)
		require.InDelta(t, 950, l.answered.Load(), 3)
	})
	synctest.Test(t, func(t *testing.T) {
		var now, most atomic.Int64
		hanging := answerWith(http.StatusOK, time.Hour)
		l := drive(t, 50, roundTrip(func(r *http.Request) (*http.Response, error) {
			most.Store(max(most.Load(), now.Add(1)))
			defer now.Add(-1)
			return hanging(r)
		}), 20*time.Second)
		require.Zero(t, l.answered.Load())
		require.EqualValues(t, inFlight, most.Load())
		require.LessOrEqual(t, len(l.noted), notes)
	})
}

func TestLoadCountsOnlyAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		require.Zero(t, drive(t, 50, answerWith(http.StatusInternalServerError, 0), time.Second).answered.Load())
	})
	synctest.Test(t, func(t *testing.T) {
		l := newLoad("://", 50)
		l.send(t.Context())
		require.Zero(t, l.answered.Load())
	})
}

func TestLoadOverRealSockets(t *testing.T) {
	var served atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served.Add(1) }))
	defer server.Close()
	l := newLoad(server.URL, 200)
	defer l.client.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	l.run(ctx)
	require.InDelta(t, served.Load(), l.answered.Load(), 1) // the last may be cut off
	require.Greater(t, l.answered.Load(), int64(100))
	require.LessOrEqual(t, l.answered.Load(), int64(401))
}
