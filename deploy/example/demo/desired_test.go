package main

import (
	"testing"

	"github.com/stretchr/testify/require"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/api/resource"
)

func TestDesired(t *testing.T) {
	two := int32(2)
	spec := autoscalingv2.HorizontalPodAutoscalerSpec{MinReplicas: &two, MaxReplicas: 10}
	f := func(value string, kind autoscalingv2.MetricTargetType, target string, ready, want int) {
		t.Helper()
		q := resource.MustParse(target)
		m := autoscalingv2.MetricTarget{Type: kind, Value: &q}
		if kind == autoscalingv2.AverageValueMetricType {
			m.Value, m.AverageValue = nil, &q
		}
		v := resource.MustParse(value)
		require.Equal(t, want, desired(spec, m, v.MilliValue(), ready))
	}
	const value, average = autoscalingv2.ValueMetricType, autoscalingv2.AverageValueMetricType
	f("150", value, "100", 2, 3)
	f("150001m", value, "100", 2, 4)
	f("110", value, "100", 2, 2) // within the tolerance of 10 %
	f("111", value, "100", 2, 3)
	f("90", value, "100", 5, 5)
	f("89", value, "100", 5, 5) // 4.45, rounded up
	f("79", value, "100", 5, 4)
	f("0", value, "100", 5, 2)        // the least
	f("100k", value, "100", 5, 10)    // the most
	f("300m", value, "100m", 1, 3)    // exactly three, though 0.3/0.1 is not
	f("1500m", value, "1", 4, 6)      //
	f("150", average, "50", 2, 3)     // shared by three pods each has its target
	f("151", average, "50", 2, 4)     //
	f("105", average, "50", 2, 2)     // 52.5 each: within the tolerance
	f("10", average, "50", 4, 2)      //
	f("7", "Utilization", "50", 4, 4) // not a custom metric's

	spec.MinReplicas = nil
	f("0", value, "100", 5, 1)
}
