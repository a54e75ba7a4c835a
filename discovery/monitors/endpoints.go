package monitors

import (
	"fmt"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// endpoint is an endpoint of a monitor, in the form that ServiceMonitors have.
type endpoint struct {
	spec       *monitoringv1.Endpoint
	field      string       // its path in the monitor
	pod        bool         // of a PodMonitor
	portNumber int32        // of a PodMonitor; 0: none
	validate   func() error // the checks of the CRD's package
}

// specOf returns what a monitor says for all of its endpoints, in the form that
// ServiceMonitors have, and the endpoints.
func specOf(monitor metav1.Object) (spec *monitoringv1.ServiceMonitorSpec, endpoints []*endpoint) {
	switch m := monitor.(type) {
	case *monitoringv1.ServiceMonitor:
		spec = &m.Spec
		for i := range spec.Endpoints {
			ep := &spec.Endpoints[i]
			endpoints = append(endpoints, &endpoint{spec: ep, field: fmt.Sprintf("spec.endpoints[%d]", i), validate: ep.Validate})
		}
	case *monitoringv1.PodMonitor:
		s := &m.Spec
		spec = &monitoringv1.ServiceMonitorSpec{
			JobLabel: s.JobLabel, PodTargetLabels: s.PodTargetLabels, AttachMetadata: s.AttachMetadata, ScrapeClassName: s.ScrapeClassName,
			SampleLimit: s.SampleLimit, TargetLimit: s.TargetLimit, LabelLimit: s.LabelLimit,
			LabelNameLengthLimit: s.LabelNameLengthLimit, LabelValueLengthLimit: s.LabelValueLengthLimit,
			KeepDroppedTargets: s.KeepDroppedTargets, BodySizeLimit: s.BodySizeLimit,
			ScrapeProtocols: s.ScrapeProtocols, FallbackScrapeProtocol: s.FallbackScrapeProtocol,
			NativeHistogramConfig: s.NativeHistogramConfig, ExtraScrapeMetrics: s.ExtraScrapeMetrics,
		}
		for i := range s.PodMetricsEndpoints {
			endpoints = append(endpoints, podEndpoint(i, &s.PodMetricsEndpoints[i]))
		}
	}
	return spec, endpoints
}

func podEndpoint(i int, ep *monitoringv1.PodMetricsEndpoint) *endpoint {
	spec := &monitoringv1.Endpoint{
		Port: ptr.Deref(ep.Port, ""), TargetPort: ep.TargetPort, //nolint:staticcheck // deprecated, and in wide use
		Path: ep.Path, Scheme: ep.Scheme, Params: ep.Params, Interval: ep.Interval, ScrapeTimeout: ep.ScrapeTimeout,
		HonorLabels: ep.HonorLabels, HonorTimestamps: ep.HonorTimestamps, TrackTimestampsStaleness: ep.TrackTimestampsStaleness,
		RelabelConfigs: ep.RelabelConfigs, MetricRelabelConfigs: ep.MetricRelabelConfigs, FilterRunning: ep.FilterRunning,
	}
	spec.HTTPConfigWithoutTLS, spec.ProxyConfig = ep.HTTPConfigWithoutTLS, ep.ProxyConfig
	if ep.TLSConfig != nil {
		spec.TLSConfig = &monitoringv1.TLSConfig{SafeTLSConfig: *ep.TLSConfig}
	}
	return &endpoint{
		spec: spec, field: fmt.Sprintf("spec.podMetricsEndpoints[%d]", i), pod: true,
		portNumber: ptr.Deref(ep.PortNumber, 0), validate: ep.Validate,
	}
}
