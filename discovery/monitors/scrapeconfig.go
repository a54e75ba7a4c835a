package monitors

import (
	"errors"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/units"
	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"k8s.io/utils/ptr"
)

// ErrNotSupported is wrapped by the error of a monitor that sets a field promlet does not
// support.
var ErrNotSupported = errors.New("not supported by promlet")

// global is the part of Prometheus's configuration from which a job takes what it
// does not set.
func (c *Compiler) global() config.GlobalConfig {
	g := config.DefaultGlobalConfig
	g.ScrapeInterval = model.Duration(c.options.Interval)
	g.ScrapeTimeout = model.Duration(c.options.Timeout)
	return g
}

// scrapeConfig makes the configuration of one job of a monitor in a namespace, "" for a job
// without a monitor. Errors name the field.
func (c *Compiler) scrapeConfig(job, namespace string, ep *endpoint, limits *monitoringv1.ServiceMonitorSpec, refs *secrets) (*config.ScrapeConfig, error) {
	out := config.DefaultScrapeConfig
	out.JobName = job
	if err := ep.apply(&out, c.options.Interval, refs); err != nil {
		return nil, fmt.Errorf("%s.%w", ep.field, err)
	}
	if err := applyLimits(&out, limits); err != nil {
		return nil, fmt.Errorf("spec.%w", err)
	}
	var err error
	if out.RelabelConfigs, err = relabelConfigs(ep.field+".relabelings", ep.spec.RelabelConfigs); err != nil {
		return nil, err
	}
	if out.MetricRelabelConfigs, err = relabelConfigs(ep.field+".metricRelabelings", ep.spec.MetricRelabelConfigs); err != nil {
		return nil, err
	}
	if slices.ContainsFunc(out.RelabelConfigs, maySetInterval) {
		out.RelabelConfigs = append(out.RelabelConfigs, raiseInterval())
	}
	// The operator puts these rules after the one that enforces the namespace. The order makes no difference, because they
	// use other labels. Here the last rule must be the one that enforces the namespace: the scraper looks for it there.
	out.RelabelConfigs = append(out.RelabelConfigs, c.options.Shard.relabelings()...)
	if namespace != "" && c.options.Enforcement.Applies(namespace) {
		// Last, as in the operator: over whatever the monitor's own rules and honorLabels gave.
		out.RelabelConfigs = append(out.RelabelConfigs, pinNamespace(namespace))
		out.MetricRelabelConfigs = append(out.MetricRelabelConfigs, pinNamespace(namespace))
	}
	if err := out.HTTPClientConfig.Validate(); err != nil {
		return nil, fmt.Errorf("%s: %w", ep.field, err)
	}
	if err := out.Validate(c.global()); err != nil {
		return nil, fmt.Errorf("%s: %w", ep.field, err)
	}
	return &out, nil
}

// PlainConfig is the configuration of a job that no monitor describes.
func (c *Compiler) PlainConfig(job string) (*config.ScrapeConfig, error) {
	return c.scrapeConfig(job, "", &endpoint{spec: &monitoringv1.Endpoint{}}, &monitoringv1.ServiceMonitorSpec{}, nil)
}

func (e *endpoint) apply(c *config.ScrapeConfig, defaultInterval time.Duration, refs *secrets) error {
	var err error
	if c.Scheme, err = schemeOf(e.spec.Scheme); err != nil {
		return err
	}
	if e.spec.Path != "" {
		c.MetricsPath = e.spec.Path
	}
	for name, values := range e.spec.Params {
		if c.Params == nil {
			c.Params = url.Values{}
		}
		c.Params[name] = slices.Clone(values)
	}
	if c.ScrapeInterval, c.ScrapeTimeout, err = e.pace(defaultInterval); err != nil {
		return err
	}
	c.HonorLabels = e.spec.HonorLabels
	c.HonorTimestamps = ptr.Deref(e.spec.HonorTimestamps, c.HonorTimestamps)
	c.TrackTimestampsStaleness = ptr.Deref(e.spec.TrackTimestampsStaleness, c.TrackTimestampsStaleness)
	c.HTTPClientConfig.FollowRedirects = ptr.Deref(e.spec.FollowRedirects, c.HTTPClientConfig.FollowRedirects)
	c.HTTPClientConfig.EnableHTTP2 = ptr.Deref(e.spec.EnableHTTP2, c.HTTPClientConfig.EnableHTTP2)
	if err := e.applyCredentials(&c.HTTPClientConfig, refs); err != nil {
		return err
	}
	return applyProxy(&c.HTTPClientConfig.ProxyConfig, &e.spec.ProxyConfig, refs)
}

// schemeOf is the scheme to scrape with; the CRD takes it in either case.
func schemeOf(from *monitoringv1.Scheme) (string, error) {
	switch scheme := strings.ToLower(string(ptr.Deref(from, "http"))); scheme {
	case "http", "https":
		return scheme, nil
	}
	return "", fmt.Errorf("scheme: %q is neither http nor https", *from)
}

// pace returns interval and timeout, 0 for the default. As in the operator, a timeout
// that is given is compared with the interval that applies, and an interval below
// MinInterval counts as that.
func (e *endpoint) pace(defaultInterval time.Duration) (interval, timeout model.Duration, err error) {
	effective := model.Duration(defaultInterval)
	if e.spec.Interval != "" {
		if interval, err = model.ParseDuration(string(e.spec.Interval)); err != nil {
			return 0, 0, fmt.Errorf("interval: %w", err)
		}
		if interval > 0 {
			interval = max(interval, model.Duration(MinInterval))
		}
		effective = interval
	}
	if e.spec.ScrapeTimeout != "" {
		if timeout, err = model.ParseDuration(string(e.spec.ScrapeTimeout)); err != nil {
			return 0, 0, fmt.Errorf("scrapeTimeout: %w", err)
		}
	}
	if timeout > effective {
		return 0, 0, fmt.Errorf("scrapeTimeout: %s is above the interval of %s", timeout, effective)
	}
	return interval, timeout, nil
}

func applyLimits(c *config.ScrapeConfig, l *monitoringv1.ServiceMonitorSpec) error {
	for _, f := range []struct {
		name string
		from *int64
		to   *uint
	}{
		{"sampleLimit", l.SampleLimit, &c.SampleLimit},
		{"targetLimit", l.TargetLimit, &c.TargetLimit},
		{"labelLimit", l.LabelLimit, &c.LabelLimit},
		{"labelNameLengthLimit", l.LabelNameLengthLimit, &c.LabelNameLengthLimit},
		{"labelValueLengthLimit", l.LabelValueLengthLimit, &c.LabelValueLengthLimit},
		{"keepDroppedTargets", l.KeepDroppedTargets, &c.KeepDroppedTargets},
		{"nativeHistogramBucketLimit", l.NativeHistogramBucketLimit, &c.NativeHistogramBucketLimit},
	} {
		if f.from == nil {
			continue
		}
		if *f.from < 0 || uint64(*f.from) > math.MaxUint {
			return fmt.Errorf("%s: %d is out of range", f.name, *f.from)
		}
		*f.to = uint(*f.from)
	}
	if l.BodySizeLimit != nil && *l.BodySizeLimit != "" {
		size, err := units.ParseBase2Bytes(string(*l.BodySizeLimit))
		if err != nil || size < 0 {
			return fmt.Errorf("bodySizeLimit: %q is not a size such as 16MB", *l.BodySizeLimit)
		}
		c.BodySizeLimit = size
	}
	c.ScrapeNativeHistograms = l.ScrapeNativeHistograms
	c.AlwaysScrapeClassicHistograms = l.ScrapeClassicHistograms
	c.ConvertClassicHistogramsToNHCB = l.ConvertClassicHistogramsToNHCB
	c.ExtraScrapeMetrics = l.ExtraScrapeMetrics
	if f := l.NativeHistogramMinBucketFactor; f != nil {
		c.NativeHistogramMinBucketFactor = f.AsApproximateFloat64()
	}
	return applyProtocols(c, l)
}

func applyProtocols(c *config.ScrapeConfig, l *monitoringv1.ServiceMonitorSpec) error {
	for i, name := range l.ScrapeProtocols {
		p := config.ScrapeProtocol(name)
		if err := p.Validate(); err != nil {
			return fmt.Errorf("scrapeProtocols[%d]: %w", i, err)
		}
		if slices.Contains(c.ScrapeProtocols, p) {
			return fmt.Errorf("scrapeProtocols[%d]: %s is given twice", i, p)
		}
		c.ScrapeProtocols = append(c.ScrapeProtocols, p)
	}
	if l.FallbackScrapeProtocol == nil {
		return nil
	}
	p := config.ScrapeProtocol(*l.FallbackScrapeProtocol)
	if err := p.Validate(); err != nil {
		return fmt.Errorf("fallbackScrapeProtocol: %w", err)
	}
	c.ScrapeFallbackProtocol = p
	return nil
}
