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
)

const (
	// DefaultHeldBytes is enough for two hours of 1,000 samples a second. Together with the database it fits into the
	// emptyDir of 1 GiB of the Deployment.
	DefaultHeldBytes = 100 << 20

	// holdEvery is the time between two looks for new segments of the log.
	holdEvery = time.Second

	// behindAfter is how long samples may wait before Problems names the queue.
	behindAfter = 2 * time.Minute

	// refusedFor is how long Problems names refused samples, and lostFor how long it names lost ones.
	refusedFor = 10 * time.Minute
	lostFor    = time.Hour
)

// Options of a Writer. Log, Held and Dir are required.
type Options struct {
	// Log is the directory of the database's write-ahead log.
	Log string

	// Held is a directory for the unsent part of the log, on the same filesystem. Apply removes it if there are no queues.
	// Others may remove it to free disk space. Unsent samples are then lost.
	Held string

	// Dir is a directory for the progress of the queues.
	Dir string

	// Retention is how long unsent samples are kept. Zero or negative: no limit but HeldBytes.
	Retention time.Duration

	// HeldBytes is the maximum size of the unsent log that the database no longer keeps. 0: DefaultHeldBytes.
	HeldBytes int64

	// Registerer receives the metrics prometheus_remote_storage_* of each queue. nil: they are not exported.
	Registerer prometheus.Registerer

	// Logger receives changes of state. nil: silent.
	Logger *slog.Logger
}

// Writer sends stored samples to other engines. It is safe for concurrent use.
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

// New returns a Writer without queues: Apply adds them. The database must be open. The caller calls Close.
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

// report logs an error of tend when it changes.
func (w *Writer) report(err error) {
	problem := ""
	if err != nil {
		problem = err.Error()
	}
	if *w.problem.Swap(&problem) != problem && err != nil {
		w.logger.Error("could not keep the write-ahead log for remote write", "err", err)
	}
}

// tend links new segments of the log. It removes segments that are sent, too old or too large.
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

// Apply replaces the queues with those of a configuration. Queues without a change continue. A queue with other settings
// restarts at its position. A new queue starts with the samples that are stored from now on. If a file that the
// configuration names is invalid, the old queues stay.
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

// forget removes the progress of queues that are no longer configured. Without queues it also removes the held log.
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

// Close sends the rest of the log, for ten seconds at most, and stops the queues. It may be called again.
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

// stopAll stops queues concurrently.
func stopAll(queues []*queue) error {
	errs := make([]error, len(queues))
	var all sync.WaitGroup
	for i, q := range queues {
		all.Go(func() { errs[i] = q.stop() })
	}
	all.Wait()
	return errors.Join(errs...)
}

// Problems returns a line for each reason why samples do not reach an engine.
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

// withoutSecrets returns a URL without credentials and parameters.
func withoutSecrets(u *config.URL) string {
	return strings.TrimSuffix((&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String(), "?")
}
