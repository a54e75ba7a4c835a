// Package replicas computes how many replicas the HorizontalPodAutoscaler controller would ask for, as the
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

// ForTotal returns how many replicas an Object or External metric of milli thousandths asks for, with so many current
// replicas and so many pods that run and are ready. It is current where the target is of another kind.
func ForTotal(spec *autoscalingv2.HorizontalPodAutoscalerSpec, target autoscalingv2.MetricTarget, milli int64, current, ready int) int {
	var ratio, replicas float64
	switch {
	case target.Value != nil && target.Type == autoscalingv2.ValueMetricType:
		ratio = float64(milli) / float64(target.Value.MilliValue())
		if current == 0 { // the controller multiplies no pods, and has no tolerance
			return Clamp(spec, math.Ceil(ratio))
		}
		replicas = math.Ceil(ratio * float64(ready))
	case target.AverageValue != nil && target.Type == autoscalingv2.AverageValueMetricType:
		ratio = float64(milli) / (float64(target.AverageValue.MilliValue()) * float64(current))
		replicas = math.Ceil(float64(milli) / float64(target.AverageValue.MilliValue()))
	default:
		return Clamp(spec, float64(current))
	}
	if Tolerated(spec, ratio) {
		return Clamp(spec, float64(current))
	}
	return Clamp(spec, replicas)
}

// Pods counts those that a Pods metric is about: With a value, Missing one though they have been started, and
// Pending, whose values do not count.
type Pods struct{ With, Missing, Pending int }

// ForPods returns how many replicas a Pods metric asks for, with so many current replicas. The pods with a value have
// milli thousandths together. On scale-down a pod without a value counts as on target. On scale-up it counts as 0, and so
// does a pending pod.
func ForPods(spec *autoscalingv2.HorizontalPodAutoscalerSpec, target autoscalingv2.MetricTarget, milli int64, current int, pods Pods) int {
	if target.AverageValue == nil || pods.With == 0 {
		return Clamp(spec, float64(current))
	}
	each := float64(target.AverageValue.MilliValue())
	ratio := float64(milli) / each / float64(pods.With)
	counted, all := float64(milli), pods.With
	switch {
	case ratio < 1:
		counted += each * float64(pods.Missing)
		all += pods.Missing
	case ratio > 1:
		all += pods.Missing + pods.Pending
	}
	again := counted / each / float64(all)
	return pods.settled(spec, ratio, again, math.Ceil(again*float64(all)), current)
}

// settled returns the replicas that the controller asks for. ratio is the value of the pods with a value, divided by the
// target; again is the same with all other pods counted as well, and replicas is what it asks for.
func (p Pods) settled(spec *autoscalingv2.HorizontalPodAutoscalerSpec, ratio, again, replicas float64, current int) int {
	if Tolerated(spec, again) || ratio < 1 && again > 1 || ratio > 1 && again < 1 {
		return Clamp(spec, float64(current))
	}
	// Pods without a value must not turn the direction around.
	unknown := p.Missing > 0 || p.Pending > 0 && ratio > 1
	if unknown && (again < 1 && replicas > float64(current) || again > 1 && replicas < float64(current)) {
		return Clamp(spec, float64(current))
	}
	return Clamp(spec, replicas)
}

// Tolerated reports whether a share of the target is near enough for no action.
func Tolerated(spec *autoscalingv2.HorizontalPodAutoscalerSpec, ratio float64) bool {
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
func Clamp(spec *autoscalingv2.HorizontalPodAutoscalerSpec, replicas float64) int {
	least := 1.0
	if spec.MinReplicas != nil {
		least = float64(*spec.MinReplicas)
	}
	if math.IsNaN(replicas) { // nothing of a target of nothing
		replicas = least
	}
	return int(math.Min(math.Max(replicas, least), float64(spec.MaxReplicas)))
}
