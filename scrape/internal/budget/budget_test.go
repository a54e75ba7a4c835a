package budget

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

func newBudget(total, small int64) *Budget {
	return New(total, small, prometheus.NewGauge(prometheus.GaugeOpts{Name: "g"}))
}

// flood takes as much as an owner gets, in pieces, each by a loan of its own.
func flood(b *Budget, owner string, piece int64) (loans []*Loan) {
	for {
		l := b.Loan(owner)
		if l.Try(piece) != nil {
			return loans
		}
		loans = append(loans, l)
	}
}

func TestShares(t *testing.T) {
	b := newBudget(1000, 10)
	require.Len(t, flood(b, "bad", 20), 21, "three sevenths, in large pieces")
	require.Len(t, flood(b, "bad", 10), 8, "up to a half, in small ones")
	require.NoError(t, b.Loan("good").Try(200))
	require.EqualValues(t, 700, testutil.ToFloat64(b.gauge))

	// However many flood, there is room for one that needs little.
	b = newBudget(1<<20, 100)
	for _, owner := range []string{"a", "b", "c", "d", "e", "f"} {
		flood(b, owner, 100)
	}
	require.NoError(t, b.Loan("good").Try(100))
}

func TestEndsAndReturns(t *testing.T) {
	b := newBudget(1000, 10)
	l := b.Loan("a")
	require.NoError(t, l.Try(400))
	require.ErrorIs(t, l.Try(40), ErrTooLarge, "whoever holds what")
	require.ErrorIs(t, b.Loan("a").Try(100), ErrBusy)
	l.Return(300)
	require.NoError(t, b.Loan("a").Try(100))
	l.End()
	l.End()
	require.EqualValues(t, 100, testutil.ToFloat64(b.gauge))
	require.Error(t, l.Try(1))
	require.Error(t, l.Wait(t.Context(), 1))
	l.Return(1)
	require.EqualValues(t, 100, testutil.ToFloat64(b.gauge))

	var none *Loan
	require.NoError(t, none.Try(1<<40))
	require.NoError(t, none.Wait(t.Context(), 1<<40))
	none.Return(1)
	none.End()
	require.NoError(t, newBudget(0, 0).Loan("a").Try(1<<40), "no limit")
}

func TestWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(1000, 10)
		held := b.Loan("bad")
		require.NoError(t, held.Try(420))
		granted := make(chan string, 3)
		wait := func(owner string, bytes int64) *Loan {
			l := b.Loan(owner)
			go func() {
				if l.Wait(t.Context(), bytes) == nil {
					granted <- owner
				}
			}()
			synctest.Wait()
			return l
		}
		wait("bad", 100)
		late := wait("bad", 50)
		require.Empty(t, granted)

		// What waits is in nobody else's way, nor in that of small ones.
		wait("good", 100)
		require.Equal(t, "good", <-granted)
		wait("bad", 5)
		require.Equal(t, "bad", <-granted)

		// One that came later does not overtake.
		held.Return(150)
		synctest.Wait()
		require.Equal(t, "bad", <-granted)
		require.Empty(t, granted)
		late.End() // It gets nothing any more, but is let go.
		held.End()
		synctest.Wait()
		require.Equal(t, "bad", <-granted)
		require.EqualValues(t, 100+100+5, testutil.ToFloat64(b.gauge))

		require.NoError(t, b.Loan("bad").Try(200))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := b.Loan("bad").Wait(ctx, 200)
		require.ErrorIs(t, err, ErrBusy)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Empty(t, b.waiting)
	})
}
