package adapter

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	autoscalingv2 "k8s.io/api/autoscaling/v2"

	"github.com/promlet/promlet/adapter/demand"
	"github.com/promlet/promlet/adapter/rules"
)

func externalMetric(name string) autoscalingv2.MetricSpec {
	return autoscalingv2.MetricSpec{External: &autoscalingv2.ExternalMetricSource{Metric: autoscalingv2.MetricIdentifier{Name: name}}}
}

// What HPAs and clients read of the external API is wanted like what they read of the
// other, through the external rules, and no other.
func TestExternalMetricsAreWanted(t *testing.T) {
	names := []string{"lag", "queue_depth"}
	file := filepath.Join(t.TempDir(), "demand.json")
	lag := aRule("lag", func(r *rules.Rule) { r.Name.As = "queue_depth" })
	configure := func(o *Options) {
		o.Rules.External = []rules.Rule{lag}
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
	ctx, cancel := context.WithCancel(t.Context())
	require.NoError(t, f.Demand.Run(ctx, func(context.Context, *demand.Demand) error { cancel(); return nil })) // saves it
	f.again(exposing(names...), configure)
	require.Equal(t, []string{"lag"}, f.wanted(names...), "over a restart")
}
