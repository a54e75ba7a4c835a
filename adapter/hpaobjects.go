package adapter

import (
	"cmp"
	"fmt"
	"slices"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	apilabels "k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// hpas are ordered by namespace and name.
func (o objects) hpas() ([]*autoscalingv2.HorizontalPodAutoscaler, error) {
	lister, ok := o.lister(autoscalingv2.Resource("horizontalpodautoscalers"))
	if !ok {
		return nil, nil
	}
	found, err := lister.List(apilabels.Everything())
	if err != nil {
		return nil, fmt.Errorf("list HorizontalPodAutoscalers: %w", err)
	}
	hpas := make([]*autoscalingv2.HorizontalPodAutoscaler, 0, len(found))
	for _, obj := range found {
		if hpa, ok := obj.(*autoscalingv2.HorizontalPodAutoscaler); ok {
			hpas = append(hpas, hpa)
		}
	}
	slices.SortFunc(hpas, func(a, b *autoscalingv2.HorizontalPodAutoscaler) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return hpas, nil
}

// owner is what owns pods.
type owner struct{ namespace, group, kind, name string }

func targetOf(hpa *autoscalingv2.HorizontalPodAutoscaler) owner {
	of := hpa.Spec.ScaleTargetRef
	gv, err := schema.ParseGroupVersion(of.APIVersion)
	if err != nil {
		return owner{} // owns nothing
	}
	return owner{hpa.Namespace, gv.Group, of.Kind, of.Name}
}

// podsByOwner returns the pods that are not on their way out.
func (o objects) podsByOwner() (map[owner][]*corev1.Pod, error) {
	listed, err := o.list(podKind(), "", apilabels.Everything())
	if err != nil {
		return nil, err
	}
	owned := map[owner][]*corev1.Pod{}
	for _, obj := range listed {
		pod, ok := obj.(*corev1.Pod)
		if !ok || pod.DeletionTimestamp != nil || pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
			continue
		}
		for _, ref := range pod.OwnerReferences {
			gv, err := schema.ParseGroupVersion(ref.APIVersion)
			if err != nil {
				continue
			}
			by := owner{pod.Namespace, gv.Group, ref.Kind, ref.Name}
			owned[by] = append(owned[by], pod)
			if name, ok := deploymentOf(pod, ref); ok {
				by.kind, by.name = "Deployment", name
				owned[by] = append(owned[by], pod)
			}
		}
	}
	return owned, nil
}

// stuck reads why the controller scales nothing from the conditions it sets. That it has
// no value of a metric is another of them, which is not meant.
func stuck(hpa *autoscalingv2.HorizontalPodAutoscaler) string {
	for i := range hpa.Status.Conditions {
		c := &hpa.Status.Conditions[i]
		if c.Status != corev1.ConditionFalse {
			continue
		}
		switch {
		case c.Type == autoscalingv2.AbleToScale:
			return c.Message
		case c.Type == autoscalingv2.ScalingActive && slices.Contains([]string{"AmbiguousSelector", "InvalidSelector", "ScalingDisabled"}, c.Reason):
			return c.Message
		}
	}
	return ""
}
