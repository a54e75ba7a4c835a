package values

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/promlet/promlet/adapter/objects"
	"github.com/promlet/promlet/tsdb"
)

// evaluator counts evaluations, each of which takes a minute.
type evaluator struct {
	count int
	err   error
}

func (e *evaluator) evaluate(ctx context.Context) func() (tsdb.Vector, error) {
	return func() (tsdb.Vector, error) {
		e.count++
		vector := tsdb.Vector{{Value: float64(e.count)}}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Minute):
			return vector, e.err
		}
	}
}

func TestEqualQuestionsShareAnEvaluation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Shared{Keep: 90 * time.Second, Now: time.Now}
		var e evaluator
		answers := make(chan string, 100)
		ask := func(ctx context.Context, expr string) {
			vector, err := s.ask(ctx, question{expr: expr}, e.evaluate(ctx))
			answers <- fmt.Sprint(len(vector) > 0 && vector[0].Value == float64(e.count), err)
		}
		for range 20 {
			go ask(t.Context(), "x")
		}
		for range 20 {
			require.Equal(t, "true <nil>", <-answers)
		}
		require.Equal(t, 1, e.count)
		ask(t.Context(), "x") // a minute old
		require.Equal(t, 1, e.count)
		time.Sleep(30 * time.Second)
		ask(t.Context(), "x")
		require.Equal(t, 2, e.count, "nothing older than 90s is an answer")
		ask(t.Context(), "y")
		require.Equal(t, 3, e.count)
		s.Keep = 0
		ask(t.Context(), "y")
		require.Equal(t, 4, e.count)
		require.Empty(t, s.evaluations)
		require.Empty(t, s.kept)
		require.Zero(t, s.bytes)
	})
}

// One who gives up does not fail the others, nor does one whose evaluation panics.
func TestWhoGivesUpDoesNotFailTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Shared{Keep: time.Hour, Now: time.Now}
		var e evaluator
		gaveUp, giveUp := context.WithCancel(t.Context())
		errs := make(chan error, 3)
		go func() {
			_, err := s.ask(gaveUp, question{}, e.evaluate(gaveUp))
			errs <- err
		}()
		synctest.Wait()
		for range 2 {
			go func() {
				_, err := s.ask(t.Context(), question{}, e.evaluate(t.Context()))
				errs <- err
			}()
		}
		synctest.Wait()
		giveUp()
		require.ErrorIs(t, <-errs, context.Canceled)
		require.NoError(t, <-errs)
		require.NoError(t, <-errs)
		require.Equal(t, 2, e.count)

		waits, stop := context.WithCancel(t.Context())
		go func() {
			defer func() { errs <- fmt.Errorf("panic: %v", recover()) }()
			_, _ = s.ask(t.Context(), question{expr: "bad"}, func() (tsdb.Vector, error) { time.Sleep(time.Second); panic("oh") })
		}()
		synctest.Wait()
		go func() {
			_, err := s.ask(t.Context(), question{expr: "bad"}, e.evaluate(t.Context()))
			errs <- err
		}()
		go func() {
			_, err := s.ask(waits, question{expr: "bad"}, e.evaluate(waits))
			errs <- err
		}()
		synctest.Wait()
		stop()
		require.ErrorIs(t, <-errs, context.Canceled, "it does not wait for what it does not want")
		require.EqualError(t, <-errs, "panic: oh")
		require.NoError(t, <-errs)
	})
}

func TestWhatIsNotKept(t *testing.T) {
	s := &Shared{Keep: time.Hour, Now: time.Now}
	count := 0
	ask := func(expr string, vector tsdb.Vector, err error) {
		_, _ = s.ask(t.Context(), question{expr: expr}, func() (tsdb.Vector, error) { count++; return vector, err })
	}
	one := tsdb.Vector{{}}
	for range 2 {
		ask("an error", one, errors.New("x"))
		ask("no values", nil, nil)
		ask("too much", make(tsdb.Vector, 1+maxKeptBytes/resultBytes), nil)
	}
	require.Equal(t, 6, count)
	for i := range 100 {
		ask(fmt.Sprint(i)+strings.Repeat(" ", maxKeptBytes/10), one, nil)
	}
	require.Len(t, s.kept, 9, "that is as much as fits")
	require.Len(t, s.evaluations, 9)
}

// querying counts queries.
type querying struct{ count int }

func (q *querying) Instant(context.Context, tsdb.Query) (tsdb.Vector, error) {
	q.count++
	return tsdb.Vector{{Value: float64(q.count)}}, nil
}

// What was evaluated before promlet was ready may lack targets, and must not answer a question that is asked after.
func TestNothingIsSharedBeforeValuesCanBeRight(t *testing.T) {
	var q querying
	starting := errors.New("1 of 4 targets have not been scraped yet")
	v := &Evaluator{
		Querier: &q, Shared: &Shared{Keep: time.Hour, Now: time.Now}, Ready: func() error { return starting },
		Evaluated: func(time.Time, int, error) {},
	}
	ask := func() float64 {
		vector, err := v.shared(t.Context(), tsdb.Query{Expr: "x"}, noLabels{}, targetTable{})
		require.NoError(t, err)
		return vector[0].Value
	}
	require.InDelta(t, 1, ask(), 0)
	starting = nil
	require.InDelta(t, 2, ask(), 0)
	require.InDelta(t, 2, ask(), 0, "it is shared from now on")
}

// noLabels is a rule without labels for objects.
type noLabels struct{}

func (noLabels) Label(objects.Kind) string { return "" }
