package process

import (
	"log/slog"
	"strings"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery"
	"github.com/stretchr/testify/require"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"sigs.k8s.io/yaml"
)

// The manifests are what a cluster would have: strictly decoded, one pod and one slice
// for each address.
func TestManifests(t *testing.T) {
	text, err := manifests(nil)
	require.NoError(t, err)
	require.Empty(t, text)

	addresses := []string{"127.0.0.1:1001", "127.0.0.1:1002"}
	text, err = manifests(addresses)
	require.NoError(t, err)
	documents := strings.Split(text, "---\n")
	require.Len(t, documents, 3+2*len(addresses))
	kinds := []any{&corev1.Service{}, &monitoringv1.ServiceMonitor{}, &autoscalingv2.HorizontalPodAutoscaler{}}
	for range addresses {
		kinds = append(kinds, &corev1.Pod{}, &discoveryv1.EndpointSlice{})
	}
	for i, document := range documents {
		require.NoError(t, yaml.UnmarshalStrict([]byte(document), kinds[i]), document)
	}
	require.Equal(t, readMetric, kinds[2].(*autoscalingv2.HorizontalPodAutoscaler).Spec.Metrics[0].Object.Metric.Name)
	require.Equal(t, int32(1002), *kinds[6].(*discoveryv1.EndpointSlice).Ports[0].Port)
	_, err = manifests([]string{"nowhere"})
	require.ErrorContains(t, err, "nowhere")
}

func TestPrometheusConfig(t *testing.T) {
	f := func(addresses ...string) *config.Config {
		text, err := prometheusConfig(addresses)
		require.NoError(t, err)
		c, err := config.Load(text, slog.New(slog.DiscardHandler))
		require.NoError(t, err)
		return c
	}
	require.Empty(t, f().ScrapeConfigs)
	jobs := f("127.0.0.1:1001", "127.0.0.1:1002").ScrapeConfigs
	require.Len(t, jobs, 1)
	require.Equal(t, scrapeInterval.String(), jobs[0].ScrapeInterval.String())
	groups := jobs[0].ServiceDiscoveryConfigs[0].(discovery.StaticConfig)
	require.Len(t, groups, 2)
	require.Equal(t, podName(1), string(groups[1].Labels["pod"]))
	require.Equal(t, "127.0.0.1:1002", string(groups[1].Targets[0]["__address__"]))
}
