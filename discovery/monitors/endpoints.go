package monitors

import (
	"fmt"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
)

// endpoint is an endpoint of a monitor, in the form that ServiceMonitors have.
type endpoint struct {
	spec     *monitoringv1.Endpoint
	field    string       // its path in the monitor
	pod      bool         // of a PodMonitor
	validate func() error // the checks of the CRD's package
}

func serviceEndpoint(i int, ep *monitoringv1.Endpoint) *endpoint {
	return &endpoint{spec: ep, field: fmt.Sprintf("spec.endpoints[%d]", i), validate: ep.Validate}
}

func podEndpoint(i int, ep *monitoringv1.PodMetricsEndpoint) *endpoint {
	spec := &monitoringv1.Endpoint{
		Path: ep.Path, Scheme: ep.Scheme, Params: ep.Params, Interval: ep.Interval, ScrapeTimeout: ep.ScrapeTimeout,
		HonorLabels: ep.HonorLabels, HonorTimestamps: ep.HonorTimestamps, TrackTimestampsStaleness: ep.TrackTimestampsStaleness,
		RelabelConfigs: ep.RelabelConfigs, MetricRelabelConfigs: ep.MetricRelabelConfigs,
	}
	spec.HTTPConfigWithoutTLS, spec.ProxyConfig = ep.HTTPConfigWithoutTLS, ep.ProxyConfig
	if ep.TLSConfig != nil {
		spec.TLSConfig = &monitoringv1.TLSConfig{SafeTLSConfig: *ep.TLSConfig}
	}
	return &endpoint{spec: spec, field: fmt.Sprintf("spec.podMetricsEndpoints[%d]", i), pod: true, validate: ep.Validate}
}

// podMonitorLimits returns the settings that a PodMonitor gives for all of its endpoints,
// in the form that ServiceMonitors have.
func podMonitorLimits(s *monitoringv1.PodMonitorSpec) *monitoringv1.ServiceMonitorSpec {
	return &monitoringv1.ServiceMonitorSpec{
		SampleLimit: s.SampleLimit, TargetLimit: s.TargetLimit, LabelLimit: s.LabelLimit,
		LabelNameLengthLimit: s.LabelNameLengthLimit, LabelValueLengthLimit: s.LabelValueLengthLimit,
		KeepDroppedTargets: s.KeepDroppedTargets, BodySizeLimit: s.BodySizeLimit,
		ScrapeProtocols: s.ScrapeProtocols, FallbackScrapeProtocol: s.FallbackScrapeProtocol,
		NativeHistogramConfig: s.NativeHistogramConfig,
	}
}
