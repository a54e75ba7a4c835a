package monitors

import (
	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// SetInline replaces the inline monitors, which it copies. One without a namespace is in
// "default"; nil is passed over.
func (c *Compiler) SetInline(serviceMonitors []*monitoringv1.ServiceMonitor, podMonitors []*monitoringv1.PodMonitor) {
	c.serviceMonitors, c.podMonitors = nil, nil
	for _, m := range serviceMonitors {
		if m != nil {
			m = m.DeepCopy()
			setNamespace(&m.ObjectMeta)
			c.serviceMonitors = append(c.serviceMonitors, m)
		}
	}
	for _, m := range podMonitors {
		if m != nil {
			m = m.DeepCopy()
			setNamespace(&m.ObjectMeta)
			c.podMonitors = append(c.podMonitors, m)
		}
	}
}

func setNamespace(m *metav1.ObjectMeta) {
	if m.Namespace == "" {
		m.Namespace = metav1.NamespaceDefault
	}
}
