package remotewrite

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/config"
	"github.com/prometheus/prometheus/tsdb/record"
	"github.com/prometheus/prometheus/tsdb/wlog"
)

const (
	// DefaultHeldBytes is room for two hours of 1,000 samples a second, and fits beside what the database may take into
	// the emptyDir of 1 GiB that deploy/ gives promlet.
	DefaultHeldBytes = 100 << 20

	// holdEvery is the time between two looks for new segments of the log.
	holdEvery = time.Second

	// behindAfter is how long samples may wait before that is a problem.
	behindAfter = 2 * time.Minute

	// refusedFor is how long refused samples are a problem, and lostFor how long lost ones.
	refusedFor = 10 * time.Minute
	lostFor    = time.Hour
)

// Options says which log is shipped. Log, Held and Dir are required.
type Options struct {
	// Log is the write-ahead log of the database.
	Log string

	// Held is a directory for the part of the log that is not sent, on the same filesystem. All in it is removed when
	// nothing is to be shipped. Others may remove it to make room; what was not sent is lost then.
	Held string

	// Dir is a directory for the progress of the queues.
	Dir string

	// Retention is how long the log is held. Zero or negative: for as long as HeldBytes allows.
	Retention time.Duration

	// HeldBytes is how many bytes of the log may be held beside what the database keeps. 0: DefaultHeldBytes.
	HeldBytes int64

	// Registerer receives the metrics prometheus_remote_storage_* of each queue. nil: they are not to be had.
	Registerer prometheus.Registerer

	// Logger receives changes of state. nil: silent.
	Logger *slog.Logger
}

// Writer ships what is stored. Its methods may be called at the same time.
type Writer struct {
	opts   Options
	log    heldLog
	logger *slog.Logger
	cancel context.CancelFunc
	done   chan struct{}

	mu      sync.Mutex // held by Apply, Close and tend
	closed  bool
	queues  atomic.Pointer[[]*queue]
	problem atomic.Pointer[string] // of tend
}

// New returns a Writer that ships nothing until Apply. The database must be open.
func New(opts Options) *Writer {
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.HeldBytes == 0 {
		opts.HeldBytes = DefaultHeldBytes
	}
	w := &Writer{opts: opts, log: heldLog{wal: opts.Log, dir: opts.Held}, logger: opts.Logger, done: make(chan struct{})}
	w.queues.Store(&[]*queue{})
	w.problem.Store(new(string))
	var ctx context.Context
	ctx, w.cancel = context.WithCancel(context.Background())
	go w.run(ctx)
	return w
}

func (w *Writer) run(ctx context.Context) {
	defer close(w.done)
	ticker := time.NewTicker(holdEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			w.report(w.tend(time.Now()))
		}
	}
}

// report logs a problem when it is another one than before.
func (w *Writer) report(err error) {
	problem := ""
	if err != nil {
		problem = err.Error()
	}
	if *w.problem.Swap(&problem) != problem && err != nil {
		w.logger.Error("could not keep the write-ahead log for remote write", "err", err)
	}
}

// tend holds what is new in the log, and releases what is sent or too old or too much.
func (w *Writer) tend(now time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	queues := *w.queues.Load()
	if len(queues) == 0 {
		return nil
	}
	if err := w.log.hold(); err != nil {
		return err
	}
	sent := queues[0].sent()
	for _, q := range queues[1:] {
		if other := q.sent(); other.before(sent) {
			sent = other
		}
	}
	if err := w.log.release(sent); err != nil {
		return err
	}
	bytes, age, err := w.log.alone(now)
	if err != nil || bytes <= w.opts.HeldBytes && (w.opts.Retention <= 0 || age <= w.opts.Retention) {
		return err
	}
	w.logger.Error("removing samples that have not been sent", "bytes", bytes, "oldest", age)
	return w.log.releaseAll()
}

// releaseAll removes what the storage does not have any more.
func (l heldLog) releaseAll() error {
	generation, err := l.current()
	if err != nil {
		return err
	}
	begin := position{Generation: generation}
	switch _, n, err := wlog.LastCheckpoint(l.wal); {
	case err == nil:
		begin.Segment = n + 1
	case !errors.Is(err, record.ErrNotFound):
		return err
	}
	return l.release(begin)
}

// Apply makes the queues those of a configuration. Queues that do not change go on; one that changes goes on where it
// was, and a new one begins with what is stored from now on. After an error the old configuration stays.
func (w *Writer) Apply(c Config) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return errors.New("the writer is closed")
	}
	if err := c.Check(); err != nil {
		return err
	}
	var kept, stopped []*queue
	for _, q := range *w.queues.Load() {
		if slices.ContainsFunc(c.queues, func(o queueConfig) bool { return o.hash == q.conf.hash && o.id == q.conf.id }) {
			kept = append(kept, q)
		} else {
			stopped = append(stopped, q)
		}
	}
	var started []queueConfig
	for _, conf := range c.queues {
		if !slices.ContainsFunc(kept, func(q *queue) bool { return q.conf.hash == conf.hash && q.conf.id == conf.id }) {
			started = append(started, conf)
		}
	}
	w.queues.Store(&kept)
	err := stopAll(stopped)
	if len(c.queues) > 0 {
		err = errors.Join(err, os.MkdirAll(w.opts.Dir, 0o777), w.log.hold())
	}
	for _, conf := range started {
		q, startErr := startQueue(conf, w.log, w.progressFile(conf), filepath.Join(w.opts.Dir, "empty"), w.opts.Registerer, w.logger)
		if startErr != nil {
			err = errors.Join(err, fmt.Errorf("remoteWrite[%d]: %w", conf.index, startErr))
			continue
		}
		kept = append(kept, q)
	}
	w.queues.Store(&kept)
	return errors.Join(err, w.forget(c))
}

// forget removes the progress of queues that are not configured, and all if there are none.
func (w *Writer) forget(c Config) error {
	if len(c.queues) == 0 {
		return errors.Join(os.RemoveAll(w.opts.Dir), os.RemoveAll(w.opts.Held))
	}
	files, err := filepath.Glob(filepath.Join(w.opts.Dir, "*.json"))
	for _, file := range files {
		if !slices.ContainsFunc(c.queues, func(q queueConfig) bool { return w.progressFile(q) == file }) {
			err = errors.Join(err, os.Remove(file))
		}
	}
	return err
}

func (w *Writer) progressFile(q queueConfig) string {
	return filepath.Join(w.opts.Dir, hash([]byte(q.id))+".json")
}

// Close sends what is stored, for a few seconds at most, and stops. Calling it again does nothing.
func (w *Writer) Close() error {
	w.mu.Lock()
	closed := w.closed
	w.closed = true
	queues := *w.queues.Swap(&[]*queue{})
	var err error
	if len(queues) > 0 {
		err = w.log.hold()
	}
	err = errors.Join(err, stopAll(queues))
	w.mu.Unlock()
	if !closed {
		w.cancel()
	}
	<-w.done
	return err
}

// stopAll stops queues side by side.
func stopAll(queues []*queue) error {
	errs := make([]error, len(queues))
	var all sync.WaitGroup
	for i, q := range queues {
		all.Go(func() { errs[i] = q.stop() })
	}
	all.Wait()
	return errors.Join(errs...)
}

// Problems returns a line for each reason why samples do not arrive.
func (w *Writer) Problems() []string {
	var lines []string
	if problem := *w.problem.Load(); problem != "" {
		lines = append(lines, "remoteWrite: "+problem)
	}
	for _, q := range *w.queues.Load() {
		lines = append(lines, q.problems(time.Now(), w.opts.Retention)...)
	}
	return lines
}

func (q *queue) problems(now time.Time, retention time.Duration) (lines []string) {
	add := func(format string, args ...any) { lines = append(lines, q.title+": "+fmt.Sprintf(format, args...)) }
	failing, denied, refused := q.client.status(now.Add(-refusedFor))
	q.mu.Lock()
	defer q.mu.Unlock()
	behind := now.Sub(q.caughtUp).Round(time.Second)
	switch {
	case q.problem != "":
		add("cannot read the write-ahead log: %s", q.problem)
	case denied:
		add("the engine does not let promlet write: %s: correct its credentials or its url; samples are kept for up to %s", failing, retention)
	case behind > behindAfter && failing != "":
		add("samples have been waiting for %s: %s: make the engine reachable; samples are kept for up to %s", behind, failing, retention)
	case behind > behindAfter:
		add("samples have been waiting for %s: sending is slower than storing: raise max_shards in its queue_config", behind)
	}
	if refused != "" {
		add("the engine refused samples, and they are not sent again: %s", refused)
	}
	if now.Sub(q.lost) < lostFor {
		add("samples were lost at %s: they were unsent for longer than %s, or took too much room", q.lost.UTC().Format(time.RFC3339), retention)
	}
	return lines
}

// withoutSecrets leaves out credentials and parameters.
func withoutSecrets(u *config.URL) string {
	return strings.TrimSuffix((&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String(), "?")
}
