package targets

import (
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	corev1 "k8s.io/api/core/v1"

	"github.com/promlet/promlet/discovery/objects"
)

// NodeOf returns the node of a pod if the job attaches nodes and the node is known, or
// nil.
func (s *Selection) NodeOf(store *objects.Store, pod *corev1.Pod) *corev1.Node {
	if !s.AttachNode {
		return nil
	}
	return objects.Get[corev1.Node](store, pod.Spec.NodeName)
}

// PodGroup returns the targets of one pod of a PodMonitor: one for each port that
// its containers declare, and one for each container that declares none. It is
// nil when no target is left. node is nil when nodes are not attached or the
// pod's is not known.
func (s *Selection) PodGroup(pod *corev1.Pod, node *corev1.Node) *targetgroup.Group {
	// Where nodes are attached, Prometheus drops pods of nodes it does not know.
	if pod.Status.PodIP == "" || (s.AttachNode && node == nil) || (!s.KeepFinished && Finished(pod)) {
		return nil
	}
	fromPod := labelValues(s.PodTargetLabels, pod.Labels)
	var targets []model.LabelSet
	for _, container := range ContainerPorts(pod) {
		if !s.Port.Matches("", container) {
			continue
		}
		t := model.LabelSet{
			model.AddressLabel: model.LabelValue(address(pod.Status.PodIP, container.Number)),
			labelContainer:     model.LabelValue(container.container),
		}
		override(t, fromPod)
		if s.Meta != nil {
			setContainer(t, &container)
		}
		targets = append(targets, t)
	}
	if len(targets) == 0 {
		return nil
	}
	return &targetgroup.Group{
		Source:  "pod/" + pod.Namespace + "/" + pod.Name,
		Labels:  s.podCommon(pod, node, fromPod),
		Targets: targets,
	}
}

// podCommon are the labels that all targets of a pod share.
func (s *Selection) podCommon(pod *corev1.Pod, node *corev1.Node, fromPod []labelValue) model.LabelSet {
	ls := model.LabelSet{
		labelNamespace: model.LabelValue(pod.Namespace),
		labelPod:       model.LabelValue(pod.Name),
	}
	for _, l := range fromPod {
		if l.name != model.AddressLabel && l.name != labelContainer { // the targets have them
			ls[l.name] = l.value
		}
	}
	ls[model.JobLabel] = model.LabelValue(s.Job)
	if v := jobLabelValue(s.JobLabel, pod.Labels); v != "" {
		ls[model.JobLabel] = v
	}
	if s.Endpoint != "" {
		ls[labelEndpoint] = model.LabelValue(s.Endpoint)
	}
	if podReady(pod) == "false" {
		ls[labelUnready] = "true"
	}
	if s.Meta != nil {
		ls[jobNameLabel] = model.LabelValue(s.Meta.JobName)
		set(ls, "namespace", pod.Namespace)
		setPod(ls, pod)
		if node != nil {
			setObject(ls, "node", &node.ObjectMeta)
		}
	}
	return ls
}
