package remotewrite

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/tsdb/chunks"
)

const (
	// poll is the time between two looks at the end of the log.
	poll = 500 * time.Millisecond
	// settleEvery is the longest time between two moments at which all samples are sent. The queue waits for such a
	// moment if none came by itself, up to batch_send_deadline. Samples sent after it are sent again after a crash.
	settleEvery = 15 * time.Second
	// writeEvery is the shortest time between two writes of a queue's progress.
	writeEvery = 5 * time.Second
	// reserved is the number of records that the queue may get before the file of its progress is written again.
	reserved = 500
	// drainTime is how long a queue that stops may read the rest of the log.
	drainTime = 5 * time.Second
	// retryEvery is the time between attempts to read the log.
	retryEvery = time.Second
)

// errStopped is returned when a queue stops.
var errStopped = errors.New("the queue stops")

// queue reads the held log and gives it to upstream's queue.
type queue struct {
	conf   queueConfig
	title  string // for people, without credentials
	log    heldLog
	path   string // of its progress
	to     *upstreamQueue
	client *client
	logger *slog.Logger

	finish chan struct{} // closed: send the rest of the log, and stop
	cancel context.CancelFunc
	done   chan struct{}

	// These belong to the goroutine.
	at        position // of the next record
	doubtful  position // records before it may have been sent
	batch     map[chunks.HeadSeriesRef]struct{}
	collected int       // the checkpoint whose series are known
	settledAt time.Time // when all given samples were last sent
	writtenAt time.Time
	decoded   decoded
	ended     bool // q.at is the final end of the log

	mu       sync.Mutex
	progress progress
	caughtUp time.Time // all samples stored before it are sent
	lost     time.Time // when samples were last lost
	problem  string    // why the log is not read
}

// startQueue starts a queue at its last position, or at the end of the log if it has none.
func startQueue(conf queueConfig, log heldLog, path, emptyLog string, registerer prometheus.Registerer, logger *slog.Logger) (*queue, error) {
	entry := conf.conf.RemoteWriteConfigs[0]
	c, err := newClient(entry)
	if err != nil {
		return nil, err
	}
	title := entry.Name
	if title == "" {
		title = fmt.Sprintf("[%d]", conf.index)
	}
	q := &queue{
		conf: conf, title: fmt.Sprintf("remoteWrite %s (%s)", title, withoutSecrets(entry.URL)), log: log, path: path, client: c, logger: logger,
		finish: make(chan struct{}), done: make(chan struct{}),
		batch: map[chunks.HeadSeriesRef]struct{}{}, collected: -1, caughtUp: time.Now(),
	}
	q.place()
	if q.to, err = newUpstreamQueue(conf.labelled(), registerer, emptyLog); err != nil {
		return nil, err
	}
	q.to.SetClient(c)
	var ctx context.Context
	ctx, q.cancel = context.WithCancel(context.Background())
	go q.run(ctx)
	return q, nil
}

// place sets the position at which the queue starts.
func (q *queue) place() {
	end, endErr := q.log.end()
	was, err := readProgress(q.path)
	if errors.Is(err, fs.ErrNotExist) && endErr == nil {
		was = progress{Queue: q.title, Sent: end, Tried: end}
		err = was.write(q.path)
	}
	if err = errors.Join(err, endErr); err != nil {
		q.report(err)
	}
	if endErr == nil {
		// An earlier queue may have reserved records after the end of the log, but it has not sent them. After a crash of
		// the system the log may also have lost records that were sent.
		was.Sent, was.Tried = first(was.Sent, end), first(was.Tried, end)
	}
	q.progress, q.at, q.doubtful = was, was.Sent, was.Tried
}

// stop stops the queue. Unless sending fails, it first sends the rest of the log.
func (q *queue) stop() error {
	close(q.finish)
	drain := drainTime
	if failing, _, _ := q.client.status(time.Now()); failing != "" {
		drain = 0
	}
	select {
	case <-q.done:
	case <-time.After(drain):
	}
	q.cancel()
	began := time.Now()
	err := q.to.storage.Close()
	<-q.done
	// Upstream sends the samples in its shards, and drops the rest at its deadline.
	if q.ended && time.Since(began) < flushDeadline {
		q.progress.Sent, q.progress.Tried = q.at, q.at
	}
	return errors.Join(err, q.write())
}

func (q *queue) run(ctx context.Context) {
	defer close(q.done)
	for {
		err := q.follow(ctx)
		if errors.Is(err, errStopped) {
			return
		}
		q.report(err)
		select {
		case <-ctx.Done():
			return
		case <-q.finish:
			return
		case <-time.After(retryEvery):
		}
	}
}

// report notes why the log is not read, nil if it is, and logs a change.
func (q *queue) report(err error) {
	problem := ""
	if err != nil {
		problem = err.Error()
	}
	q.mu.Lock()
	changed := q.problem != problem
	q.problem = problem
	q.mu.Unlock()
	if changed && err != nil {
		q.logger.Error("could not read the write-ahead log for remote write", "queue", q.title, "err", err)
	}
}

// prepare is called before the record at q.at is given to upstream's queue. refs are the series in the record.
//
// An engine may refuse a whole request because of one sample that is older than the newest one of its series. So a request
// with samples that may have been sent before has at most one sample of each series. Then either each sample is new or
// equal to the newest one, or the engine has all of them.
func (q *queue) prepare(ctx context.Context, refs []chunks.HeadSeriesRef) error {
	if !q.at.before(q.progress.Tried) {
		q.mu.Lock()
		q.progress.Tried = position{q.at.Generation, q.at.Segment, q.at.Record + reserved}
		q.mu.Unlock()
		if err := q.write(); err != nil {
			return err
		}
	}
	again := q.at.before(q.doubtful)
	if again {
		q.client.resending(true)
	}
	twice := slices.ContainsFunc(refs, func(ref chunks.HeadSeriesRef) bool { _, ok := q.batch[ref]; return ok })
	if len(q.batch) > 0 && (twice || !again) {
		if err := q.flush(ctx); err != nil {
			return err
		}
		clear(q.batch)
	}
	if !again {
		q.client.resending(false)
		return nil
	}
	for _, ref := range refs {
		q.batch[ref] = struct{}{}
	}
	return nil
}

// flush waits until upstream's queue has sent all samples that it was given.
func (q *queue) flush(ctx context.Context) error {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for q.to.pending() > 0 {
		select {
		case <-ctx.Done():
			return errStopped
		case <-ticker.C:
		}
	}
	return nil
}

// settle notes that all samples before q.at are sent, if they are. It waits for that if the last such moment was more than
// settleEvery ago. atEnd is the time at which q.at was the end of the log; zero if it is not the end.
func (q *queue) settle(ctx context.Context, atEnd time.Time) error {
	late := time.Since(q.settledAt) > settleEvery
	if atEnd.IsZero() && !late {
		return nil
	}
	if q.to.pending() > 0 {
		if !late {
			return nil
		}
		if err := q.flush(ctx); err != nil {
			return err
		}
	}
	q.settledAt = time.Now()
	q.mu.Lock()
	changed := q.progress.Sent != q.at
	q.progress.Sent = q.at
	if !atEnd.IsZero() {
		q.caughtUp = atEnd
	}
	q.mu.Unlock()
	if !changed || time.Since(q.writtenAt) < writeEvery {
		return nil
	}
	return q.write()
}

func (q *queue) write() error {
	q.mu.Lock()
	p := q.progress
	q.mu.Unlock()
	q.writtenAt = time.Now()
	return p.write(q.path)
}

// sent returns the position up to which all samples are sent.
func (q *queue) sent() position {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.progress.Sent
}
