package replicas

import (
	"testing"

	"github.com/stretchr/testify/require"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/api/resource"
)

func TestForTotal(t *testing.T) {
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
		require.Equal(t, want, ForTotal(&spec, m, v.MilliValue(), ready, ready))
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

// The cases are those of replica_calculator.go of Kubernetes 1.36, in which not all replicas are ready.
func TestForTotalWithSomeUnready(t *testing.T) {
	spec := &autoscalingv2.HorizontalPodAutoscalerSpec{MaxReplicas: 20}
	hundred := resource.MustParse("100")
	f := func(of autoscalingv2.MetricTarget, total int64, current, ready, want int) {
		t.Helper()
		require.Equal(t, want, ForTotal(spec, of, 1000*total, current, ready))
	}
	value := autoscalingv2.MetricTarget{Type: autoscalingv2.ValueMetricType, Value: &hundred}
	f(value, 100, 10, 5, 10) // on target: as many as there are
	f(value, 200, 10, 5, 10) // twice those that are ready
	f(value, 300, 0, 0, 3)   // at zero: how many times the target is reached
	f(value, 5, 0, 0, 1)
	f(value, 0, 0, 0, 1)
	average := autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: &hundred}
	f(average, 410, 4, 2, 4) // divided by all replicas: within the tolerance
	f(average, 600, 4, 0, 6)
	f(average, 300, 0, 0, 3)
	f(average, 0, 0, 0, 1)
	zero := int32(0)
	spec.MinReplicas = &zero
	f(value, 0, 0, 0, 0)
	f(value, 1, 0, 0, 1)
	f(average, 0, 0, 0, 0)
}

func TestForPods(t *testing.T) {
	spec := &autoscalingv2.HorizontalPodAutoscalerSpec{MaxReplicas: 10}
	f := func(milli int64, current int, pods Pods, want int) {
		t.Helper()
		target := autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: resource.NewQuantity(50, resource.DecimalSI)}
		require.Equal(t, want, ForPods(spec, target, milli, current, pods))
	}
	f(150_000, 2, Pods{With: 2}, 3)
	f(105_000, 2, Pods{With: 2}, 2)             // within the tolerance
	f(40_000, 4, Pods{With: 4}, 1)              //
	f(150_000, 3, Pods{With: 2, Missing: 1}, 3) // 75 each, but 50 when the third counts as idle
	f(300_000, 3, Pods{With: 2, Missing: 1}, 6) //
	f(40_000, 4, Pods{With: 2, Missing: 2}, 3)  // 20 each; with the others on their target 140 of 200
	f(100_000, 3, Pods{With: 2, Missing: 1}, 3) // just on target: nothing is added
	f(30_000, 4, Pods{With: 3, Pending: 1}, 1)  // a pending one does not keep the others from going
	f(120_000, 2, Pods{With: 1, Pending: 1}, 3) // and is idle where there would be more
	f(60_000, 2, Pods{With: 1, Pending: 1}, 2)  // so that there are not more
	f(120_000, 9, Pods{With: 1, Missing: 1}, 9) // more is asked for, so not fewer than there are
	f(0, 3, Pods{Missing: 3}, 3)                // nothing is known
	f(1_000_000_000, 1, Pods{With: 1}, 10)

	strict := resource.MustParse("0.01")
	spec.Behavior = &autoscalingv2.HorizontalPodAutoscalerBehavior{ScaleUp: &autoscalingv2.HPAScalingRules{Tolerance: &strict}}
	f(105_000, 2, Pods{With: 2}, 3)
	f(95_000, 2, Pods{With: 2}, 2) // down it is as it was
	require.Equal(t, 7, ForPods(spec, autoscalingv2.MetricTarget{}, 1, 7, Pods{With: 7}))
}
