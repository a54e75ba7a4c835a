package scrape

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/common/model"
	promscrape "github.com/prometheus/prometheus/scrape"

	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"

	"github.com/promlet/promlet/scrape/internal/body"
	"github.com/promlet/promlet/scrape/internal/budget"
	"github.com/promlet/promlet/scrape/internal/names"
	"github.com/promlet/promlet/scrape/sink"
)

// Labels by which a target overrides the job's configuration. Prometheus does not export
// their names.
const (
	nativeHistogramsLabel = "__scrape_native_histograms__"
	alwaysClassicLabel    = "__always_scrape_classic_histograms__"
	convertToNHCBLabel    = "__convert_classic_histograms_to_nhcb__"
	unixSocketLabel       = "__unix_socket__"
)

// settings are shared by the loops of a job. They do not change: a job with other
// settings gets new loops.
type settings struct {
	jobName         string
	fetcher         *body.Fetcher
	limits          limits
	honorLabels     bool
	honorTimestamps bool
	trackTimestamps bool
	metricRelabel   []*relabel.Config // without what enforces the namespace
	namespace       namespacePin
	validation      model.ValidationScheme
	extraReports    bool
	parseST         bool
	symbols         *labels.SymbolTable
	names           *names.Table
	nameMemory      *budget.Loan // of names, and of the loops' families
	onDemand        bool         // always true with a sink, so that the job stores the least
	sink            *sink.Sink   // nil for none
}

// checkedConfig returns a copy of cfg with the defaults, or an error that says what is
// wrong with it. cfg does not change.
func checkedConfig(cfg *config.ScrapeConfig) (*config.ScrapeConfig, error) {
	c := *cfg
	if c.Scheme == "" {
		return nil, errors.New("it has no scheme: start from a copy of config.DefaultScrapeConfig")
	}
	// Validate writes to what these point to.
	c.RelabelConfigs = copied(c.RelabelConfigs)
	c.MetricRelabelConfigs = copied(c.MetricRelabelConfigs)
	if a := c.HTTPClientConfig.Authorization; a != nil {
		dup := *a
		c.HTTPClientConfig.Authorization = &dup
	}
	for _, rc := range slices.Concat(c.RelabelConfigs, c.MetricRelabelConfigs) {
		if rc == nil {
			return nil, errors.New("empty relabelling rule")
		}
	}
	if err := c.Validate(config.DefaultGlobalConfig); err != nil {
		return nil, err
	}
	if err := c.HTTPClientConfig.Validate(); err != nil {
		return nil, err
	}
	return &c, nil
}

func copied(rules []*relabel.Config) []*relabel.Config {
	out := make([]*relabel.Config, len(rules))
	for i, rc := range rules {
		if rc != nil {
			dup := *rc
			out[i] = &dup
		}
	}
	return out
}

// forLoops is cfg without the settings that only decide which targets there are and what
// labels they have: a change of any other setting needs new loops.
func forLoops(cfg *config.ScrapeConfig) *config.ScrapeConfig {
	c := *cfg
	c.RelabelConfigs = nil
	c.ServiceDiscoveryConfigs = nil
	c.KeepDroppedTargets = 0
	c.TargetLimit = 0
	c.ScrapeFailureLogFile = ""
	// These reach the loops through the labels of the targets.
	c.ScrapeInterval, c.ScrapeTimeout = 0, 0
	c.MetricsPath, c.Scheme, c.Params = "", "", nil
	c.ScrapeNativeHistograms = nil
	c.AlwaysScrapeClassicHistograms = nil
	c.ConvertClassicHistogramsToNHCB = nil
	return &c
}

// sameForLoops reports whether loops that run on a may stay when b replaces it. Both
// are checked.
func sameForLoops(a, b *config.ScrapeConfig) bool {
	return reflect.DeepEqual(forLoops(a), forLoops(b))
}

// newSettings makes the settings of a job from a checked configuration.
func (m *Manager) newSettings(cfg *config.ScrapeConfig) (*settings, error) {
	fetcher, err := body.NewFetcher(cfg, body.Options{
		Pools:         m.pools,
		UserAgent:     m.opts.UserAgent,
		NoCompression: !m.opts.Compression,
		SizeLimit:     orDefault(int64(cfg.BodySizeLimit), m.opts.BodySizeLimit),
		Dial:          m.opts.DialContext,
		HTTPClient:    m.opts.HTTPClientOptions,
	})
	if err != nil {
		return nil, err
	}
	pin := m.pinOf(cfg)
	nameMemory := m.names.Loan(m.borrower(cfg.JobName, nil))
	handed, onDemand, changes := m.sinkOf(cfg.JobName), m.opts.OnDemand, &m.catalogVersion
	if handed != nil {
		onDemand, changes = true, new(atomic.Uint64) // Its names are not in the Catalog.
	}
	table := names.NewTable(cfg.MetricRelabelConfigs, onDemand, m.demandOf(cfg.JobName, nil), changes, nameMemory)
	if handed != nil {
		table.Pass(handed.Wanted)
	}
	return &settings{
		jobName: cfg.JobName,
		fetcher: fetcher,
		limits: limits{
			samples:          orDefault(limit(cfg.SampleLimit), m.opts.SampleLimit),
			labels:           orDefault(limit(cfg.LabelLimit), m.opts.LabelLimit),
			labelNameLength:  orDefault(limit(cfg.LabelNameLengthLimit), m.opts.LabelNameLengthLimit),
			labelValueLength: orDefault(limit(cfg.LabelValueLengthLimit), m.opts.LabelValueLengthLimit),
			buckets:          orDefault(limit(cfg.NativeHistogramBucketLimit), m.opts.BucketLimit),
			maxSchema:        maxSchemaFor(cfg.NativeHistogramMinBucketFactor),
		},
		honorLabels:     cfg.HonorLabels,
		honorTimestamps: cfg.HonorTimestamps,
		trackTimestamps: cfg.TrackTimestampsStaleness,
		metricRelabel:   pin.others(cfg.MetricRelabelConfigs),
		namespace:       pin,
		validation:      cfg.MetricNameValidationScheme,
		extraReports:    cfg.ExtraScrapeMetricsEnabled(),
		parseST:         m.opts.ParseStartTimestamps,
		symbols:         labels.NewSymbolTable(),
		onDemand:        onDemand,
		names:           table,
		nameMemory:      nameMemory,
		sink:            handed,
	}, nil
}

// sinkOf returns the sink of a job, nil for none.
func (m *Manager) sinkOf(job string) *sink.Sink {
	if s, ok := m.opts.Sinks[job]; ok {
		return &s
	}
	return nil
}

// hands reports whether the job's sink wants the samples of a name in a body.
func (s *settings) hands(name []byte) bool {
	return s.sink != nil && s.sink.Wanted != nil && s.sink.Wanted(string(name))
}

// close lets go of what the settings hold, after the last loop that uses them has ended.
func (s *settings) close() {
	s.fetcher.CloseIdleConnections()
	s.names.Close()
}

// limit is a configured limit as an int. Larger ones are as good as none.
func limit(v uint) int { return int(min(v, 1<<31-1)) } //nolint:gosec // Bounded.

func orDefault[T int | int64](v, def T) T {
	if v > 0 {
		return v
	}
	return def
}

// targetSettings are those that a target's labels set.
type targetSettings struct {
	interval         time.Duration
	timeout          time.Duration
	nativeHistograms bool
	alwaysClassic    bool
	convertToNHCB    bool
}

// settingsOf reads the settings from a target's labels. PopulateLabels has put the job's
// values there and checked all of them, so errors do not happen.
func settingsOf(t *promscrape.Target) (targetSettings, error) {
	is := func(label string) bool {
		v, err := strconv.ParseBool(t.GetValue(label))
		return err == nil && v
	}
	interval, err := model.ParseDuration(t.GetValue(model.ScrapeIntervalLabel))
	if err != nil {
		return targetSettings{}, fmt.Errorf("scrape interval: %w", err)
	}
	timeout, err := model.ParseDuration(t.GetValue(model.ScrapeTimeoutLabel))
	if err != nil {
		return targetSettings{}, fmt.Errorf("scrape timeout: %w", err)
	}
	return targetSettings{
		interval:         time.Duration(interval),
		timeout:          time.Duration(timeout),
		nativeHistograms: is(nativeHistogramsLabel),
		alwaysClassic:    is(alwaysClassicLabel),
		convertToNHCB:    is(convertToNHCBLabel),
	}, nil
}
