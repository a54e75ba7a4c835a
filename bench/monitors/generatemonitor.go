package monitors

import (
	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// serviceMonitor makes a ServiceMonitor. plain says that the endpoints role may be
// asked for, which needs EndpointSlices as Kubernetes makes them.
func (g *generator) serviceMonitor(name string, plain bool) *monitoringv1.ServiceMonitor {
	m := &monitoringv1.ServiceMonitor{ObjectMeta: metav1.ObjectMeta{
		Name: name, Namespace: g.namespace(), Labels: map[string]string{"team": pick(g.choices, "a", "b")},
	}}
	s := &m.Spec
	s.Selector, s.NamespaceSelector = g.selector(), g.namespaceSelector()
	s.JobLabel = g.jobLabel()
	s.TargetLabels, s.PodTargetLabels = g.names(), g.names()
	s.ServiceDiscoveryRole = maybe(g.choices, monitoringv1.EndpointSliceRole)
	if plain && g.one(2) {
		s.ServiceDiscoveryRole = new(monitoringv1.EndpointsRole)
	}
	s.SelectorMechanism = g.mechanism()
	s.AttachMetadata = g.attach()
	s.ScrapeClassName = g.scrapeClass()
	l := g.limits()
	s.SampleLimit, s.TargetLimit, s.LabelLimit = l.sample, l.target, l.label
	s.LabelNameLengthLimit, s.LabelValueLengthLimit, s.KeepDroppedTargets = l.labelName, l.labelValue, l.dropped
	s.BodySizeLimit, s.ScrapeProtocols, s.FallbackScrapeProtocol = l.body, l.protocols, l.fallback
	s.NativeHistogramConfig = l.histograms
	for range 1 + g.intn(2) {
		e := monitoringv1.Endpoint{
			Port: pick(g.choices, "", "http", "metrics", "m.*"), TargetPort: g.targetPort(), Path: g.path(), Scheme: g.scheme(),
			Params: g.params(), HonorLabels: g.one(2), HonorTimestamps: maybe(g.choices, true, false),
			TrackTimestampsStaleness: maybe(g.choices, true, false), FilterRunning: maybe(g.choices, true, false),
			RelabelConfigs: g.relabelings(s.ServiceDiscoveryRole), MetricRelabelConfigs: g.relabelings(nil),
		}
		e.Interval, e.ScrapeTimeout = g.pace()
		if g.one(60) {
			e.BearerTokenFile = "/var/run/token" //nolint:staticcheck // deprecated, and in wide use
		}
		e.HTTPConfigWithoutTLS, e.ProxyConfig = g.http(), g.proxy()
		if tls := g.tls(); tls != nil {
			e.TLSConfig = &monitoringv1.TLSConfig{SafeTLSConfig: *tls}
			if g.one(20) {
				e.TLSConfig.TLSFilesConfig = monitoringv1.TLSFilesConfig{
					CAFile: pick(g.choices, "", "/ca"), CertFile: pick(g.choices, "", "/cert"), KeyFile: pick(g.choices, "", "/key"),
				}
			}
		}
		s.Endpoints = append(s.Endpoints, e)
	}
	return m
}

func (g *generator) podMonitor(name string) *monitoringv1.PodMonitor {
	m := &monitoringv1.PodMonitor{ObjectMeta: metav1.ObjectMeta{
		Name: name, Namespace: g.namespace(), Labels: map[string]string{"team": pick(g.choices, "a", "b")},
	}}
	s := &m.Spec
	s.Selector, s.NamespaceSelector = g.selector(), g.namespaceSelector()
	s.JobLabel = g.jobLabel()
	s.PodTargetLabels = g.names()
	s.SelectorMechanism = g.mechanism()
	s.AttachMetadata = g.attach()
	s.ScrapeClassName = g.scrapeClass()
	l := g.limits()
	s.SampleLimit, s.TargetLimit, s.LabelLimit = l.sample, l.target, l.label
	s.LabelNameLengthLimit, s.LabelValueLengthLimit, s.KeepDroppedTargets = l.labelName, l.labelValue, l.dropped
	s.BodySizeLimit, s.ScrapeProtocols, s.FallbackScrapeProtocol = l.body, l.protocols, l.fallback
	s.NativeHistogramConfig = l.histograms
	for range 1 + g.intn(2) {
		e := monitoringv1.PodMetricsEndpoint{
			Port: pick(g.choices, nil, new("http"), new("metrics"), new("m.*"), new("")), PortNumber: maybe[int32](g.choices, 9090, 0),
			Path: g.path(), Scheme: g.scheme(), Params: g.params(), HonorLabels: g.one(2),
			HonorTimestamps: maybe(g.choices, true, false), TrackTimestampsStaleness: maybe(g.choices, true, false),
			FilterRunning: maybe(g.choices, true, false), RelabelConfigs: g.relabelings(nil), MetricRelabelConfigs: g.relabelings(nil),
		}
		e.TargetPort = g.targetPort() //nolint:staticcheck // deprecated, and in use
		e.Interval, e.ScrapeTimeout = g.pace()
		e.HTTPConfigWithoutTLS, e.ProxyConfig, e.TLSConfig = g.http(), g.proxy(), g.tls()
		s.PodMetricsEndpoints = append(s.PodMetricsEndpoints, e)
	}
	return m
}

func (g *generator) jobLabel() string {
	return pick(g.choices, "", "", "app", "app.kubernetes.io/name", "app_kubernetes_io_name", "nope")
}

func (g *generator) mechanism() *monitoringv1.SelectorMechanism {
	return pick(g.choices, nil, nil, new(monitoringv1.SelectorMechanismRelabel), new(monitoringv1.SelectorMechanismRole))
}

func (g *generator) attach() *monitoringv1.AttachMetadata {
	return pick(g.choices, nil, nil, &monitoringv1.AttachMetadata{Node: new(true)}, &monitoringv1.AttachMetadata{})
}

func (g *generator) scrapeClass() *string {
	if g.one(120) {
		return new(pick(g.choices, "", "special"))
	}
	return nil
}

func (g *generator) targetPort() *intstr.IntOrString {
	return pick(g.choices, nil, nil, new(intstr.FromInt32(9090)), new(intstr.FromString("metrics")),
		new(intstr.FromInt32(0)), new(intstr.FromString("")), new(intstr.FromString("9090")))
}

func (g *generator) path() string { return pick(g.choices, "", "", "/x", "/m?a=b", "probe") }

func (g *generator) scheme() *monitoringv1.Scheme {
	return pick(g.choices, nil, nil, new(monitoringv1.Scheme("HTTPS")), new(monitoringv1.Scheme("http")))
}

func (g *generator) params() map[string][]string {
	return pick(g.choices, nil, nil, map[string][]string{"match[]": {"a", "b"}, "z": {}}, map[string][]string{"module": {"x y"}})
}

func (g *generator) pace() (interval, timeout monitoringv1.Duration) {
	if g.one(100) {
		return pick[monitoringv1.Duration](g.choices, "5s", "0", "", "soon", "1.5s"), pick[monitoringv1.Duration](g.choices, "6s", "", "1h", "ten", "-1s")
	}
	interval = pick[monitoringv1.Duration](g.choices, "", "15s", "5s", "1m", "0", "1h30m")
	if interval != "0" {
		timeout = pick[monitoringv1.Duration](g.choices, "", "", "5s", "0s", "500ms")
	}
	return interval, timeout
}

// limits are the settings of a monitor as a whole.
type limits struct {
	sample, target, label, labelName, labelValue, dropped *int64

	body       *monitoringv1.ByteSize
	protocols  []monitoringv1.ScrapeProtocol
	fallback   *monitoringv1.ScrapeProtocol
	histograms monitoringv1.NativeHistogramConfig
}

func (g *generator) limits() limits {
	limit := func() *int64 {
		switch {
		case g.one(250):
			return new(int64(-1))
		case g.one(3):
			return new(pick[int64](g.choices, 0, 5, 1<<40))
		}
		return nil
	}
	l := limits{
		sample: limit(), target: limit(), label: limit(), labelName: limit(), labelValue: limit(), dropped: limit(),
		body: maybe[monitoringv1.ByteSize](g.choices, "16MB", "0", "1GiB", ""),
		protocols: pick(g.choices, nil, nil, []monitoringv1.ScrapeProtocol{"PrometheusText0.0.4", "OpenMetricsText1.0.0"},
			[]monitoringv1.ScrapeProtocol{}, []monitoringv1.ScrapeProtocol{"PrometheusText1.0.0", "PrometheusProto"}),
		fallback: maybe(g.choices, monitoringv1.PrometheusText0_0_4),
		histograms: monitoringv1.NativeHistogramConfig{
			ScrapeNativeHistograms: maybe(g.choices, true, false), ScrapeClassicHistograms: maybe(g.choices, true, false),
			ConvertClassicHistogramsToNHCB: maybe(g.choices, true, false), NativeHistogramBucketLimit: limit(),
			NativeHistogramMinBucketFactor: pick(g.choices, nil, nil, new(resource.MustParse("1.1")), new(resource.MustParse("1500m"))),
		},
	}
	if g.one(120) {
		l.body = new(pick[monitoringv1.ByteSize](g.choices, "-1MB", "many", "16", "1.5GB"))
	}
	if g.one(120) {
		l.protocols = pick(g.choices, []monitoringv1.ScrapeProtocol{"Text"}, []monitoringv1.ScrapeProtocol{""},
			[]monitoringv1.ScrapeProtocol{"PrometheusProto", "PrometheusProto"})
	}
	if g.one(120) {
		l.fallback = new(pick[monitoringv1.ScrapeProtocol](g.choices, "Text", ""))
	}
	return l
}
