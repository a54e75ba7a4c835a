package httpapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"github.com/grafana/regexp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/route"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/scrape"
	promtsdb "github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/util/notifications"
	v1 "github.com/prometheus/prometheus/web/api/v1"

	"github.com/promlet/promlet/tsdb"
)

// Prefix is the path below which the API is served.
const Prefix = "/api/v1"

// Options say what is served. DB is required.
type Options struct {
	// DB gives the samples, within the limits of its engine. The caller closes it, preferably after the server has ended:
	// later requests are answered 503.
	DB *tsdb.DB

	// Targets gives the active targets by job. nil: there are none.
	Targets func() map[string][]*scrape.Target

	// Config gives the configuration, jobs included, which is shown with its secrets hidden. nil: an empty
	// one.
	Config func() config.Config

	// Names gives the names of metrics that targets expose, stored or not, in any order. nil: what is stored
	// is all there is.
	Names func() []string

	// Selected is called before a selector is evaluated. The function that it returns is called with whether series
	// were found; it returns a warning, or nil. Selected, and the function that it returns, may be nil.
	Selected func(matchers []*labels.Matcher) (warning func(found bool) error)

	// Flags are shown by name under status/flags.
	Flags map[string]string

	// ListenAddress is the host and port that the API is served on. Targets on localhost are shown with the
	// machine's name for it, empty: with localhost.
	ListenAddress string

	// Version is that of the program. Started is when it started, zero: now.
	Version string
	Started time.Time

	// Reloaded reports whether the last reading of the configuration succeeded, and when one last did. nil: it
	// did, when the program started.
	Reloaded func() (ok bool, last time.Time)

	// Gatherer gives the program's own metrics, for status/self_metrics. If the metrics of DB are not among them, they are
	// added. nil: only the metrics of DB.
	Gatherer prometheus.Gatherer

	// Logger receives errors of answering. nil: silent.
	Logger *slog.Logger
}

func (o Options) withDefaults() (Options, error) {
	if o.DB == nil {
		return o, errors.New("httpapi: Options.DB is nil")
	}
	if o.Targets == nil {
		o.Targets = func() map[string][]*scrape.Target { return nil }
	}
	if o.Config == nil {
		o.Config = func() config.Config { return config.Config{} }
	}
	if o.Names == nil {
		o.Names = func() []string { return nil }
	}
	if o.Selected == nil {
		o.Selected = func([]*labels.Matcher) func(bool) error { return nil }
	}
	if o.Flags == nil {
		o.Flags = map[string]string{}
	}
	if o.Started.IsZero() {
		o.Started = time.Now()
	}
	if o.Reloaded == nil {
		started := o.Started
		o.Reloaded = func() (bool, time.Time) { return true, started }
	}
	if o.Gatherer == nil {
		o.Gatherer = prometheus.Gatherers{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o, nil
}

// New returns the API, or an error if the Options are invalid.
func New(opts Options) (*API, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	global, err := globalURL(opts.ListenAddress)
	if err != nil {
		return nil, fmt.Errorf("httpapi: Options.ListenAddress: %w", err)
	}
	return newAPI(opts.DB, sync.OnceValue(func() http.Handler {
		// Making it leaves 40 MB to collect, of a description in OpenAPI that is not served. Whoever never asks
		// does without, and whoever does has the memory back.
		defer debug.FreeOSMemory()
		return newRoutes(opts, global)
	})), nil
}

func newRoutes(opts Options, global v1.GlobalURLOptions) http.Handler {
	status := &status{opts: opts}
	targets := &targets{opts: opts}
	reads := &queryable{db: opts.DB, selected: opts.Selected, names: opts.Names}
	router := route.New()
	v1.NewAPI(
		sizedEngine{opts.DB.Engine()},
		reads,
		nil, nil, // Nothing can be appended.
		reads,
		func(context.Context) v1.ScrapePoolsRetriever { return targets },
		func(context.Context) v1.TargetRetriever { return targets },
		func(context.Context) v1.AlertmanagerRetriever { return nothing{} },
		opts.Config,
		opts.Flags,
		global,
		func(next http.HandlerFunc) http.HandlerFunc { return next }, // The database is open.
		status,
		"", // for snapshots
		false, false, 0,
		opts.Logger,
		func(context.Context) v1.RulesRetriever { return nothing{} },
		0, 1, 0, // Remote reading is not served.
		false,
		regexp.MustCompile(noOrigin),
		status.runtimeInfo,
		status.buildInfo(),
		func() []notifications.Notification { return []notifications.Notification{} },
		func() (<-chan notifications.Notification, func(), bool) { return nil, nil, false },
		withStorage{opts.Gatherer, opts.DB}, nil,
		nil,
		false, nil,
		false, false, false,
		false,
		0,
		false,
		false,
		unreadable,
		status.features(),
		v1.OpenAPIOptions{IncludePaths: []string{"none"}},
		opts.DB.Parser(),
	).Register(router.WithPrefix(Prefix))
	return router
}

// unreadable makes the API answer 503 while the database begins anew, and after it is closed. N stands for a type of
// Prometheus that is not exported.
func unreadable[N any](_ N, err error) (code int, override bool) {
	return http.StatusServiceUnavailable, errors.Is(err, promtsdb.ErrNotReady)
}

// noOrigin matches no origin: a page could read metrics through a port on loopback, which it cannot reach
// itself, of whoever looks at it.
const noOrigin = `[^\s\S]`
