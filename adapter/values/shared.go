package values

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/promlet/promlet/tsdb"
)

// maxKeptBytes bounds what Shared keeps. resultBytes is about what a result takes.
const maxKeptBytes, resultBytes = 4 << 20, 200

// Shared lets equal questions share one evaluation: those that are asked while it runs, and those that are asked within Keep
// of its start. A result without values and an error are not kept.
type Shared struct {
	// Keep is how old a result may be that answers a question. 0: none is kept.
	Keep time.Duration
	// Now is the clock.
	Now func() time.Time

	mu          sync.Mutex
	evaluations map[question]*sharedEvaluation // that run or are kept
	kept        []*sharedEvaluation            // the oldest first
	bytes       int                            // of kept, about
}

// question is the same for queries that have the same answer.
type question struct {
	expr           string
	namespace, pod string // labels that tell which pods are gone
	targets        uint64 // version
}

// sharedEvaluation is written by whoever evaluates, until done is closed.
type sharedEvaluation struct {
	question question
	start    time.Time
	done     chan struct{}
	complete bool // otherwise whoever evaluated has given up
	vector   tsdb.Vector
	err      error
}

func (e *sharedEvaluation) size() int { return len(e.question.expr) + resultBytes*len(e.vector) }

// ask returns the answer of an equal question, or else calls evaluate. The result is shared: callers must not change it.
func (s *Shared) ask(ctx context.Context, q question, evaluate func() (tsdb.Vector, error)) (tsdb.Vector, error) {
	for {
		e, isNew := s.join(q)
		if isNew {
			s.evaluate(ctx, e, evaluate)
			return e.vector, e.err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for the evaluation of an equal query: %w", context.Cause(ctx))
		case <-e.done:
		}
		if e.complete {
			return e.vector, e.err
		}
	}
}

// join returns the evaluation that answers a question. The caller evaluates if it is new.
func (s *Shared) join(q question) (e *sharedEvaluation, isNew bool) {
	now := s.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.kept) > 0 {
		oldest := s.kept[0]
		if age := now.Sub(oldest.start); age >= 0 && age < s.Keep {
			break
		}
		s.bytes -= oldest.size()
		s.kept[0], s.kept = nil, s.kept[1:]
		s.forget(oldest)
	}
	if e, found := s.evaluations[q]; found {
		return e, false
	}
	if s.evaluations == nil {
		s.evaluations = map[question]*sharedEvaluation{}
	}
	e = &sharedEvaluation{question: q, start: now, done: make(chan struct{})}
	s.evaluations[q] = e
	return e, true
}

// evaluate evaluates, and keeps the result if it may.
func (s *Shared) evaluate(ctx context.Context, e *sharedEvaluation, evaluate func() (tsdb.Vector, error)) {
	defer func() { // also after a panic
		s.mu.Lock()
		defer s.mu.Unlock()
		if e.complete && e.err == nil && len(e.vector) > 0 && s.Keep > 0 && s.bytes+e.size() <= maxKeptBytes {
			s.kept, s.bytes = append(s.kept, e), s.bytes+e.size()
		} else {
			s.forget(e)
		}
		close(e.done)
	}()
	e.vector, e.err = evaluate()
	e.complete = e.err == nil || ctx.Err() == nil
}

// forget answers no more questions with an evaluation. s.mu is held.
func (s *Shared) forget(e *sharedEvaluation) {
	if s.evaluations[e.question] == e {
		delete(s.evaluations, e.question)
	}
}
