// Package replicas reckons how many replicas the HorizontalPodAutoscaler controller would ask for, as the
// controller's own replica calculator does. How fast it may get there (spec.behavior's policies and stabilization
// windows) is left out.
package replicas

import (
	"math"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
)

// tolerance is the share by which a value may miss its target before the controller acts: its
// --horizontal-pod-autoscaler-tolerance.
const tolerance = 0.1

// ForTotal is how many replicas are asked for by an Object or External metric of milli thousandths, with ready
// pods there and ready; ready where the target is none of theirs.
func ForTotal(spec *autoscalingv2.HorizontalPodAutoscalerSpec, target autoscalingv2.MetricTarget, milli int64, ready int) int {
	var ratio, replicas float64
	switch {
	case target.Value != nil && target.Type == autoscalingv2.ValueMetricType:
		ratio = float64(milli) / float64(target.Value.MilliValue())
		replicas = math.Ceil(ratio * float64(ready))
	case target.AverageValue != nil && target.Type == autoscalingv2.AverageValueMetricType:
		ratio = float64(milli) / (float64(target.AverageValue.MilliValue()) * float64(ready))
		replicas = math.Ceil(float64(milli) / float64(target.AverageValue.MilliValue()))
	default:
		return Clamp(spec, ready)
	}
	if tolerated(spec, ratio) {
		return Clamp(spec, ready)
	}
	return clamp(spec, replicas)
}

// ForPods is how many are asked for by a Pods metric of which the pods that have a value have milli thousandths
// together, and missing pods have none. A pod without a value counts as one on its target where
// there would be fewer replicas, and as an idle one where there would be more.
func ForPods(spec *autoscalingv2.HorizontalPodAutoscalerSpec, target autoscalingv2.MetricTarget, milli int64, with, missing int) int {
	all := with + missing
	if target.AverageValue == nil || with == 0 {
		return Clamp(spec, all)
	}
	each := float64(target.AverageValue.MilliValue())
	ratio := float64(milli) / each / float64(with)
	if missing > 0 {
		before := ratio
		counted := float64(milli)
		if before < 1 {
			counted += each * float64(missing)
		}
		ratio = counted / each / float64(all)
		if before < 1 && ratio > 1 || before > 1 && ratio < 1 {
			return Clamp(spec, all)
		}
	}
	if tolerated(spec, ratio) {
		return Clamp(spec, all)
	}
	return clamp(spec, math.Ceil(ratio*float64(all)))
}

// tolerated tells whether a share of the target is near enough to it for nothing to be done.
func tolerated(spec *autoscalingv2.HorizontalPodAutoscalerSpec, ratio float64) bool {
	up, down := tolerance, tolerance
	if b := spec.Behavior; b != nil {
		if b.ScaleUp != nil && b.ScaleUp.Tolerance != nil {
			up = b.ScaleUp.Tolerance.AsApproximateFloat64()
		}
		if b.ScaleDown != nil && b.ScaleDown.Tolerance != nil {
			down = b.ScaleDown.Tolerance.AsApproximateFloat64()
		}
	}
	return 1-down <= ratio && ratio <= 1+up
}

// Clamp keeps a number of replicas within what the autoscaler may ask for.
func Clamp(spec *autoscalingv2.HorizontalPodAutoscalerSpec, replicas int) int {
	return clamp(spec, float64(replicas))
}

func clamp(spec *autoscalingv2.HorizontalPodAutoscalerSpec, replicas float64) int {
	least := 1.0
	if spec.MinReplicas != nil {
		least = float64(*spec.MinReplicas)
	}
	if math.IsNaN(replicas) { // nothing of a target of nothing
		replicas = least
	}
	return int(math.Min(math.Max(replicas, least), float64(spec.MaxReplicas)))
}
