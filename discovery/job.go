package discovery

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/relabel"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// job is one endpoint of one monitor: how to scrape, and which targets. It is
// made from the monitor alone and never changes.
type job struct {
	name   string
	config *config.ScrapeConfig
	sel    selection
}

// selection says which targets a job has and which labels they get.
type selection struct {
	byPod      bool     // PodMonitor: pods are selected, not services
	namespaces []string // nil: all
	objects    objectSelector
	port       portRule

	keepFinished bool // keep pods that are Failed or Succeeded

	job             string // PodMonitor: the job label
	jobLabel        string // label whose value replaces the job label
	endpoint        string // the endpoint label; empty: none
	targetLabels    []string
	podTargetLabels []string

	attachNode    bool // read the node of each target
	endpointsRole bool // the targets are those of the Endpoints of the slices' Services

	meta *metaRule // nil: no __meta_* labels, since no relabeling can read them
}

// metaRule says which __meta_kubernetes_* labels a target carries.
type metaRule struct {
	jobName                  string // becomes __tmp_prometheus_job_name
	endpointSlice, endpoints bool   // as the service discovery roles of these names
}

// portRule is the filter that port, targetPort or portNumber stand for.
type portRule struct {
	by     portKind
	name   pattern
	number int32
}

type portKind int

const (
	anyPort portKind = iota
	servicePortName
	containerPortName
	containerPortNumber
)

// matches gets the name of the service's port and the container's port, where
// there are such.
func (r *portRule) matches(serviceName string, container containerPort) bool {
	switch r.by {
	case servicePortName:
		return r.name.matches(serviceName)
	case containerPortName:
		return r.name.matches(container.portName)
	case containerPortNumber:
		return container.number == r.number
	}
	return true
}

// portRuleFor makes the rule for a name if there is one, else for a number, else
// for a targetPort. by is what the name names.
func portRuleFor(by portKind, name string, number int32, target *intstr.IntOrString) (portRule, error) {
	switch {
	case name != "":
		p, err := newPattern(name)
		if err != nil {
			return portRule{}, fmt.Errorf("port: %w", err)
		}
		return portRule{by: by, name: p}, nil
	case number != 0:
		return portRule{by: containerPortNumber, number: number}, nil
	case target == nil:
		return portRule{}, nil
	case target.StrVal != "":
		p, err := newPattern(target.StrVal)
		if err != nil {
			return portRule{}, fmt.Errorf("targetPort: %w", err)
		}
		return portRule{by: containerPortName, name: p}, nil
	case target.IntVal != 0:
		return portRule{by: containerPortNumber, number: target.IntVal}, nil
	}
	return portRule{}, nil
}

// endpointLabel is the value of the endpoint label; a portNumber gives none. The
// operator makes it the replacement of a relabeling, in which a dollar sign stands
// for a part of nothing.
func endpointLabel(port string, target *intstr.IntOrString) string {
	if port == "" && target != nil {
		port = target.String()
	}
	if !strings.Contains(port, "$") {
		return port
	}
	re := relabel.DefaultRelabelConfig.Regex
	return string(re.ExpandString(nil, port, "", re.FindStringSubmatchIndex("")))
}

// serviceMonitorJobs makes the jobs of a monitor, all of which have its scope. On error
// the monitor is rejected; unsupported are the fields because of which it is.
func serviceMonitorJobs(m *monitoringv1.ServiceMonitor, sel selection, d defaults, a *assets) (jobs []*job, unsupported []string, err error) {
	meta, endpointsRole := metaRule{endpointSlice: true, endpoints: true}, false
	if role := m.Spec.ServiceDiscoveryRole; role != nil {
		switch *role {
		case monitoringv1.EndpointSliceRole:
			meta.endpoints = false
		case monitoringv1.EndpointsRole:
			meta.endpointSlice = false
			endpointsRole = true
		default:
			return nil, nil, fmt.Errorf("spec.serviceDiscoveryRole: %q is neither %s nor %s", *role,
				monitoringv1.EndpointsRole, monitoringv1.EndpointSliceRole)
		}
	}
	sel.jobLabel = labelKey(m.Spec.JobLabel)
	sel.targetLabels = labelKeys(m.Spec.TargetLabels)
	sel.podTargetLabels = labelKeys(m.Spec.PodTargetLabels)
	sel.attachNode = attachNode(m.Spec.AttachMetadata)
	sel.endpointsRole = endpointsRole
	if err := checkLabelNames("spec.targetLabels", m.Spec.TargetLabels); err != nil {
		return nil, nil, err
	}
	if err := checkLabelNames("spec.podTargetLabels", m.Spec.PodTargetLabels); err != nil {
		return nil, nil, err
	}
	maker := jobMaker{
		defaults: d, limits: serviceMonitorLimits(&m.Spec), assets: a, meta: meta,
		prefix: "serviceMonitor/" + m.Namespace + "/" + m.Name,
	}
	for i := range m.Spec.Endpoints {
		ep := &m.Spec.Endpoints[i]
		port, err := portRuleFor(servicePortName, ep.Port, 0, ep.TargetPort)
		if err != nil {
			return nil, nil, fmt.Errorf("spec.endpoints[%d].%w", i, err)
		}
		sel.port = port
		sel.keepFinished = ep.FilterRunning != nil && !*ep.FilterRunning
		sel.endpoint = endpointLabel(ep.Port, ep.TargetPort)
		maker.add(serviceEndpointSpec(i, ep), sel)
	}
	return maker.finish(m.Spec.ScrapeClassName)
}

// podMonitorJobs is serviceMonitorJobs for a PodMonitor.
func podMonitorJobs(m *monitoringv1.PodMonitor, sel selection, d defaults, a *assets) (jobs []*job, unsupported []string, err error) {
	sel.job = m.Namespace + "/" + m.Name
	sel.jobLabel = labelKey(m.Spec.JobLabel)
	sel.podTargetLabels = labelKeys(m.Spec.PodTargetLabels)
	sel.attachNode = attachNode(m.Spec.AttachMetadata)
	if err := checkLabelNames("spec.podTargetLabels", m.Spec.PodTargetLabels); err != nil {
		return nil, nil, err
	}
	maker := jobMaker{
		defaults: d, limits: podMonitorLimits(&m.Spec), assets: a,
		prefix: "podMonitor/" + m.Namespace + "/" + m.Name,
	}
	for i := range m.Spec.PodMetricsEndpoints {
		ep := &m.Spec.PodMetricsEndpoints[i]
		target := ep.TargetPort //nolint:staticcheck // deprecated, and in wide use
		port, err := portRuleFor(containerPortName, deref(ep.Port), deref(ep.PortNumber), target)
		if err != nil {
			return nil, nil, fmt.Errorf("spec.podMetricsEndpoints[%d].%w", i, err)
		}
		sel.port = port
		sel.keepFinished = ep.FilterRunning != nil && !*ep.FilterRunning
		sel.endpoint = endpointLabel(deref(ep.Port), target)
		maker.add(podEndpointSpec(i, ep), sel)
	}
	return maker.finish(m.Spec.ScrapeClassName)
}

// jobMaker gathers the jobs of one monitor and the first reason to reject it.
type jobMaker struct {
	defaults defaults
	limits   *limits
	assets   *assets
	meta     metaRule
	prefix   string

	jobs []*job
	err  error
}

func (m *jobMaker) add(ep *endpointSpec, sel selection) {
	if m.err != nil {
		return
	}
	if err := ep.validate(); err != nil {
		m.err = fmt.Errorf("%s: %w", ep.field, err)
		return
	}
	name := fmt.Sprintf("%s/%d", m.prefix, len(m.jobs))
	cfg, err := m.defaults.scrapeConfig(name, ep, m.limits, m.assets)
	if err != nil {
		m.err = err
		return
	}
	if len(ep.relabelings) > 0 {
		meta := m.meta
		meta.jobName = name
		sel.meta = &meta
	}
	if sel.takesOrphans() {
		cfg.RelabelConfigs = append([]*relabel.Config{dropDefaultJob(name)}, cfg.RelabelConfigs...)
	}
	m.jobs = append(m.jobs, &job{name: name, config: cfg, sel: sel})
}

func (m *jobMaker) finish(scrapeClass *string) (jobs []*job, unsupported []string, err error) {
	if deref(scrapeClass) != "" {
		unsupported = []string{"spec.scrapeClass"}
		if m.err == nil {
			m.err = fmt.Errorf("spec.scrapeClass: %w: write what the class stands for into the monitor", ErrNotSupported)
		}
	}
	if m.err != nil {
		return nil, unsupported, m.err
	}
	return m.jobs, nil, nil
}

// takesOrphans tells whether EndpointSlices without a Service may be selected.
func (s *selection) takesOrphans() bool {
	return !s.byPod && !s.endpointsRole && (s.objects.role || s.objects.matches(nil))
}

// dropDefaultJob takes away the job label that a target has for want of one, the
// job's name: where there is no Service, the operator's rules leave none.
func dropDefaultJob(name string) *relabel.Config {
	c := relabel.DefaultRelabelConfig
	c.SourceLabels = model.LabelNames{model.JobLabel}
	c.Regex = relabel.MustNewRegexp(regexp.QuoteMeta(name))
	c.TargetLabel = model.JobLabel
	c.Replacement = ""
	c.NameValidationScheme = model.UTF8Validation
	return &c
}

// monitorNamespaces returns the namespaces to look in; nil means all, as does an
// empty name among the names.
func monitorNamespaces(sel monitoringv1.NamespaceSelector, own string) []string {
	switch {
	case sel.Any, slices.Contains(sel.MatchNames, ""):
		return nil
	case len(sel.MatchNames) > 0:
		return slices.Compact(slices.Sorted(slices.Values(sel.MatchNames)))
	}
	return []string{own}
}

func checkLabelNames(field string, names []string) error {
	for i, name := range names {
		if name == "" {
			return fmt.Errorf("%s[%d]: empty", field, i)
		}
	}
	return nil
}

func attachNode(a *monitoringv1.AttachMetadata) bool {
	return a != nil && deref(a.Node)
}

// deref is the value pointed to, or the zero value.
func deref[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}
