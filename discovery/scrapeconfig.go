package discovery

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"net/url"
	"slices"
	"time"

	"github.com/alecthomas/units"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
)

// ErrNotSupported is wrapped by the reason for which a monitor is rejected that
// sets a field promlet does not do.
var ErrNotSupported = errors.New("not supported by promlet")

// defaults hold for monitors that say nothing.
type defaults struct {
	interval, timeout time.Duration
}

// global is the part of Prometheus's configuration from which a job takes what it
// does not set.
func (d defaults) global() config.GlobalConfig {
	g := config.DefaultGlobalConfig
	g.ScrapeInterval = model.Duration(d.interval)
	g.ScrapeTimeout = model.Duration(d.timeout)
	return g
}

// scrapeConfig makes the configuration of one job. Errors name the field.
func (d defaults) scrapeConfig(job string, ep *endpointSpec, lim *limits, a *assets) (*config.ScrapeConfig, error) {
	c := config.DefaultScrapeConfig
	c.JobName = job
	if err := ep.apply(&c, d, a); err != nil {
		return nil, fmt.Errorf("%s.%w", ep.field, err)
	}
	if err := lim.apply(&c); err != nil {
		return nil, fmt.Errorf("spec.%w", err)
	}
	var err error
	if c.RelabelConfigs, err = relabelConfigs(ep.field+".relabelings", ep.relabelings); err != nil {
		return nil, err
	}
	if c.MetricRelabelConfigs, err = relabelConfigs(ep.field+".metricRelabelings", ep.metricRelabelings); err != nil {
		return nil, err
	}
	if err := c.HTTPClientConfig.Validate(); err != nil {
		return nil, fmt.Errorf("%s: %w", ep.field, err)
	}
	if err := c.Validate(d.global()); err != nil {
		return nil, fmt.Errorf("%s: %w", ep.field, err)
	}
	return &c, nil
}

// plain is the configuration of a job that no monitor describes.
func (d defaults) plain(job string) (*config.ScrapeConfig, error) {
	return d.scrapeConfig(job, &endpointSpec{}, &limits{}, nil)
}

func (s *endpointSpec) apply(c *config.ScrapeConfig, d defaults, a *assets) error {
	var err error
	if c.Scheme, err = s.schemeOf(); err != nil {
		return err
	}
	if s.path != "" {
		c.MetricsPath = s.path
	}
	for name, values := range s.params {
		if c.Params == nil {
			c.Params = url.Values{}
		}
		c.Params[name] = slices.Clone(values)
	}
	if c.ScrapeInterval, c.ScrapeTimeout, err = s.pace(d); err != nil {
		return err
	}
	c.HonorLabels = s.honorLabels
	if s.honorTimestamps != nil {
		c.HonorTimestamps = *s.honorTimestamps
	}
	if s.trackTimestampsStaleness != nil {
		c.TrackTimestampsStaleness = *s.trackTimestampsStaleness
	}
	if s.http.FollowRedirects != nil {
		c.HTTPClientConfig.FollowRedirects = *s.http.FollowRedirects
	}
	if s.http.EnableHTTP2 != nil {
		c.HTTPClientConfig.EnableHTTP2 = *s.http.EnableHTTP2
	}
	if err := s.applyCredentials(&c.HTTPClientConfig, a); err != nil {
		return err
	}
	return applyProxy(&c.HTTPClientConfig.ProxyConfig, &s.proxy, a)
}

// pace reads interval and timeout; 0 is left for the default. As in the operator,
// a timeout that is given is held against the interval that is given.
func (s *endpointSpec) pace(d defaults) (interval, timeout model.Duration, err error) {
	effective := model.Duration(d.interval)
	if s.interval != "" {
		if interval, err = model.ParseDuration(string(s.interval)); err != nil {
			return 0, 0, fmt.Errorf("interval: %w", err)
		}
		effective = interval
	}
	if s.timeout != "" {
		if timeout, err = model.ParseDuration(string(s.timeout)); err != nil {
			return 0, 0, fmt.Errorf("scrapeTimeout: %w", err)
		}
	}
	if timeout > effective {
		return 0, 0, fmt.Errorf("scrapeTimeout: %s is above the interval of %s", timeout, effective)
	}
	return interval, timeout, nil
}

func (l *limits) apply(c *config.ScrapeConfig) error {
	for _, f := range []struct {
		name string
		from *int64
		to   *uint
	}{
		{"sampleLimit", l.sample, &c.SampleLimit},
		{"targetLimit", l.target, &c.TargetLimit},
		{"labelLimit", l.label, &c.LabelLimit},
		{"labelNameLengthLimit", l.labelName, &c.LabelNameLengthLimit},
		{"labelValueLengthLimit", l.labelValue, &c.LabelValueLengthLimit},
		{"keepDroppedTargets", l.keepDropped, &c.KeepDroppedTargets},
		{"nativeHistogramBucketLimit", l.histograms.NativeHistogramBucketLimit, &c.NativeHistogramBucketLimit},
	} {
		if f.from == nil {
			continue
		}
		if *f.from < 0 || uint64(*f.from) > math.MaxUint {
			return fmt.Errorf("%s: %d is out of range", f.name, *f.from)
		}
		*f.to = uint(*f.from)
	}
	if l.bodySize != nil && *l.bodySize != "" {
		size, err := units.ParseBase2Bytes(string(*l.bodySize))
		if err != nil || size < 0 {
			return fmt.Errorf("bodySizeLimit: %q is not a size such as 16MB", *l.bodySize)
		}
		c.BodySizeLimit = size
	}
	c.ScrapeNativeHistograms = l.histograms.ScrapeNativeHistograms
	c.AlwaysScrapeClassicHistograms = l.histograms.ScrapeClassicHistograms
	c.ConvertClassicHistogramsToNHCB = l.histograms.ConvertClassicHistogramsToNHCB
	if f := l.histograms.NativeHistogramMinBucketFactor; f != nil {
		c.NativeHistogramMinBucketFactor = f.AsApproximateFloat64()
	}
	return l.applyProtocols(c)
}

func (l *limits) applyProtocols(c *config.ScrapeConfig) error {
	for i, name := range l.protocols {
		p := config.ScrapeProtocol(name)
		if err := p.Validate(); err != nil {
			return fmt.Errorf("scrapeProtocols[%d]: %w", i, err)
		}
		if slices.Contains(c.ScrapeProtocols, p) {
			return fmt.Errorf("scrapeProtocols[%d]: %s is given twice", i, p)
		}
		c.ScrapeProtocols = append(c.ScrapeProtocols, p)
	}
	if l.fallbackProtocol == nil {
		return nil
	}
	p := config.ScrapeProtocol(*l.fallbackProtocol)
	if err := p.Validate(); err != nil {
		return fmt.Errorf("fallbackScrapeProtocol: %w", err)
	}
	c.ScrapeFallbackProtocol = p
	return nil
}

func sortedKeys[V any](m map[string]V) []string {
	return slices.Sorted(maps.Keys(m))
}
