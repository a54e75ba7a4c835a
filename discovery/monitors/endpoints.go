package monitors

import (
	"fmt"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
)

// endpoint is what an endpoint of a ServiceMonitor and one of a PodMonitor have in
// common.
type endpoint struct {
	field                    string // its path in the monitor
	pod                      bool   // of a PodMonitor
	path                     string
	scheme                   *monitoringv1.Scheme
	params                   map[string][]string
	interval, timeout        monitoringv1.Duration
	honorLabels              bool
	honorTimestamps          *bool
	trackTimestampsStaleness *bool
	relabelings              []monitoringv1.RelabelConfig
	metricRelabelings        []monitoringv1.RelabelConfig
	bearerTokenFile          string
	http                     monitoringv1.HTTPConfigWithoutTLS
	tls                      *monitoringv1.SafeTLSConfig
	tlsFiles                 monitoringv1.TLSFilesConfig
	proxy                    monitoringv1.ProxyConfig
	validate                 func() error // the checks of the CRD's package
}

func serviceEndpoint(i int, ep *monitoringv1.Endpoint) *endpoint {
	s := &endpoint{
		field:                    fmt.Sprintf("spec.endpoints[%d]", i),
		path:                     ep.Path,
		scheme:                   ep.Scheme,
		params:                   ep.Params,
		interval:                 ep.Interval,
		timeout:                  ep.ScrapeTimeout,
		honorLabels:              ep.HonorLabels,
		honorTimestamps:          ep.HonorTimestamps,
		trackTimestampsStaleness: ep.TrackTimestampsStaleness,
		relabelings:              ep.RelabelConfigs,
		metricRelabelings:        ep.MetricRelabelConfigs,
		bearerTokenFile:          ep.BearerTokenFile, //nolint:staticcheck // deprecated, and in wide use
		http:                     ep.HTTPConfigWithoutTLS,
		proxy:                    ep.ProxyConfig,
		validate:                 ep.Validate,
	}
	if ep.TLSConfig != nil {
		s.tls, s.tlsFiles = &ep.TLSConfig.SafeTLSConfig, ep.TLSConfig.TLSFilesConfig
	}
	return s
}

func podEndpoint(i int, ep *monitoringv1.PodMetricsEndpoint) *endpoint {
	return &endpoint{
		field:                    fmt.Sprintf("spec.podMetricsEndpoints[%d]", i),
		pod:                      true,
		path:                     ep.Path,
		scheme:                   ep.Scheme,
		params:                   ep.Params,
		interval:                 ep.Interval,
		timeout:                  ep.ScrapeTimeout,
		honorLabels:              ep.HonorLabels,
		honorTimestamps:          ep.HonorTimestamps,
		trackTimestampsStaleness: ep.TrackTimestampsStaleness,
		relabelings:              ep.RelabelConfigs,
		metricRelabelings:        ep.MetricRelabelConfigs,
		http:                     ep.HTTPConfigWithoutTLS,
		tls:                      ep.TLSConfig,
		proxy:                    ep.ProxyConfig,
		validate:                 ep.Validate,
	}
}

// limits are the settings that a monitor gives for all of its endpoints.
type limits struct {
	sample, target, label, labelName, labelValue, keepDropped *int64

	bodySize         *monitoringv1.ByteSize
	protocols        []monitoringv1.ScrapeProtocol
	fallbackProtocol *monitoringv1.ScrapeProtocol
	histograms       monitoringv1.NativeHistogramConfig
}

func serviceMonitorLimits(s *monitoringv1.ServiceMonitorSpec) *limits {
	return &limits{
		sample: s.SampleLimit, target: s.TargetLimit, label: s.LabelLimit,
		labelName: s.LabelNameLengthLimit, labelValue: s.LabelValueLengthLimit,
		keepDropped: s.KeepDroppedTargets, bodySize: s.BodySizeLimit,
		protocols: s.ScrapeProtocols, fallbackProtocol: s.FallbackScrapeProtocol,
		histograms: s.NativeHistogramConfig,
	}
}

func podMonitorLimits(s *monitoringv1.PodMonitorSpec) *limits {
	return &limits{
		sample: s.SampleLimit, target: s.TargetLimit, label: s.LabelLimit,
		labelName: s.LabelNameLengthLimit, labelValue: s.LabelValueLengthLimit,
		keepDropped: s.KeepDroppedTargets, bodySize: s.BodySizeLimit,
		protocols: s.ScrapeProtocols, fallbackProtocol: s.FallbackScrapeProtocol,
		histograms: s.NativeHistogramConfig,
	}
}
