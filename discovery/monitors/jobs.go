package monitors

import (
	"fmt"
	"regexp"
	"strings"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/relabel"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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

// The beginnings of the jobs' names, as the operator has them.
const (
	serviceMonitorJobs = "serviceMonitor/"
	podMonitorJobs     = "podMonitor/"
)

// jobs makes the jobs of a monitor, all of which have its scope. On error the monitor is
// rejected; unsupported are the fields that promlet does not support.
func (c *Compiler) jobs(monitor metav1.Object, scope targets.Selection, refs *secrets) (jobs []*Job, unsupported []string, err error) {
	spec, endpoints := specOf(monitor)
	prefix := serviceMonitorJobs
	if scope.ByPod {
		prefix = podMonitorJobs
		scope.Job = monitor.GetNamespace() + "/" + monitor.GetName()
	}
	maker := jobMaker{compiler: c, spec: spec, refs: refs, scope: scope, namespace: monitor.GetNamespace(), prefix: prefix + monitor.GetNamespace() + "/" + monitor.GetName()}
	err = maker.applySpec()
	for _, ep := range endpoints {
		if err == nil {
			err = maker.add(ep)
		}
	}
	if ptr.Deref(spec.ScrapeClassName, "") != "" {
		unsupported = []string{"spec.scrapeClass"}
		if err == nil {
			err = fmt.Errorf("spec.scrapeClass: %w: write what the class stands for into the monitor", ErrNotSupported)
		}
	}
	if err != nil {
		return nil, unsupported, err
	}
	return maker.jobs, nil, nil
}

// jobMaker gathers the jobs of one monitor.
type jobMaker struct {
	compiler  *Compiler
	spec      *monitoringv1.ServiceMonitorSpec
	refs      *secrets
	namespace string            // of the monitor
	prefix    string            // of the jobs' names
	scope     targets.Selection // what all jobs have in common
	meta      targets.MetaRule

	jobs []*Job
}

// applySpec sets what the monitor says for all of its endpoints.
func (m *jobMaker) applySpec() error {
	m.meta = targets.MetaRule{EndpointSlice: true, Endpoints: true}
	if role := m.spec.ServiceDiscoveryRole; role != nil {
		switch *role {
		case monitoringv1.EndpointSliceRole:
			m.meta.Endpoints = false
		case monitoringv1.EndpointsRole:
			m.meta.EndpointSlice = false
			m.scope.EndpointsRole = true
		default:
			return fmt.Errorf("spec.serviceDiscoveryRole: %q is neither %s nor %s", *role,
				monitoringv1.EndpointsRole, monitoringv1.EndpointSliceRole)
		}
	}
	m.scope.JobLabel = targets.LabelKey(m.spec.JobLabel)
	if a := m.spec.AttachMetadata; a != nil {
		m.scope.AttachNode = ptr.Deref(a.Node, false)
	}
	var err error
	if m.scope.TargetLabels, err = labelKeys("spec.targetLabels", m.spec.TargetLabels); err != nil {
		return err
	}
	m.scope.PodTargetLabels, err = labelKeys("spec.podTargetLabels", m.spec.PodTargetLabels)
	return err
}

// add makes the job of one endpoint.
func (m *jobMaker) add(ep *endpoint) error {
	sel, by := m.scope, targets.ServicePortName
	if sel.ByPod {
		by = targets.ContainerPortName
	}
	var err error
	if sel.Port, err = targets.NewPortRule(by, ep.spec.Port, ep.portNumber, ep.spec.TargetPort); err != nil {
		return fmt.Errorf("%s.%w", ep.field, err)
	}
	if err := ep.validate(); err != nil {
		return fmt.Errorf("%s: %w", ep.field, err)
	}
	name := fmt.Sprintf("%s/%d", m.prefix, len(m.jobs))
	cfg, err := m.compiler.scrapeConfig(name, m.namespace, ep, m.spec, m.refs)
	if err != nil {
		return err
	}
	sel.KeepFinished = !ptr.Deref(ep.spec.FilterRunning, true)
	sel.Endpoint = endpointLabel(ep.spec.Port, ep.spec.TargetPort)
	if len(ep.spec.RelabelConfigs) > 0 {
		meta := m.meta
		meta.JobName = name
		sel.Meta = &meta
	}
	if sel.TakesOrphans() {
		cfg.RelabelConfigs = append([]*relabel.Config{dropDefaultJob(name)}, cfg.RelabelConfigs...)
	}
	m.jobs = append(m.jobs, &Job{Name: name, Field: ep.field, Config: cfg, Selection: sel})
	return nil
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

func labelKeys(field string, names []string) ([]string, error) {
	var out []string
	for i, name := range names {
		if name == "" {
			return nil, fmt.Errorf("%s[%d]: empty", field, i)
		}
		out = append(out, targets.LabelKey(name))
	}
	return out, nil
}
