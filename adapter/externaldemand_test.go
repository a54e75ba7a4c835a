package adapter

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
)

func externalMetric(name string) autoscalingv2.MetricSpec {
	return autoscalingv2.MetricSpec{External: &autoscalingv2.ExternalMetricSource{Metric: autoscalingv2.MetricIdentifier{Name: name}}}
}

// What HPAs and clients read of the external API is wanted like what they read of the
// other, through the external rules, and no other.
func TestExternalMetricsAreWanted(t *testing.T) {
	names := []string{"lag", "queue_depth"}
	file := filepath.Join(t.TempDir(), "demand.json")
	lag := aRule("lag", func(r *Rule) { r.Name.As = "queue_depth" })
	configure := func(o *Options) {
		o.Rules.External = []Rule{lag}
		o.Demand.File = file
		o.Demand.FirstValue = 5 * time.Second
	}
	f := newFixture(t)
	f.again(exposing(names...), configure)
	require.Empty(t, f.wanted(names...))
	hpa := f.hpa("app", externalMetric("queue_depth"))
	require.Equal(t, []string{"lag"}, f.wanted(names...))
	require.NoError(t, f.objects[autoscalingv2.Resource("horizontalpodautoscalers")].Delete(hpa))
	require.Empty(t, f.wanted(names...))

	require.Contains(t, f.askExternal("default/queue_depth"), "404: the server could not find the metric queue_depth for namespace default: collection of lag has started, first value in about 5s")
	require.Equal(t, []string{"lag"}, f.wanted(names...))
	wanted, err := f.CurrentDemand(t.Context())
	require.NoError(t, err)
	f.demand.save(wanted, true)
	f.again(exposing(names...), configure)
	require.Equal(t, []string{"lag"}, f.wanted(names...), "over a restart")
}
