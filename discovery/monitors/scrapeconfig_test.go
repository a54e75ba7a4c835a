package monitors_test

import (
	"net/url"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/relabel"
	"github.com/stretchr/testify/require"

	"github.com/promlet/promlet/discovery"
	"github.com/promlet/promlet/discovery/internal/runtest"
	"github.com/promlet/promlet/discovery/internal/samples"
	"github.com/promlet/promlet/discovery/internal/storetest"
	"github.com/promlet/promlet/discovery/monitors"
)

// jobConfig resolves a monitor with one endpoint.
func jobConfig(t *testing.T, text string, opts discovery.Options) *config.ScrapeConfig {
	t.Helper()
	d := discovery.New(storetest.Load(t, text), opts)
	configs, _ := runtest.Resolve(t, d)
	for _, m := range d.Monitors() {
		require.NoError(t, m.Err)
	}
	require.Len(t, configs, 1)
	for _, c := range configs {
		return c
	}
	return nil
}

func TestScrapeConfigDefaults(t *testing.T) {
	for _, text := range []string{
		samples.ServiceMonitor(`{selector: {matchLabels: {app: web}}, endpoints: [{port: http}]}`),
		samples.PodMonitor(`{selector: {}, podMetricsEndpoints: [{port: http}]}`),
	} {
		c := jobConfig(t, text, discovery.Options{})
		// What Prometheus makes of a job that says as little.
		want, err := config.Load("global: {scrape_interval: 30s}\nscrape_configs: [{job_name: "+c.JobName+"}]", nil)
		require.NoError(t, err)
		require.Equal(t, want.ScrapeConfigs[0], c)
		require.Equal(t, model.Duration(discovery.DefaultScrapeInterval), c.ScrapeInterval)
		require.Equal(t, model.Duration(discovery.DefaultScrapeTimeout), c.ScrapeTimeout)
	}
}

func TestScrapeConfigFields(t *testing.T) {
	for field, check := range map[string]func(t *testing.T, c *config.ScrapeConfig){
		`path: /stats`:                   func(t *testing.T, c *config.ScrapeConfig) { require.Equal(t, "/stats", c.MetricsPath) },
		`path: ""`:                       func(t *testing.T, c *config.ScrapeConfig) { require.Equal(t, "/metrics", c.MetricsPath) },
		`scheme: HTTPS`:                  func(t *testing.T, c *config.ScrapeConfig) { require.Equal(t, "https", c.Scheme) },
		`scheme: https`:                  func(t *testing.T, c *config.ScrapeConfig) { require.Equal(t, "https", c.Scheme) },
		`honorLabels: true`:              func(t *testing.T, c *config.ScrapeConfig) { require.True(t, c.HonorLabels) },
		`honorTimestamps: false`:         func(t *testing.T, c *config.ScrapeConfig) { require.False(t, c.HonorTimestamps) },
		`honorTimestamps: true`:          func(t *testing.T, c *config.ScrapeConfig) { require.True(t, c.HonorTimestamps) },
		`trackTimestampsStaleness: true`: func(t *testing.T, c *config.ScrapeConfig) { require.True(t, c.TrackTimestampsStaleness) },
		`followRedirects: false`:         func(t *testing.T, c *config.ScrapeConfig) { require.False(t, c.HTTPClientConfig.FollowRedirects) },
		`enableHttp2: false`:             func(t *testing.T, c *config.ScrapeConfig) { require.False(t, c.HTTPClientConfig.EnableHTTP2) },
		`bearerTokenSecret: {key: ""}`:   func(t *testing.T, c *config.ScrapeConfig) { require.Nil(t, c.HTTPClientConfig.Authorization) },
		`tlsConfig: {ca: {}, cert: {}}`:  func(t *testing.T, c *config.ScrapeConfig) { require.Zero(t, c.HTTPClientConfig.TLSConfig) },
		`tlsConfig: {serverName: me}`: func(t *testing.T, c *config.ScrapeConfig) {
			require.Equal(t, "me", c.HTTPClientConfig.TLSConfig.ServerName)
		},
		`proxyUrl: "http://proxy:3128"`: func(t *testing.T, c *config.ScrapeConfig) {
			require.Equal(t, "http://proxy:3128", c.HTTPClientConfig.ProxyURL.String())
		},
		`proxyFromEnvironment: true`: func(t *testing.T, c *config.ScrapeConfig) { require.True(t, c.HTTPClientConfig.ProxyFromEnvironment) },
		`params: {match: [a, b], x: [""]}`: func(t *testing.T, c *config.ScrapeConfig) {
			require.Equal(t, url.Values{"match": {"a", "b"}, "x": {""}}, c.Params)
		},
		`tlsConfig: {insecureSkipVerify: true, minVersion: TLS12, maxVersion: TLS13}`: func(t *testing.T, c *config.ScrapeConfig) {
			require.True(t, c.HTTPClientConfig.TLSConfig.InsecureSkipVerify)
			require.EqualValues(t, 0x303, c.HTTPClientConfig.TLSConfig.MinVersion)
			require.EqualValues(t, 0x304, c.HTTPClientConfig.TLSConfig.MaxVersion)
		},
		`{proxyUrl: "http://proxy:3128", noProxy: 10.0.0.0/8}`: func(t *testing.T, c *config.ScrapeConfig) {
			require.Equal(t, "10.0.0.0/8", c.HTTPClientConfig.NoProxy)
		},
		`{interval: 1m30s, scrapeTimeout: 20s}`: func(t *testing.T, c *config.ScrapeConfig) {
			require.Equal(t, model.Duration(90*time.Second), c.ScrapeInterval)
			require.Equal(t, model.Duration(20*time.Second), c.ScrapeTimeout)
		},
		`interval: 1ms`: func(t *testing.T, c *config.ScrapeConfig) {
			require.Equal(t, model.Duration(time.Second), c.ScrapeInterval)
			require.Equal(t, model.Duration(time.Second), c.ScrapeTimeout)
		},
		`{interval: 100ms, scrapeTimeout: 700ms}`: func(t *testing.T, c *config.ScrapeConfig) {
			require.Equal(t, model.Duration(700*time.Millisecond), c.ScrapeTimeout, "held against the raised interval")
		},
		`interval: 5s`: func(t *testing.T, c *config.ScrapeConfig) {
			require.Equal(t, model.Duration(5*time.Second), c.ScrapeTimeout, "the default timeout is never above the interval")
		},
		`{interval: "0", scrapeTimeout: 0s}`: func(t *testing.T, c *config.ScrapeConfig) {
			require.Equal(t, model.Duration(30*time.Second), c.ScrapeInterval, "0 is the default")
			require.Equal(t, model.Duration(10*time.Second), c.ScrapeTimeout)
		},
		`metricRelabelings: [{sourceLabels: [__name__], regex: "go_.*", action: Drop}]`: func(t *testing.T, c *config.ScrapeConfig) {
			require.Empty(t, c.RelabelConfigs)
			require.Len(t, c.MetricRelabelConfigs, 1)
			require.Equal(t, relabel.Drop, c.MetricRelabelConfigs[0].Action)
			require.Equal(t, "go_.*", c.MetricRelabelConfigs[0].Regex.String())
		},
		`relabelings: [{sourceLabels: [pod], targetLabel: who}, {action: labeldrop, regex: x}]`: func(t *testing.T, c *config.ScrapeConfig) {
			require.Empty(t, c.MetricRelabelConfigs)
			require.Len(t, c.RelabelConfigs, 2)
			require.Equal(t, &relabel.Config{
				SourceLabels: model.LabelNames{"pod"}, Separator: ";", Regex: relabel.DefaultRelabelConfig.Regex, TargetLabel: "who",
				Replacement: "$1", Action: relabel.Replace, NameValidationScheme: model.UTF8Validation,
			}, c.RelabelConfigs[0])
		},
	} {
		t.Run(field, func(t *testing.T) {
			if field[0] != '{' {
				field = "{" + field + "}"
			}
			check(t, jobConfig(t, samples.ServiceMonitor(`{selector: {matchLabels: {app: web}}, endpoints: [`+field+`]}`), discovery.Options{}))
			check(t, jobConfig(t, samples.PodMonitor(`{selector: {}, podMetricsEndpoints: [`+field+`]}`), discovery.Options{}))
		})
	}
}

func TestScrapeConfigLimits(t *testing.T) {
	const fields = `sampleLimit: 1, targetLimit: 2, labelLimit: 3, labelNameLengthLimit: 4, labelValueLengthLimit: 5, keepDroppedTargets: 6,
		bodySizeLimit: 16MB, scrapeProtocols: [OpenMetricsText1.0.0, PrometheusText0.0.4], fallbackScrapeProtocol: PrometheusText0.0.4,
		scrapeNativeHistograms: true, scrapeClassicHistograms: true, convertClassicHistogramsToNHCB: true, extraScrapeMetrics: true,
		nativeHistogramBucketLimit: 7, nativeHistogramMinBucketFactor: "1.5"`
	for _, text := range []string{
		samples.ServiceMonitor(`{selector: {}, endpoints: [{}], ` + fields + `}`),
		samples.PodMonitor(`{selector: {}, podMetricsEndpoints: [{}], ` + fields + `}`),
	} {
		c := jobConfig(t, text, discovery.Options{})
		require.EqualValues(t, 1, c.SampleLimit)
		require.EqualValues(t, 2, c.TargetLimit)
		require.EqualValues(t, 3, c.LabelLimit)
		require.EqualValues(t, 4, c.LabelNameLengthLimit)
		require.EqualValues(t, 5, c.LabelValueLengthLimit)
		require.EqualValues(t, 6, c.KeepDroppedTargets)
		require.EqualValues(t, 16<<20, c.BodySizeLimit)
		require.Equal(t, []config.ScrapeProtocol{config.OpenMetricsText1_0_0, config.PrometheusText0_0_4}, c.ScrapeProtocols)
		require.Equal(t, config.PrometheusText0_0_4, c.ScrapeFallbackProtocol)
		require.True(t, *c.ScrapeNativeHistograms)
		require.True(t, *c.AlwaysScrapeClassicHistograms)
		require.True(t, *c.ConvertClassicHistogramsToNHCB)
		require.True(t, *c.ExtraScrapeMetrics)
		require.EqualValues(t, 7, c.NativeHistogramBucketLimit)
		require.InDelta(t, 1.5, c.NativeHistogramMinBucketFactor, 1e-9)
	}
}

func TestScrapeConfigOptions(t *testing.T) {
	text := samples.ServiceMonitor(`{selector: {}, endpoints: [{}]}`)
	c := jobConfig(t, text, discovery.Options{ScrapeInterval: time.Minute, ScrapeTimeout: 20 * time.Second})
	require.Equal(t, model.Duration(time.Minute), c.ScrapeInterval)
	require.Equal(t, model.Duration(20*time.Second), c.ScrapeTimeout)

	c = jobConfig(t, text, discovery.Options{ScrapeInterval: 5 * time.Second})
	require.Equal(t, model.Duration(5*time.Second), c.ScrapeTimeout)

	c = jobConfig(t, text, discovery.Options{ScrapeInterval: 5 * time.Second, ScrapeTimeout: time.Minute})
	require.Equal(t, model.Duration(5*time.Second), c.ScrapeTimeout)

	// A timeout is held against the default interval.
	text = samples.ServiceMonitor(`{selector: {}, endpoints: [{scrapeTimeout: 20s}]}`)
	require.Equal(t, model.Duration(20*time.Second), jobConfig(t, text, discovery.Options{}).ScrapeTimeout)
	d := discovery.New(storetest.Load(t, text), discovery.Options{ScrapeInterval: 5 * time.Second})
	runtest.Resolve(t, d)
	require.Equal(t, "spec.endpoints[0].scrapeTimeout: 20s is above the interval of 5s", runtest.Rejected(d.Monitors(), "m"))
}

// TestRejected has monitors that are wrong in one field each.
func TestRejected(t *testing.T) {
	const good = "other"
	for spec, want := range map[string]string{
		`selector: {matchExpressions: [{key: a, operator: Like, values: [b]}]}, endpoints: [{}]`:                           `spec.selector: "Like" is not a valid label selector operator`,
		`selector: {matchExpressions: [{key: a, operator: In}]}, endpoints: [{}]`:                                          `spec.selector: values: Invalid value`,
		`selector: {matchLabels: {"a b": c}}, endpoints: [{}]`:                                                             `spec.selector: `,
		`selector: {matchLabels: {a: "b|c"}}, endpoints: [{}]`:                                                             `spec.selector: `,
		`selector: {}, selectorMechanism: Magic, endpoints: [{}]`:                                                          `spec.selectorMechanism: "Magic" is neither RelabelConfig nor RoleSelector`,
		`selector: {}, endpoints: [{interval: 5ms, scrapeTimeout: 1001ms}]`:                                                `spec.endpoints[0].scrapeTimeout: 1s1ms is above the interval of 1s`,
		`selector: {}, sampleLimit: -1, endpoints: [{}]`:                                                                   `spec.sampleLimit: -1 is out of range`,
		`selector: {}, bodySizeLimit: much, endpoints: [{}]`:                                                               `spec.bodySizeLimit: "much" is not a size such as 16MB`,
		`selector: {}, bodySizeLimit: "-1B", endpoints: [{}]`:                                                              `spec.bodySizeLimit: "-1B" is not a size such as 16MB`,
		`selector: {}, scrapeProtocols: [PrometheusText0.0.4, Smoke], endpoints: [{}]`:                                     `spec.scrapeProtocols[1]: unknown scrape protocol Smoke`,
		`selector: {}, scrapeProtocols: [PrometheusText0.0.4, PrometheusText0.0.4], endpoints: [{}]`:                       `spec.scrapeProtocols[1]: PrometheusText0.0.4 is given twice`,
		`selector: {}, fallbackScrapeProtocol: Smoke, endpoints: [{}]`:                                                     `spec.fallbackScrapeProtocol: unknown scrape protocol Smoke`,
		`selector: {}, podTargetLabels: [a, ""], endpoints: [{}]`:                                                          `spec.podTargetLabels[1]: empty`,
		`selector: {}, endpoints: [{}, {interval: often}]`:                                                                 `spec.endpoints[1].interval: not a valid duration string: "often"`,
		`selector: {}, endpoints: [{scrapeTimeout: -1s}]`:                                                                  `spec.endpoints[0].scrapeTimeout: not a valid duration string: "-1s"`,
		`selector: {}, endpoints: [{interval: 10s, scrapeTimeout: 11s}]`:                                                   `spec.endpoints[0].scrapeTimeout: 11s is above the interval of 10s`,
		`selector: {}, endpoints: [{interval: 0s, scrapeTimeout: 1s}]`:                                                     `spec.endpoints[0].scrapeTimeout: 1s is above the interval of 0s`,
		`selector: {}, endpoints: [{scrapeTimeout: 31s}]`:                                                                  `spec.endpoints[0].scrapeTimeout: 31s is above the interval of 30s`,
		`selector: {}, endpoints: [{scheme: ftp}]`:                                                                         `spec.endpoints[0].scheme: "ftp" is neither http nor https`,
		`selector: {}, endpoints: [{port: "("}]`:                                                                           `spec.endpoints[0].port: parse regular expression "("`,
		`selector: {}, endpoints: [{targetPort: "["}]`:                                                                     `spec.endpoints[0].targetPort: parse regular expression "["`,
		`selector: {}, endpoints: [{proxyUrl: "http://[::1"}]`:                                                             `spec.endpoints[0]: parse "http://[::1"`,
		`selector: {}, endpoints: [{noProxy: x}]`:                                                                          `spec.endpoints[0]: if noProxy is configured, proxyUrl must also be configured`,
		`selector: {}, endpoints: [{tlsConfig: {minVersion: SSL3}}]`:                                                       `spec.endpoints[0].tlsConfig.minVersion: "SSL3" is not a TLS version`,
		`selector: {}, endpoints: [{tlsConfig: {maxVersion: SSL3}}]`:                                                       `spec.endpoints[0].tlsConfig.maxVersion: "SSL3" is not a TLS version`,
		`selector: {}, endpoints: [{tlsConfig: {minVersion: TLS13, maxVersion: TLS12}}]`:                                   `spec.endpoints[0]: tlsConfig: maxVersion must more than or equal to minVersion`,
		`selector: {}, endpoints: [{relabelings: [{action: replace, targetLabel: a}, {action: explode}]}]`:                 `spec.endpoints[0].relabelings[1]: action: "explode" is not known`,
		`selector: {}, endpoints: [{relabelings: [{regex: "(", targetLabel: a}]}]`:                                         `spec.endpoints[0].relabelings[0]: regex: error parsing regexp`,
		`selector: {}, endpoints: [{relabelings: [{sourceLabels: [a]}]}]`:                                                  `spec.endpoints[0].relabelings[0]: relabel configuration for replace action requires 'target_label' value`,
		`selector: {}, endpoints: [{relabelings: [{sourceLabels: [""], targetLabel: a}]}]`:                                 `spec.endpoints[0].relabelings[0]: sourceLabels[0]: "" is not a label name`,
		`selector: {}, endpoints: [{metricRelabelings: [{action: hashmod, targetLabel: a}]}]`:                              `spec.endpoints[0].metricRelabelings[0]: relabel configuration for hashmod requires non-zero modulus`,
		`selector: {}, endpoints: [{metricRelabelings: [{action: hashmod, targetLabel: a, modulus: -1}]}]`:                 `spec.endpoints[0].metricRelabelings[0]: modulus: -1 is negative`,
		`selector: {}, endpoints: [{metricRelabelings: [{action: labeldrop, regex: a, sourceLabels: [b]}]}]`:               `spec.endpoints[0].metricRelabelings[0]: labeldrop action requires only 'regex', and no other fields`,
		`selector: {}, endpoints: [{metricRelabelings: [{action: keepequal, targetLabel: a, regex: b}]}]`:                  `spec.endpoints[0].metricRelabelings[0]: keepequal action requires only`,
		`selector: {}, endpoints: [{basicAuth: {}, authorization: {credentials: {name: s, key: k}}}]`:                      `spec.endpoints[0]: authorization and basicAuth cannot be configured at the same time`,
		`selector: {}, endpoints: [{basicAuth: {}, oauth2: {clientId: {}, clientSecret: {key: a}, tokenUrl: "http://x"}}]`: `spec.endpoints[0]: basicAuth and oauth2 cannot be configured at the same time`,
	} {
		t.Run(want, func(t *testing.T) {
			objects := []string{
				samples.Web, samples.ServiceMonitor("{" + spec + "}"),
				`{apiVersion: monitoring.coreos.com/v1, kind: ServiceMonitor, metadata: {name: ` + good + `}, spec: {selector: {}, endpoints: [{port: metrics}]}}`,
			}
			d := discovery.New(storetest.Load(t, objects...), discovery.Options{})
			configs, groups := runtest.Resolve(t, d)
			require.Contains(t, runtest.Rejected(d.Monitors(), "m"), want)
			require.Len(t, configs, 1, "rejected whole, and the others go on")
			require.Len(t, groups["serviceMonitor/default/other/0"][0].Targets, 2)
		})
	}
}

func TestRejectedPodMonitor(t *testing.T) {
	for spec, want := range map[string]string{
		`selector: {matchExpressions: [{key: a, operator: Like}]}, podMetricsEndpoints: [{}]`:          `spec.selector: "Like" is not a valid label selector operator`,
		`selector: {}, targetLimit: -3, podMetricsEndpoints: [{}]`:                                     `spec.targetLimit: -3 is out of range`,
		`selector: {}, podTargetLabels: [""], podMetricsEndpoints: [{}]`:                               `spec.podTargetLabels[0]: empty`,
		`selector: {}, podMetricsEndpoints: [{port: "*"}]`:                                             `spec.podMetricsEndpoints[0].port: parse regular expression "*"`,
		`selector: {}, podMetricsEndpoints: [{}, {interval: 1s, scrapeTimeout: 2s}]`:                   `spec.podMetricsEndpoints[1].scrapeTimeout: 2s is above the interval of 1s`,
		`selector: {}, podMetricsEndpoints: [{relabelings: [{action: lowercase, sourceLabels: [a]}]}]`: `spec.podMetricsEndpoints[0].relabelings[0]: relabel configuration for lowercase action requires 'target_label' value`,
		`selector: {}, podMetricsEndpoints: [{tlsConfig: {keySecret: {name: s, key: k}}}]`:             `spec.podMetricsEndpoints[0]: tlsConfig: client key specified without client cert`,
		`selector: {}, podMetricsEndpoints: [{proxyConnectHeader: {a: [{name: s, key: k}]}}]`:          `spec.podMetricsEndpoints[0]: if proxyConnectHeader is configured, proxyUrl or proxyFromEnvironment must also be configured`,
	} {
		t.Run(want, func(t *testing.T) {
			d := discovery.New(storetest.Load(t, samples.Apps, samples.PodMonitor("{"+spec+"}")), discovery.Options{})
			configs, groups := runtest.Resolve(t, d)
			require.Contains(t, runtest.Rejected(d.Monitors(), "m"), want)
			require.Empty(t, configs)
			require.Empty(t, groups)
		})
	}
}

func TestServiceDiscoveryRoleIsChecked(t *testing.T) {
	d := discovery.New(storetest.Load(t, samples.ServiceMonitor(`{selector: {}, serviceDiscoveryRole: Pod, endpoints: [{}]}`)), discovery.Options{})
	runtest.Resolve(t, d)
	require.Equal(t, `spec.serviceDiscoveryRole: "Pod" is neither Endpoints nor EndpointSlice`, runtest.Rejected(d.Monitors(), "m"))
}

// TestUnsupported has the fields that promlet cannot do yet: the monitor is
// rejected whole, never scraped without what the field asks for.
func TestScrapeClassIsNotSupported(t *testing.T) {
	for _, text := range []string{
		samples.ServiceMonitor(`{selector: {}, scrapeClass: c, endpoints: [{}]}`),
		samples.PodMonitor(`{selector: {}, scrapeClass: c, podMetricsEndpoints: [{}]}`),
	} {
		d := discovery.New(storetest.Load(t, samples.Web, text), discovery.Options{})
		configs, groups := runtest.Resolve(t, d)
		require.Empty(t, configs)
		require.Empty(t, groups)
		status := d.Monitors()[0]
		require.ErrorIs(t, status.Err, monitors.ErrNotSupported)
		require.ErrorContains(t, status.Err, "spec.scrapeClass")
		require.Equal(t, []string{"spec.scrapeClass"}, status.Unsupported)
		require.Empty(t, status.Jobs)
		require.Zero(t, status.Targets)
	}
}

func TestWrongBeatsUnsupported(t *testing.T) {
	// A monitor that is wrong stays wrong when the field is supported one day.
	d := discovery.New(storetest.Load(t, samples.ServiceMonitor(`{selector: {}, scrapeClass: c, endpoints: [{interval: x}]}`)), discovery.Options{})
	runtest.Resolve(t, d)
	status := d.Monitors()[0]
	require.ErrorContains(t, status.Err, "spec.endpoints[0].interval")
	require.NotErrorIs(t, status.Err, monitors.ErrNotSupported)
	require.Equal(t, []string{"spec.scrapeClass"}, status.Unsupported)
}

func TestRelabelActions(t *testing.T) {
	for _, action := range []string{
		"replace", "Keep", "DROP", "KeepEqual", "dropequal", "HashMod", "labelmap", "LabelDrop", "labelkeep", "Lowercase", "uppercase",
	} {
		rule := `{action: ` + action
		switch action {
		case "HashMod":
			rule += `, modulus: 2, targetLabel: a`
		case "LabelDrop", "labelkeep":
			rule += `, regex: a`
		default:
			rule += `, sourceLabels: [b], targetLabel: a`
		}
		c := jobConfig(t, samples.ServiceMonitor(`{selector: {matchLabels: {app: web}}, endpoints: [{metricRelabelings: [`+rule+`}]}]}`), discovery.Options{})
		require.NoError(t, c.MetricRelabelConfigs[0].Validate(model.UTF8Validation))
	}
	// The default expression written out is the default expression.
	c := jobConfig(t, samples.ServiceMonitor(`{selector: {matchLabels: {app: web}}, endpoints: [{metricRelabelings: [{action: keepequal, regex: "(.*)", sourceLabels: [b], targetLabel: a}]}]}`), discovery.Options{})
	require.Equal(t, relabel.KeepEqual, c.MetricRelabelConfigs[0].Action)
	// An empty replacement and separator are not the same as none.
	c = jobConfig(t, samples.ServiceMonitor(`{selector: {matchLabels: {app: web}}, endpoints: [{relabelings: [{targetLabel: a, replacement: "", separator: ""}]}]}`), discovery.Options{})
	require.Empty(t, c.RelabelConfigs[0].Replacement)
	require.Empty(t, c.RelabelConfigs[0].Separator)
}
