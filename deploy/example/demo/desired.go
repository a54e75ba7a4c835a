package main

import (
	"math"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
)

// tolerance is the share by which a value may miss its target before the controller acts: its
// --horizontal-pod-autoscaler-tolerance.
const tolerance = 0.1

// desired is how many replicas the HorizontalPodAutoscaler controller would ask for by one metric of `milli`
// thousandths, with `ready` pods there and ready. It reckons as the controller's replica calculator
// does. How fast it may get there (spec.behavior) is left out.
func desired(spec autoscalingv2.HorizontalPodAutoscalerSpec, target autoscalingv2.MetricTarget, milli int64, ready int) int {
	var ratio, replicas float64
	switch {
	case target.Value != nil && target.Type == autoscalingv2.ValueMetricType:
		ratio = float64(milli) / float64(target.Value.MilliValue())
		replicas = math.Ceil(ratio * float64(ready))
	case target.AverageValue != nil && target.Type == autoscalingv2.AverageValueMetricType:
		ratio = float64(milli) / (float64(target.AverageValue.MilliValue()) * float64(ready))
		replicas = math.Ceil(float64(milli) / float64(target.AverageValue.MilliValue()))
	default:
		return ready
	}
	if 1-tolerance <= ratio && ratio <= 1+tolerance {
		replicas = float64(ready)
	}
	least := 1.0
	if spec.MinReplicas != nil {
		least = float64(*spec.MinReplicas)
	}
	return int(math.Min(math.Max(replicas, least), float64(spec.MaxReplicas)))
}
