package tsdb

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	promtsdb "github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/fileutil"
	"github.com/prometheus/prometheus/util/features"
)

// Errors of Open.
var (
	// ErrLocked is returned when another process, or another DB of this one, has the data directory open.
	ErrLocked = errors.New("it is in use")
)

// ErrClosed is returned after Close by every method of a DB that returns an error, and by its appenders, queriers and queries.
// Only Damage still returns its own result. errors.Is reports that ErrClosed is Prometheus's tsdb.ErrNotReady, as Prometheus's
// HTTP API expects.
var ErrClosed error = unreadable("the database is closed")

// unreadable is the error of a database without a storage.
type unreadable string

func (e unreadable) Error() string { return string(e) }

// Is implements the interface of package errors.
func (unreadable) Is(target error) bool { return target == promtsdb.ErrNotReady }

// DB is an open data directory. All methods may be called at the same time. It belongs to the caller of Open. The caller closes
// it after everything that appends to it or reads it; whoever still uses it then gets ErrClosed.
type DB struct {
	opts    Options
	clock   *clock
	engine  *engine
	slots   *slots
	arenas  arenas
	heavy   turn
	seed    maphash.Seed
	lock    fileutil.Releaser
	parser  parser.Parser
	metrics *prometheus.Registry // of the engine

	features features.Collector

	unstored atomic.Pointer[error] // of the last commit, nil if it was stored
	crowded  atomic.Bool           // the disk is full, and there are blocks to remove

	closing  context.Context // ends when Close begins
	cancel   context.CancelFunc
	renewing sync.Mutex // held by Renew and Close
	once     sync.Once
	err      error // of Close

	mu     sync.Mutex
	epoch  *epoch // nil while there is none
	epochs uint64 // so far
	closed bool
	damage error
}

var (
	_ storage.AppendableV2 = (*DB)(nil)
	_ storage.Queryable    = (*DB)(nil)
)

// Open opens the data directory, makes it if it is not there, and brings back what the log holds.
// A log that is torn at its end, as a killed process leaves it, is cut off there. If anything else is damaged, Open moves
// all samples into the directory corrupt inside it, replacing earlier ones there, and starts empty. It logs a
// warning, and Damage returns the reason.
//
// So it does with samples that are newer than the clock, for then the clock has been set back, and with
// Options.CountStarts when no start has succeeded lately. If the disk is full, it removes what was set aside, then
// the oldest block, then all the rest; if that does not help it opens all the same, and Storing returns the error.
//
// It fails when Options are wrong, with ErrLocked when the directory is in use, and when the system
// refuses to read or write it.
func Open(opts Options) (*DB, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("tsdb options: %w", err)
	}
	lock, err := lockDir(opts.Dir)
	if err != nil {
		return nil, fmt.Errorf("data directory %q: %w", opts.Dir, err)
	}
	db := &DB{
		opts: opts, clock: newClock(opts.Now), lock: lock, parser: newParser(), heavy: make(turn, 1), seed: maphash.MakeSeed(), features: features.NewRegistry(),
		metrics: prometheus.NewRegistry(),
	}
	db.closing, db.cancel = context.WithCancel(context.Background())
	db.openEngine()
	if err := db.open(); err != nil {
		db.cancel()
		return nil, errors.Join(err, lock.Release())
	}
	return db, nil
}

// open makes the first epoch.
func (db *DB) open() error {
	if db.opts.Registerer != nil {
		if err := db.opts.Registerer.Register(db.metrics); err != nil {
			return fmt.Errorf("register metrics: %w", err)
		}
	}
	for _, reason := range []error{db.countStart(), db.recordClock()} {
		if reason == nil {
			continue
		}
		if err := db.startWithout(reason); err != nil && !isFull(err) {
			return db.notOpened(err)
		}
	}
	err := db.openRoom()
	if err != nil && !isFull(err) {
		return db.notOpened(err)
	}
	if err != nil {
		db.unstored.Store(&err)
		db.opts.Logger.Warn("Nothing can be stored", "dir", db.opts.Dir, "err", err)
	}
	return nil
}

func (db *DB) notOpened(err error) error {
	if db.opts.Registerer != nil {
		db.opts.Registerer.Unregister(db.metrics)
	}
	return fmt.Errorf("data directory %q: %w", db.opts.Dir, advise(err))
}

// lockDir makes the directory and takes the lock that Prometheus takes too. The lock goes with the
// process, however it ends; the file stays, for a lock on a removed file excludes nobody.
func lockDir(dir string) (fileutil.Releaser, error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, advise(err)
	}
	lock, _, err := fileutil.Flock(filepath.Join(dir, lockFile))
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, fmt.Errorf("%w by another process or another DB of this one: stop that one or choose another directory", ErrLocked)
	}
	return lock, advise(err)
}

// advise adds the mend to what the system says.
func advise(err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%w: make it and all in it writable for user %d, or choose another directory", err, os.Geteuid())
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%w: free some space there, or choose another directory", err)
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.EISDIR):
		return fmt.Errorf("%w: choose a directory of its own", err)
	}
	return err
}

// refused reports whether an error is one of the system around the data, not damage to the data.
func refused(err error) bool {
	for _, e := range []error{
		fs.ErrPermission, syscall.EROFS, syscall.ENOSPC, syscall.EDQUOT, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// openData opens the storage on the directory, or on an empty one if it is damaged.
func (db *DB) openData() error {
	err := checkData(db.opts.Dir)
	if err == nil {
		err = db.openStore()
	}
	if err == nil || refused(err) {
		return err
	}
	if err := db.startWithout(err); err != nil {
		return err
	}
	return db.openStore()
}

// startWithout sets the samples aside for a reason.
func (db *DB) startWithout(reason error) error {
	if err := setAside(db.opts.Dir); err != nil {
		return err
	}
	db.setDamage(reason)
	db.opts.Logger.Warn("The samples in the data directory cannot be used: they are set aside, and promlet starts without them",
		"dir", db.opts.Dir, "problem", reason, "kept", asideDir)
	return nil
}

func (db *DB) setDamage(reason error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.damage = reason
}

// openEngine makes the engine.
func (db *DB) openEngine() {
	db.slots = newSlots(db.opts.MaxConcurrency, db.opts.QueryTimeout)
	db.engine = &engine{db: db, maxSamples: db.opts.MaxSamples, Engine: promql.NewEngine(promql.EngineOpts{
		Logger:                   quietLogger(db.closing, db.opts.Logger),
		Reg:                      db.metrics,
		MaxSamples:               db.opts.MaxSamples,
		Timeout:                  db.opts.QueryTimeout,
		ActiveQueryTracker:       db.slots,
		LookbackDelta:            db.opts.LookbackDelta,
		NoStepSubqueryIntervalFn: func(int64) int64 { return DefaultSubqueryStep.Milliseconds() },
		EnableAtModifier:         true,
		EnableNegativeOffset:     true,
		FeatureRegistry:          db.features,
		Parser:                   db.parser,
	})}
}

// openStore opens the storage and makes it the current one. Each attempt has a registry of its own: a failed one leaves
// its metrics registered.
//
// It removes the head's full chunks from the disk. They hold only what the log holds too, and spare its replay a part
// of the work. Each names its series by a number that the log gave out. If the log loses the record of that
// series, the storage gives the number to another one, and would return the old chunks as its samples.
// (Old samples in the log do no harm: the storage drops what precedes the record of a series.)
func (db *DB) openStore() (err error) {
	if err := os.RemoveAll(filepath.Join(db.opts.Dir, chunksDir)); err != nil {
		return err
	}
	e := &epoch{number: db.epochs, metrics: prometheus.NewRegistry(), stats: promtsdb.NewDBStats()}
	e.ctx, e.end = context.WithCancel(db.closing)
	opts := db.opts.storage()
	opts.FeatureRegistry = db.features
	if db.opts.SeriesCallback != nil {
		told := &callback{SeriesLifecycleCallback: db.opts.SeriesCallback(), epoch: e}
		defer told.opened.Store(true)
		opts.SeriesLifecycleCallback = told
	}
	var opened atomic.Pointer[promtsdb.DB]
	opts.BlocksToDelete = func(blocks []*promtsdb.Block) map[ulid.ULID]struct{} { return db.blocksToDelete(opened.Load(), blocks) }
	store, err := promtsdb.Open(db.opts.Dir, quietLogger(e.ctx, db.opts.Logger), e.metrics, opts, e.stats)
	if err != nil {
		e.end()
		return err
	}
	e.store = store
	opened.Store(store)
	if ahead := time.UnixMilli(e.newest()).Sub(db.opts.Now()); ahead > maxClockStep {
		e.end()
		return errors.Join(fmt.Errorf("%w back by %s, or more, since the newest sample", ErrClockSet, ahead.Round(time.Second)), store.Close())
	}
	if err := db.beginEpoch(e); err != nil {
		e.end()
		return err
	}
	return nil
}

// AppenderV2 implements storage.AppendableV2. What was committed survives the process, however it
// ends. After Close, appending gives ErrClosed, and while there is no storage ErrRenewed.
func (db *DB) AppenderV2(ctx context.Context) storage.AppenderV2 {
	e, err := db.enter()
	if err != nil {
		return noAppender{err}
	}
	defer e.leave()
	return &appender{AppenderV2: e.store.AppenderV2(ctx), db: db, epoch: e}
}

// Querier implements storage.Queryable: mint and maxt are milliseconds since 1970, both inclusive. While there is no
// storage it finds nothing. The caller closes it: Close and Renew end its series with ErrClosed and ErrRenewed, and wait
// until it is closed.
func (db *DB) Querier(mint, maxt int64) (storage.Querier, error) {
	e, err := db.enter()
	if errors.Is(err, ErrRenewed) {
		return storage.NoopQuerier(), nil
	}
	if err != nil {
		return nil, err
	}
	q, err := e.store.Querier(mint, maxt)
	if err != nil {
		e.leave()
		return nil, err
	}
	return &querier{Querier: q, db: db, epoch: e}, nil
}

// Engine returns the PromQL engine for use with this DB as the storage.Queryable. Its limits are those
// of Options and shared with Instant. Close and Renew end its queries, with ErrClosed and ErrRenewed, and wait for them.
func (db *DB) Engine() promql.QueryEngine { return db.engine }

// Damage returns why Open or Renew set samples aside, nil if neither did. It can also be called after Close.
func (db *DB) Damage() error {
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.damage
}

// Close ends running queries, waits for them, for open queriers and for the storage to write what it holds, unregisters the
// metrics and unlocks the directory. Calling it again waits for the first call and returns the same.
func (db *DB) Close() error {
	db.once.Do(func() {
		db.mu.Lock()
		db.closed = true
		db.cancel()
		db.mu.Unlock()
		db.renewing.Lock()
		defer db.renewing.Unlock()
		var errs []error
		if e := db.endEpoch(); e != nil {
			errs = append(errs, db.closeStore(e.store))
		}
		if db.opts.Registerer != nil {
			db.opts.Registerer.Unregister(db.metrics)
		}
		if err := errors.Join(append(errs, db.engine.Close(), db.settle(), db.lock.Release())...); err != nil {
			db.err = fmt.Errorf("close data directory %q: %w", db.opts.Dir, err)
		}
	})
	return db.err
}

// quiet passes on warnings and errors, and the rest as debug: the storage tells each step of each
// compaction as information. Once Close has begun all is debug: the storage then calls a compaction that
// was cut short, as it should be, an error, and real ones are returned by Close.
type quiet struct {
	slog.Handler
	closing context.Context
}

func quietLogger(closing context.Context, logger *slog.Logger) *slog.Logger {
	return slog.New(quiet{logger.Handler(), closing})
}

func (q quiet) level(l slog.Level) slog.Level {
	if l < slog.LevelWarn || q.closing.Err() != nil {
		return slog.LevelDebug
	}
	return l
}

func (q quiet) Enabled(ctx context.Context, l slog.Level) bool {
	return q.Handler.Enabled(ctx, q.level(l))
}

func (q quiet) Handle(ctx context.Context, r slog.Record) error {
	r.Level = q.level(r.Level)
	// They do, after RemoveEnded, and it says so each minute.
	if strings.HasPrefix(r.Message, "Overlapping blocks found") {
		r.Level = slog.LevelDebug
		if !q.Handler.Enabled(ctx, r.Level) {
			return nil
		}
	}
	return q.Handler.Handle(ctx, r)
}

func (q quiet) WithAttrs(as []slog.Attr) slog.Handler {
	return quiet{q.Handler.WithAttrs(as), q.closing}
}
func (q quiet) WithGroup(name string) slog.Handler {
	return quiet{q.Handler.WithGroup(name), q.closing}
}
