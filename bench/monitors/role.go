package monitors

import (
	"cmp"
	"slices"
	"strings"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/prometheus/prometheus/model/relabel"
)

// The labels that only one of the two roles has begin like these.
const (
	endpointPrefix  = "__meta_kubernetes_endpoint_"
	endpointsPrefix = "__meta_kubernetes_endpoints_"
	slicePrefix     = "__meta_kubernetes_endpointslice_"
)

// forRole settles the role of a ServiceMonitor that names none. promlet takes the
// endpoints of the slices for it and gives them the labels of both roles; Prometheus
// has one role: that for which the monitor's relabelings are written, or
// endpointslice if they do not tell. guessed is true where that is endpoints: these
// must then be all of those in the slices. The monitor is not changed.
func forRole(m *monitoringv1.ServiceMonitor) (settled *monitoringv1.ServiceMonitor, guessed bool) {
	if m.Spec.ServiceDiscoveryRole != nil {
		return m, false
	}
	if endpoints, slices := rolesRead(m); endpoints && !slices {
		return withRole(m, monitoringv1.EndpointsRole), true
	}
	return m, false
}

// withoutDoubt names the role in ServiceMonitors that name none and whose
// relabelings read the labels of both roles: what promlet then does is its own.
func (c *Cluster) withoutDoubt() *Cluster {
	out := *c
	out.ServiceMonitors = nil
	for _, m := range c.ServiceMonitors {
		if endpoints, slices := rolesRead(m); m.Spec.ServiceDiscoveryRole == nil && endpoints && slices {
			m = withRole(m, monitoringv1.EndpointSliceRole)
		}
		out.ServiceMonitors = append(out.ServiceMonitors, m)
	}
	return &out
}

func withRole(m *monitoringv1.ServiceMonitor, role monitoringv1.ServiceDiscoveryRole) *monitoringv1.ServiceMonitor {
	m = m.DeepCopy()
	m.Spec.ServiceDiscoveryRole = &role
	return m
}

// rolesRead tells whether relabelings read labels that only the endpoints role has,
// and such that only the endpointslice role has.
func rolesRead(m *monitoringv1.ServiceMonitor) (endpoints, slices bool) {
	for i := range m.Spec.Endpoints {
		for _, r := range m.Spec.Endpoints[i].RelabelConfigs {
			endpoints = endpoints || readsAny(&r, endpointPrefix, endpointsPrefix)
			slices = slices || readsAny(&r, slicePrefix)
		}
	}
	return endpoints, slices
}

// readsAny tells whether a rule reads labels that begin with one of the prefixes.
func readsAny(r *monitoringv1.RelabelConfig, prefixes ...string) bool {
	return slices.ContainsFunc(prefixes, func(prefix string) bool {
		for _, l := range r.SourceLabels {
			if strings.HasPrefix(string(l), prefix) {
				return true
			}
		}
		if !strings.EqualFold(r.Action, string(relabel.LabelMap)) {
			return false
		}
		re, err := relabel.NewRegexp(cmp.Or(r.Regex, relabel.DefaultRelabelConfig.Regex.String()))
		if err != nil {
			return false
		}
		return slices.ContainsFunc(roleSamples(prefix), re.MatchString)
	})
}

// roleSamples are labels that a labelmap for a role would match one of.
func roleSamples(prefix string) []string {
	var out []string
	for _, rest := range []string{
		"port_name", "port_protocol", "ready", "hostname", "node_name", "address_target_kind", "address_target_name",
		"name", "label_app", "labelpresent_app", "annotation_a", "annotationpresent_a", "port", "port_app_protocol",
		"address_type", "endpoint_zone", "endpoint_hostname", "endpoint_node_name",
		"endpoint_conditions_ready", "endpoint_conditions_serving", "endpoint_conditions_terminating",
	} {
		out = append(out, prefix+rest)
	}
	return out
}
