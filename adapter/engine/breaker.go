package engine

import (
	"fmt"
	"sync"
	"time"
)

const (
	// firstPause and longestPause bound how long an engine that cannot be reached is left alone. HPAs ask every 15 s.
	firstPause   = time.Second
	longestPause = 15 * time.Second
	// slowAnswers is how many requests in a row must have been without an answer in time: one may be
	// an expensive query.
	slowAnswers = 3
)

// breaker remembers that an engine cannot be reached, so that nobody waits for it in vain. After a pause it lets one
// request through, which decides.
type breaker struct {
	now func() time.Time

	mu     sync.Mutex
	slow   int           // requests without an answer in time, in a row
	pause  time.Duration // 0: the engine is thought to be up
	since  time.Time     // when it stopped answering
	next   time.Time     // when a request may try again
	trying bool          // one is
	why    string        // it does not answer
}

// allow returns why no request may be made now.
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

// succeeded notes an answer. It reports whether the engine was down before, and why.
func (b *breaker) succeeded() (was bool, reason string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	was, reason = b.pause > 0, b.why
	b.slow, b.pause, b.trying, b.why = 0, 0, false, ""
	return was, reason
}

// undecided notes that a request ended for another reason.
func (b *breaker) undecided() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.trying = false
}

// failed notes a fault. It reports whether the engine was thought to be up before, and is not now.
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

// reason returns why the engine is thought to be down, "" if it is not.
func (b *breaker) reason() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.pause == 0 {
		return ""
	}
	return fmt.Sprintf("%s (for %s)", b.why, b.now().Sub(b.since).Round(time.Second))
}
