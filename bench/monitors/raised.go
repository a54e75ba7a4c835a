package monitors

import (
	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/prometheus/common/model"

	"github.com/promlet/promlet/discovery"
)

// withRaisedIntervals is the Cluster as promlet reads it: intervals above zero are at
// least promlet's shortest. Upstream has no shortest interval. The Cluster is not changed.
func (c *Cluster) withRaisedIntervals() *Cluster {
	out := *c
	out.ServiceMonitors, out.PodMonitors = nil, nil
	for _, m := range c.ServiceMonitors {
		m = m.DeepCopy()
		for i := range m.Spec.Endpoints {
			ep := &m.Spec.Endpoints[i]
			raise(&ep.Interval, ep.RelabelConfigs)
		}
		out.ServiceMonitors = append(out.ServiceMonitors, m)
	}
	for _, m := range c.PodMonitors {
		m = m.DeepCopy()
		for i := range m.Spec.PodMetricsEndpoints {
			ep := &m.Spec.PodMetricsEndpoints[i]
			raise(&ep.Interval, ep.RelabelConfigs)
		}
		out.PodMonitors = append(out.PodMonitors, m)
	}
	return &out
}

func raise(interval *monitoringv1.Duration, relabelings []monitoringv1.RelabelConfig) {
	*interval = monitoringv1.Duration(raised(string(*interval)))
	for _, r := range relabelings {
		if r.TargetLabel == model.ScrapeIntervalLabel && r.Replacement != nil {
			*r.Replacement = raised(*r.Replacement)
		}
	}
}

func raised(interval string) string {
	shortest := model.Duration(discovery.MinScrapeInterval)
	if d, err := model.ParseDuration(interval); err == nil && 0 < d && d < shortest {
		return shortest.String()
	}
	return interval
}
