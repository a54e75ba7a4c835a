package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/singleflight"

	"github.com/promlet/promlet/tsdb"
)

// Defaults of Options.
const (
	// DefaultRelistInterval is prometheus-adapter's.
	DefaultRelistInterval = 10 * time.Minute
	// DefaultMaxConcurrency is the maximum number of concurrent queries to an engine, the same as for promlet's own.
	DefaultMaxConcurrency = tsdb.DefaultMaxConcurrency
)

// Options of an Engine.
type Options struct {
	// Connection says how to reach the engine. Required.
	Connection Connection
	// Timeout bounds each request. 0 is tsdb.DefaultQueryTimeout.
	Timeout time.Duration
	// MaxConcurrency is the maximum number of concurrent queries. 0 is DefaultMaxConcurrency.
	MaxConcurrency int
	// RelistInterval is the time between two lists of the series. 0 is DefaultRelistInterval.
	RelistInterval time.Duration
	// MaxAge is how far back in time series are listed. 0 is RelistInterval.
	MaxAge time.Duration
	// Logger receives changes of state; nil is silent.
	Logger *slog.Logger
	// Registerer receives promlet_engine_*, until Close. Nil: they are not exported. Two Engines need two.
	Registerer prometheus.Registerer
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

func (o Options) withDefaults() Options {
	if o.Timeout <= 0 {
		o.Timeout = tsdb.DefaultQueryTimeout
	}
	if o.MaxConcurrency <= 0 {
		o.MaxConcurrency = DefaultMaxConcurrency
	}
	if o.RelistInterval <= 0 {
		o.RelistInterval = DefaultRelistInterval
	}
	if o.MaxAge <= 0 {
		o.MaxAge = o.RelistInterval
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// Engine queries a Prometheus-compatible engine and lists its series. It is safe for concurrent use. The caller runs it in
// a goroutine, and closes it when Run has returned.
type Engine struct {
	opts    Options
	metrics *metrics
	series  *series

	link    atomic.Pointer[link]
	flights flights
	lists   singleflight.Group // of targets
	slots   chan struct{}      // holds one for each query under way

	closing context.Context // ends when Close begins
	cancel  context.CancelFunc
	once    sync.Once
	mu      sync.Mutex // guards closed; nothing is added to asking once closed is set
	closed  bool
	asking  sync.WaitGroup // requests under way
}

// link is a connection in use. It is replaced as a whole.
type link struct {
	name    string // the URL without credentials
	api     v1.API
	client  *http.Client
	breaker *breaker
}

// New returns an Engine. It connects with the first request.
func New(opts Options) (*Engine, error) {
	opts = opts.withDefaults()
	e := &Engine{opts: opts, metrics: newMetrics(), flights: flights{byKey: map[flightKey]*flight{}}, slots: make(chan struct{}, opts.MaxConcurrency)}
	e.series = newSeries(e)
	e.closing, e.cancel = context.WithCancel(context.Background())
	if err := e.Connect(opts.Connection); err != nil {
		e.cancel()
		return nil, err
	}
	if opts.Registerer != nil {
		if err := opts.Registerer.Register(e.metrics.all); err != nil {
			e.cancel()
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return e, nil
}

// Connect replaces the connection. After an error the old one stays.
func (e *Engine) Connect(c Connection) error {
	next, err := newLink(c, e.metrics, e.opts.Now)
	if err != nil {
		return err
	}
	if last := e.link.Swap(next); last != nil {
		last.client.CloseIdleConnections()
		e.series.wake()
	}
	return nil
}

// Name returns the engine's URL, without credentials.
func (e *Engine) Name() string { return e.link.Load().name }

// Close cancels the requests under way, waits for them and unregisters the metrics. Requests after Close fail. The caller
// closes an Engine after the Provider that queries it. Close twice is fine, also on nil.
func (e *Engine) Close() error {
	if e == nil {
		return nil
	}
	e.once.Do(func() {
		e.mu.Lock()
		e.closed = true
		e.mu.Unlock()
		e.cancel()
		e.asking.Wait()
		e.link.Load().client.CloseIdleConnections()
		if e.opts.Registerer != nil {
			e.opts.Registerer.Unregister(e.metrics.all)
		}
	})
	return nil
}

// errClosed is returned by requests after Close.
var errClosed = errors.New("promlet is stopping")

// begin adds a request to those that Close waits for; done removes it.
func (e *Engine) begin() (done func(), err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, errClosed
	}
	e.asking.Add(1)
	return e.asking.Done, nil
}

// ask runs one request with the engine's timeout, unless requests pause.
func (e *Engine) ask(ctx context.Context, request func(context.Context, v1.API) error) error {
	done, err := e.begin()
	if err != nil {
		return err
	}
	defer done()
	l := e.link.Load()
	if err := l.breaker.allow(); err != nil {
		return &Error{Engine: l.name, Reason: err.Error(), Unavailable: true}
	}
	ctx, cancel := context.WithTimeout(ctx, e.opts.Timeout)
	defer cancel()
	defer context.AfterFunc(e.closing, cancel)()
	err = request(ctx, l.api)
	failed := newError(l.name, err, e.opts.Timeout)
	switch {
	case err == nil:
		if was, reason := l.breaker.succeeded(); was {
			e.opts.Logger.Info("the engine answers again", "engine", l.name, "was", reason)
		}
		return nil
	case errors.Is(err, context.Canceled): // nobody waits any more; the engine may be fine
		l.breaker.undecided()
	default:
		if l.breaker.failed(failed) {
			e.opts.Logger.Warn("the engine does not answer", "engine", l.name, "reason", failed.Reason, "err", failed.detail)
		} else {
			e.opts.Logger.Debug("a request failed", "engine", l.name, "reason", failed.Reason, "err", failed.detail)
		}
	}
	return failed
}

// Problems returns a line for each reason why the engine does not answer, none when it does.
func (e *Engine) Problems() []string {
	var problems []string
	name := e.Name()
	if reason := e.link.Load().breaker.reason(); reason != "" {
		problems = append(problems, fmt.Sprintf("queries: %s does not answer: %s", name, reason))
	}
	if problem := e.series.problem(); problem != "" {
		problems = append(problems, fmt.Sprintf("queries: %s", problem))
	}
	return problems
}
