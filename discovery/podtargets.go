package discovery

import (
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	corev1 "k8s.io/api/core/v1"
)

// labelValue is a label of an object that becomes a label of a target.
type labelValue struct {
	name  model.LabelName
	value model.LabelValue
}

// labelValues looks up the names in the labels of an object; those without a
// value are left out.
func labelValues(names []string, set map[string]string) []labelValue {
	var out []labelValue
	for _, name := range names {
		if v, ok := lookup(set, name); ok && v != "" {
			out = append(out, labelValue{model.LabelName(sanitize(name)), model.LabelValue(v)})
		}
	}
	return out
}

// override sets those of the labels that t has, so that t does not hide those of
// its group.
func override(t model.LabelSet, values []labelValue) {
	for _, l := range values {
		if _, ok := t[l.name]; ok {
			t[l.name] = l.value
		}
	}
}

func jobLabelValue(name string, set map[string]string) model.LabelValue {
	if name == "" {
		return ""
	}
	v, _ := lookup(set, name)
	return model.LabelValue(v)
}

// nodeOf is the node of a pod if a job attaches nodes and the node is known, or nil.
func (o *Objects) nodeOf(s *selection, pod *corev1.Pod) *corev1.Node {
	if !s.attachNode {
		return nil
	}
	return get[corev1.Node](o.nodes, pod.Spec.NodeName)
}

// podGroup makes the targets of one pod of a PodMonitor: one for each port that
// its containers declare, and one for each container that declares none. It is
// nil when no target is left. node is nil when nodes are not attached or the
// pod's is not known.
func (s *selection) podGroup(pod *corev1.Pod, node *corev1.Node) *targetgroup.Group {
	// Prometheus drops pods of nodes it does not know, once it is to know nodes.
	if pod.Status.PodIP == "" || (s.attachNode && node == nil) || (!s.keepFinished && finished(pod)) {
		return nil
	}
	fromPod := labelValues(s.podTargetLabels, pod.Labels)
	var targets []model.LabelSet
	for _, container := range containerPorts(pod) {
		if !s.port.matches("", container) {
			continue
		}
		t := model.LabelSet{
			model.AddressLabel: model.LabelValue(address(pod.Status.PodIP, container.number)),
			labelContainer:     model.LabelValue(container.container),
		}
		override(t, fromPod)
		if s.meta != nil {
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
func (s *selection) podCommon(pod *corev1.Pod, node *corev1.Node, fromPod []labelValue) model.LabelSet {
	ls := model.LabelSet{
		labelNamespace: model.LabelValue(pod.Namespace),
		labelPod:       model.LabelValue(pod.Name),
	}
	for _, l := range fromPod {
		if l.name != model.AddressLabel && l.name != labelContainer { // on the targets
			ls[l.name] = l.value
		}
	}
	ls[model.JobLabel] = model.LabelValue(s.job)
	if v := jobLabelValue(s.jobLabel, pod.Labels); v != "" {
		ls[model.JobLabel] = v
	}
	if s.endpoint != "" {
		ls[labelEndpoint] = model.LabelValue(s.endpoint)
	}
	if podReady(pod) == "false" {
		ls[labelUnready] = "true"
	}
	if s.meta != nil {
		ls[jobNameLabel] = model.LabelValue(s.meta.jobName)
		set(ls, "namespace", pod.Namespace)
		setPod(ls, pod)
		if node != nil {
			setObject(ls, "node", &node.ObjectMeta)
		}
	}
	return ls
}
