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
	// settleEvery is how often a queue waits, if it must, until all that it was given is sent: what was sent since is
	// sent again after a crash. Waiting takes up to batch_send_deadline.
	settleEvery = 15 * time.Second
	// writeEvery bounds how often the file of a queue's progress is written.
	writeEvery = 5 * time.Second
	// reserved is how many records the file allows a queue to be given before it is written again.
	reserved = 500
	// drainTime is how long a queue that stops may read what is in the log.
	drainTime = 5 * time.Second
	// retryEvery is the time between attempts to read the log.
	retryEvery = time.Second
)

// errStopped is returned when a queue is to stop.
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

	finish chan struct{} // closed: send what there is, and stop
	cancel context.CancelFunc
	done   chan struct{}

	// These belong to the goroutine.
	at        position // of the next record
	doubtful  position // what precedes it may have been sent
	batch     map[chunks.HeadSeriesRef]struct{}
	collected int       // the checkpoint whose series are known
	settledAt time.Time // when everything given was sent, last
	writtenAt time.Time
	decoded   decoded
	ended     bool // q.at is the end of the log, and stays so

	mu       sync.Mutex
	progress progress
	caughtUp time.Time // at that time all that was stored is sent
	lost     time.Time // when samples were last lost
	problem  string    // reading the log
}

// startQueue starts a queue where it was, or else at the end of the log.
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

// place decides where the queue begins.
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
		// What comes after the end of the log was not tried by an earlier queue, whatever it had reserved. When the
		// system crashed, the log may also have lost what was sent.
		was.Sent, was.Tried = first(was.Sent, end), first(was.Tried, end)
	}
	q.progress, q.at, q.doubtful = was, was.Sent, was.Tried
}

// stop ends the queue, after it has sent what there is if the engine takes it.
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
	// Upstream sends what it has, and drops the rest at its deadline.
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

// report notes why the log is not read, and logs it when it changes.
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
		q.logger.Error("remote write cannot read the log", "queue", q.title, "err", err)
	}
}

// prepare is called before the record at q.at is given to upstream's queue, with the series in it.
//
// An engine may refuse a whole request for one sample that is older than the newest it has of the series. So of what may
// have been sent before, a request has one sample of each series: then either all in it are new or equal to the newest,
// or all were taken before.
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

// flush waits until all that was given to upstream's queue is sent.
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

// settle notes that everything before q.at is sent, if it is. When that has not been so for long, it waits for it.
// atEnd is when q.at was the end of the log; zero: it was not.
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

// sent returns the position up to which everything is sent.
func (q *queue) sent() position {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.progress.Sent
}
