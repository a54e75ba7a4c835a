package monitors

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/prometheus/prometheus/model/relabel"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// traits is what a monitor asks of the objects around it.
type traits struct {
	own        string // namespace
	byPod      bool
	selector   *metav1.LabelSelector
	namespaces monitoringv1.NamespaceSelector
	ports      []portTrait
	// Labels that it copies, of Services and of pods.
	serviceLabels, podLabels []string
	// hints are labels and annotations that relabelings read, with values that they
	// look for, by the kind of object ("service", "pod", "node") and "label" or
	// "annotation".
	hints map[string]map[string]string
	// containers and containerPorts are names that relabelings look for.
	containers, containerPorts []string
}

// portTrait is a port as a Service and as a container name it.
type portTrait struct {
	service, container string
	number             int32
}

// traitsOf reads a ServiceMonitor or PodMonitor.
func traitsOf(monitor runtime.Object) (*traits, error) {
	t := &traits{hints: map[string]map[string]string{}}
	switch m := monitor.(type) {
	case *monitoringv1.ServiceMonitor:
		t.own, t.selector, t.namespaces = m.Namespace, &m.Spec.Selector, m.Spec.NamespaceSelector
		t.serviceLabels, t.podLabels = append([]string{m.Spec.JobLabel}, m.Spec.TargetLabels...), m.Spec.PodTargetLabels
		for i := range m.Spec.Endpoints {
			ep := &m.Spec.Endpoints[i]
			p := portTrait{service: ep.Port, container: numbered("c", i), number: int32(8080 + i)} //nolint:gosec // small
			p.target(ep.TargetPort)
			t.addPort(p)
			t.read(ep.RelabelConfigs)
		}
	case *monitoringv1.PodMonitor:
		t.own, t.selector, t.namespaces = m.Namespace, &m.Spec.Selector, m.Spec.NamespaceSelector
		t.byPod = true
		t.podLabels = append([]string{m.Spec.JobLabel}, m.Spec.PodTargetLabels...)
		for i := range m.Spec.PodMetricsEndpoints {
			ep := &m.Spec.PodMetricsEndpoints[i]
			p := portTrait{container: value(ep.Port), number: int32(8080 + i)} //nolint:gosec // small
			p.target(ep.TargetPort)                                            //nolint:staticcheck // deprecated, and in use
			if n := value(ep.PortNumber); n != 0 {
				p.number = n
			}
			t.addPort(p)
			t.read(ep.RelabelConfigs)
		}
	default:
		return nil, fmt.Errorf("surroundings of %T", monitor)
	}
	return t, nil
}

// target applies a targetPort.
func (p *portTrait) target(port *intstr.IntOrString) {
	switch {
	case port == nil:
	case port.Type == intstr.String && port.StrVal != "":
		p.container = port.StrVal
	case port.Type == intstr.Int && port.IntVal > 0:
		p.number = port.IntVal
	}
}

// addPort keeps names and numbers apart, as a Service and a pod must.
func (t *traits) addPort(p portTrait) {
	for _, q := range t.ports {
		if q.service != "" && q.service == p.service {
			return
		}
		if q.number == p.number {
			p.number += 1000
		}
	}
	if p.service == "" {
		p.service = numbered("port-", len(t.ports))
	}
	if p.container == "" {
		p.container = numbered("c", len(t.ports))
	}
	t.ports = append(t.ports, p)
}

// read looks for the labels, annotations and names that relabelings read.
func (t *traits) read(rules []monitoringv1.RelabelConfig) {
	meta := regexp.MustCompile(`^__meta_kubernetes_(service|pod|node)_(label|annotation)(?:present)?_(.+)$`)
	for i := range rules {
		texts := wanted(&rules[i])
		for n, source := range rules[i].SourceLabels {
			switch source {
			case "__meta_kubernetes_pod_container_name":
				t.containers = append(t.containers, texts[n])
			case "__meta_kubernetes_pod_container_port_name":
				t.containerPorts = append(t.containerPorts, texts[n])
			}
			m := meta.FindStringSubmatch(string(source))
			if m == nil {
				continue
			}
			hints := t.hints[m[1]+m[2]]
			if hints == nil {
				hints = map[string]string{}
				t.hints[m[1]+m[2]] = hints
			}
			hints[unsanitized(m[3])] = texts[n]
		}
	}
}

// wanted are values of a rule's source labels that its regular expression matches,
// if they can be told.
func wanted(r *monitoringv1.RelabelConfig) []string {
	separator := relabel.DefaultRelabelConfig.Separator
	if r.Separator != nil {
		separator = *r.Separator
	}
	if texts := strings.Split(matching(r.Regex), separator); len(texts) == len(r.SourceLabels) {
		return texts
	}
	return slices.Repeat([]string{"hint"}, len(r.SourceLabels))
}

// unsanitized is a Kubernetes label name that becomes the name given, like those
// in use where that is known.
func unsanitized(name string) string {
	for _, domain := range []string{
		"app.kubernetes.io", "prometheus.io", "topology.kubernetes.io", "node.kubernetes.io", "kubernetes.io", "helm.sh",
	} {
		prefix := strings.NewReplacer(".", "_").Replace(domain) + "_"
		if rest, ok := strings.CutPrefix(name, prefix); ok && rest != "" {
			return domain + "/" + rest
		}
	}
	return name
}

// matching tries to find a string that a regular expression matches.
func matching(expr string) string {
	const fallback = "hint"
	re, err := relabel.NewRegexp(expr)
	if expr == "" || err != nil {
		return fallback
	}
	expr = regexp.MustCompile(`\([^()]*\)\?`).ReplaceAllString(expr, "") // what may be left out
	plain := strings.NewReplacer(`.*`, "x", `.+`, "x", `\d+`, "1", `\w+`, "x", "(", "", ")", "", "?:", "", `\`, "", "^", "", "$", "")
	for _, alternative := range strings.Split(expr, "|") {
		if s := plain.Replace(alternative); s != "" && re.MatchString(s) {
			return s
		}
	}
	return fallback
}
