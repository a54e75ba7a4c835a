package monitors

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
)

// The operator relies on the API server to have held a monitor against the schema
// of its CRD; promlet, which reads files too, does not. These are the parts of the
// schema that the operator and Prometheus would otherwise let pass.

// refusedServiceMonitor says why the API server would not let a monitor in.
func refusedServiceMonitor(m *monitoringv1.ServiceMonitor) error {
	err := oneOf("serviceDiscoveryRole", m.Spec.ServiceDiscoveryRole,
		monitoringv1.EndpointsRole, monitoringv1.EndpointSliceRole)
	if err != nil {
		return err
	}
	for i := range m.Spec.Endpoints {
		if err := refusedScheme(m.Spec.Endpoints[i].Scheme); err != nil {
			return fmt.Errorf("endpoints[%d]: %w", i, err)
		}
	}
	return refusedSpec(m.Spec.SelectorMechanism, m.Spec.FallbackScrapeProtocol, m.Spec.BodySizeLimit)
}

// refusedPodMonitor is refusedServiceMonitor for a PodMonitor.
func refusedPodMonitor(m *monitoringv1.PodMonitor) error {
	for i := range m.Spec.PodMetricsEndpoints {
		if err := refusedScheme(m.Spec.PodMetricsEndpoints[i].Scheme); err != nil {
			return fmt.Errorf("podMetricsEndpoints[%d]: %w", i, err)
		}
	}
	return refusedSpec(m.Spec.SelectorMechanism, m.Spec.FallbackScrapeProtocol, m.Spec.BodySizeLimit)
}

// refusedSpec is about what both kinds of monitors have.
func refusedSpec(mechanism *monitoringv1.SelectorMechanism, fallback *monitoringv1.ScrapeProtocol, size *monitoringv1.ByteSize) error {
	if err := oneOf("selectorMechanism", mechanism, monitoringv1.SelectorMechanismRelabel, monitoringv1.SelectorMechanismRole); err != nil {
		return err
	}
	if fallback != nil && *fallback == "" {
		return errors.New("fallbackScrapeProtocol is empty")
	}
	// The schema means to: its pattern is not anchored at the start, by mistake.
	// Prometheus takes a negative limit for none.
	if strings.HasPrefix(string(value(size)), "-") {
		return fmt.Errorf("bodySizeLimit: %s is negative", *size)
	}
	return nil
}

func refusedScheme(s *monitoringv1.Scheme) error {
	return oneOf("scheme", s, "http", "https", "HTTP", "HTTPS")
}

func oneOf[T ~string](field string, value *T, allowed ...T) error {
	if value == nil || slices.Contains(allowed, *value) {
		return nil
	}
	return fmt.Errorf("%s: %q is not one of %q", field, *value, allowed)
}
