package monitors

import (
	"fmt"
	"regexp"
	"strings"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/relabel"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"github.com/promlet/promlet/discovery/targets"
)

// Job is one endpoint of one monitor: how to scrape, and which targets. It is made of the
// monitor and what that refers to, and never changes.
type Job struct {
	Name      string
	Field     string // the path of the endpoint in the monitor
	Config    *config.ScrapeConfig
	Selection targets.Selection
}

// serviceMonitorJobs makes the jobs of a monitor, all of which have its scope. On error
// the monitor is rejected; unsupported are the fields that promlet does not support.
func (c *Compiler) serviceMonitorJobs(m *monitoringv1.ServiceMonitor, sel targets.Selection, refs *secrets) (jobs []*Job, unsupported []string, err error) {
	meta := targets.MetaRule{EndpointSlice: true, Endpoints: true}
	if role := m.Spec.ServiceDiscoveryRole; role != nil {
		switch *role {
		case monitoringv1.EndpointSliceRole:
			meta.Endpoints = false
		case monitoringv1.EndpointsRole:
			meta.EndpointSlice = false
			sel.EndpointsRole = true
		default:
			return nil, nil, fmt.Errorf("spec.serviceDiscoveryRole: %q is neither %s nor %s", *role,
				monitoringv1.EndpointsRole, monitoringv1.EndpointSliceRole)
		}
	}
	sel.JobLabel = targets.LabelKey(m.Spec.JobLabel)
	sel.TargetLabels = labelKeys(m.Spec.TargetLabels)
	sel.PodTargetLabels = labelKeys(m.Spec.PodTargetLabels)
	sel.AttachNode = attachNode(m.Spec.AttachMetadata)
	if err := checkLabelNames("spec.targetLabels", m.Spec.TargetLabels); err != nil {
		return nil, nil, err
	}
	if err := checkLabelNames("spec.podTargetLabels", m.Spec.PodTargetLabels); err != nil {
		return nil, nil, err
	}
	maker := jobMaker{
		compiler: c, limits: &m.Spec, refs: refs, meta: meta,
		prefix: "serviceMonitor/" + m.Namespace + "/" + m.Name,
	}
	for i := range m.Spec.Endpoints {
		ep := &m.Spec.Endpoints[i]
		port, err := targets.NewPortRule(targets.ServicePortName, ep.Port, 0, ep.TargetPort)
		if err != nil {
			return nil, nil, fmt.Errorf("spec.endpoints[%d].%w", i, err)
		}
		sel.Port = port
		sel.KeepFinished = ep.FilterRunning != nil && !*ep.FilterRunning
		sel.Endpoint = endpointLabel(ep.Port, ep.TargetPort)
		maker.add(serviceEndpoint(i, ep), sel)
	}
	return maker.finish(m.Spec.ScrapeClassName)
}

// podMonitorJobs is serviceMonitorJobs for a PodMonitor.
func (c *Compiler) podMonitorJobs(m *monitoringv1.PodMonitor, sel targets.Selection, refs *secrets) (jobs []*Job, unsupported []string, err error) {
	sel.Job = m.Namespace + "/" + m.Name
	sel.JobLabel = targets.LabelKey(m.Spec.JobLabel)
	sel.PodTargetLabels = labelKeys(m.Spec.PodTargetLabels)
	sel.AttachNode = attachNode(m.Spec.AttachMetadata)
	if err := checkLabelNames("spec.podTargetLabels", m.Spec.PodTargetLabels); err != nil {
		return nil, nil, err
	}
	maker := jobMaker{
		compiler: c, limits: podMonitorLimits(&m.Spec), refs: refs,
		prefix: "podMonitor/" + m.Namespace + "/" + m.Name,
	}
	for i := range m.Spec.PodMetricsEndpoints {
		ep := &m.Spec.PodMetricsEndpoints[i]
		target := ep.TargetPort //nolint:staticcheck // deprecated, and in wide use
		port, err := targets.NewPortRule(targets.ContainerPortName, ptr.Deref(ep.Port, ""), ptr.Deref(ep.PortNumber, 0), target)
		if err != nil {
			return nil, nil, fmt.Errorf("spec.podMetricsEndpoints[%d].%w", i, err)
		}
		sel.Port = port
		sel.KeepFinished = ep.FilterRunning != nil && !*ep.FilterRunning
		sel.Endpoint = endpointLabel(ptr.Deref(ep.Port, ""), target)
		maker.add(podEndpoint(i, ep), sel)
	}
	return maker.finish(m.Spec.ScrapeClassName)
}

// jobMaker gathers the jobs of one monitor and the first reason to reject it.
type jobMaker struct {
	compiler *Compiler
	limits   *monitoringv1.ServiceMonitorSpec // what it says for all endpoints
	refs     *secrets
	meta     targets.MetaRule
	prefix   string

	jobs []*Job
	err  error
}

func (m *jobMaker) add(ep *endpoint, sel targets.Selection) {
	if m.err != nil {
		return
	}
	if err := ep.validate(); err != nil {
		m.err = fmt.Errorf("%s: %w", ep.field, err)
		return
	}
	name := fmt.Sprintf("%s/%d", m.prefix, len(m.jobs))
	cfg, err := m.compiler.scrapeConfig(name, ep, m.limits, m.refs)
	if err != nil {
		m.err = err
		return
	}
	if len(ep.spec.RelabelConfigs) > 0 {
		meta := m.meta
		meta.JobName = name
		sel.Meta = &meta
	}
	if sel.TakesOrphans() {
		cfg.RelabelConfigs = append([]*relabel.Config{dropDefaultJob(name)}, cfg.RelabelConfigs...)
	}
	m.jobs = append(m.jobs, &Job{Name: name, Field: ep.field, Config: cfg, Selection: sel})
}

func (m *jobMaker) finish(scrapeClass *string) (jobs []*Job, unsupported []string, err error) {
	if ptr.Deref(scrapeClass, "") != "" {
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

// dropDefaultJob removes the job label that Prometheus gives a target without one, the
// job's name: where there is no Service, the operator's rules leave the label empty.
func dropDefaultJob(name string) *relabel.Config {
	c := relabel.DefaultRelabelConfig
	c.SourceLabels = model.LabelNames{model.JobLabel}
	c.Regex = relabel.MustNewRegexp(regexp.QuoteMeta(name))
	c.TargetLabel = model.JobLabel
	c.Replacement = ""
	c.NameValidationScheme = model.UTF8Validation
	return &c
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
	return a != nil && ptr.Deref(a.Node, false)
}

// endpointLabel is the value of the endpoint label; a portNumber gives none. The
// operator makes it the replacement of a relabeling, in which a dollar sign begins a
// reference to a group, all of which are empty.
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

func labelKeys(names []string) []string {
	var out []string
	for _, name := range names {
		out = append(out, targets.LabelKey(name))
	}
	return out
}
