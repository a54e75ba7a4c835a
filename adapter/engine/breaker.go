package engine

import (
	"fmt"
	"sync"
	"time"
)

const (
	// firstPause and longestPause bound the time without requests to an engine that cannot be reached. HPAs read
	// metrics every 15 s.
	firstPause   = time.Second
	longestPause = 15 * time.Second
	// slowAnswers is the number of requests in a row without an answer in time that start a pause. A single one may
	// be an expensive query.
	slowAnswers = 3
)

// breaker pauses requests to an engine that cannot be reached, so that callers do not wait for it. After a pause it
// allows one request. The result of that request ends the pause or starts a longer one.
type breaker struct {
	now func() time.Time

	mu     sync.Mutex
	slow   int           // requests without an answer in time, in a row
	pause  time.Duration // 0: the engine is considered up
	since  time.Time     // when the engine stopped answering
	next   time.Time     // when the next request is allowed
	trying bool          // that request is under way
	why    string        // the reason for the pause
}

// allow returns an error with the reason if no request is allowed now. After nil the caller reports the result.
func (b *breaker) allow() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.pause == 0 {
		return nil
	}
	wait := b.next.Sub(b.now())
	if b.trying || wait > 0 {
		return fmt.Errorf("%s; it has not answered for %s and is tried again in %s", b.why,
			b.now().Sub(b.since).Round(time.Second), max(0, wait).Round(time.Second))
	}
	b.trying = true
	return nil
}

// succeeded notes an answer. It reports whether the engine was considered down before, and why.
func (b *breaker) succeeded() (was bool, reason string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	was, reason = b.pause > 0, b.why
	b.slow, b.pause, b.trying, b.why = 0, 0, false, ""
	return was, reason
}

// undecided notes that a request ended without a result about the engine.
func (b *breaker) undecided() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.trying = false
}

// failed notes a failed request. It reports whether the engine was considered up until now.
func (b *breaker) failed(err *Error) (isNew bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	isTry := b.pause == 0 || b.trying
	b.trying = false
	if err.slow {
		b.slow++
	} else if !err.down { // it has answered
		b.slow, b.pause, b.why = 0, 0, ""
		return false
	}
	if !err.down && b.slow < slowAnswers || !isTry { // not a try: it was asked before the engine went down
		return false
	}
	if isNew = b.pause == 0; isNew {
		b.since = b.now()
	}
	b.why = err.Reason
	b.pause = min(max(firstPause, 2*b.pause), longestPause)
	b.next = b.now().Add(b.pause)
	return isNew
}

// reason returns why the engine is considered down, "" if it is not.
func (b *breaker) reason() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.pause == 0 {
		return ""
	}
	return fmt.Sprintf("%s (for %s)", b.why, b.now().Sub(b.since).Round(time.Second))
}
