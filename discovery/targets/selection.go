package targets

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/util/intstr"
)

// Selection says which targets a job has and which labels they get.
type Selection struct {
	ByPod      bool     // of a PodMonitor: pods are selected, not Services
	Namespaces []string // nil: all
	Objects    Selector
	Port       PortRule

	KeepFinished bool // keep pods that are Failed or Succeeded

	Job             string // the job label, of a PodMonitor
	JobLabel        string // label of the object whose value replaces the job label
	Endpoint        string // the endpoint label; empty: none
	TargetLabels    []string
	PodTargetLabels []string

	AttachNode    bool // read the node of each target
	EndpointsRole bool // only endpoints that are in the Service's Endpoints too

	Meta *MetaRule // nil: no __meta_* labels, since no relabeling can read them
}

// MetaRule says which __meta_kubernetes_* labels a target carries.
type MetaRule struct {
	JobName                  string // becomes __tmp_prometheus_job_name
	EndpointSlice, Endpoints bool   // as the service discovery roles of these names
}

// LooksInto reports whether objects of a namespace may be selected.
func (s *Selection) LooksInto(namespace string) bool {
	return s.Namespaces == nil || slices.Contains(s.Namespaces, namespace)
}

// TakesOrphans reports whether EndpointSlices without a Service may be selected.
func (s *Selection) TakesOrphans() bool {
	return !s.ByPod && !s.EndpointsRole && (s.Objects.byRole || s.Objects.Matches(nil))
}

// PortRule is the filter that port, targetPort or portNumber stand for.
type PortRule struct {
	By     PortKind
	Name   Pattern
	Number int32
}

// PortKind is what a PortRule compares.
type PortKind int

// The kinds of PortRules.
const (
	AnyPort PortKind = iota
	ServicePortName
	ContainerPortName
	ContainerPortNumber
)

// NewPortRule returns the rule for a name if there is one, else for a number, else
// for a targetPort. by is what the name names.
func NewPortRule(by PortKind, name string, number int32, target *intstr.IntOrString) (PortRule, error) {
	field := "port"
	switch {
	case name != "":
	case number != 0:
		return PortRule{By: ContainerPortNumber, Number: number}, nil
	case target == nil:
		return PortRule{}, nil
	case target.StrVal != "":
		field, by, name = "targetPort", ContainerPortName, target.StrVal
	case target.IntVal != 0:
		return PortRule{By: ContainerPortNumber, Number: target.IntVal}, nil
	default:
		return PortRule{}, nil
	}
	p, err := newPattern(name)
	if err != nil {
		return PortRule{}, fmt.Errorf("%s: %w", field, err)
	}
	return PortRule{By: by, Name: p}, nil
}

// ContainerPortNamed is the rule for a container port of exactly this name.
func ContainerPortNamed(name string) PortRule {
	return PortRule{By: ContainerPortName, Name: Pattern{literal: name}}
}

// Matches applies the rule to a port of the Service, by its name, and of a container.
// Either is empty where there is none.
func (r *PortRule) Matches(serviceName string, container ContainerPort) bool {
	switch r.By {
	case ServicePortName:
		return r.Name.Matches(serviceName)
	case ContainerPortName:
		return r.Name.Matches(container.PortName)
	case ContainerPortNumber:
		return container.Number == r.Number
	}
	return true
}
