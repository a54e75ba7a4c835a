package monitors

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
)

// Surroundings makes the cluster that a ServiceMonitor or PodMonitor is written
// for, by the rule surroundings of grammar.yaml, and the Secrets and ConfigMaps that the
// monitor refers to. The seed decides on everything that the monitor leaves open.
func (g *Generator) Surroundings(monitor runtime.Object, seed uint64) (*Cluster, error) {
	return g.surround(monitor, seeded(seed))
}

func (g *Generator) surround(monitor runtime.Object, r *choices) (*Cluster, error) {
	t, err := traitsOf(monitor)
	if err != nil {
		return nil, err
	}
	s := &surroundings{traits: t, choices: r, address: r.intn(200)}
	e := &expansion{Generator: g, choices: r, values: s.values()}
	s.cluster, err = fromDocuments(documentsIn(e.expand("=surroundings")))
	if err := errors.Join(e.err, err); err != nil {
		return nil, fmt.Errorf("make surroundings: %w", err)
	}
	switch m := monitor.(type) {
	case *monitoringv1.ServiceMonitor:
		s.cluster.ServiceMonitors = []*monitoringv1.ServiceMonitor{m}
	case *monitoringv1.PodMonitor:
		s.cluster.PodMonitors = []*monitoringv1.PodMonitor{m}
	}
	s.references(monitor)
	return s.cluster, s.cluster.fillPEMs()
}

type surroundings struct {
	*traits
	*choices
	cluster *Cluster
	address int // of the last pod
}

// values are the monitor's traits for the grammar.
func (s *surroundings) values() map[string]any {
	var ports, namedPorts, containers, seen []any
	for _, p := range s.ports {
		ports = append(ports, document{"service": p.service, "container": p.container, "number": p.number})
	}
	for i, name := range s.containerPorts {
		namedPorts = append(namedPorts, document{"name": name, "containerPort": 5000 + i, "protocol": corev1.ProtocolTCP})
	}
	for _, name := range append([]string{"app"}, s.containers...) {
		containers = append(containers, name)
	}
	for _, name := range s.seen() {
		seen = append(seen, name)
	}
	values := map[string]any{
		"byPod": s.byPod, "monitorPorts": ports, "restPorts": ports[1:], "namedPorts": namedPorts, "containerNames": containers, "seen": seen,
		"address": func() any {
			s.address++
			return s.address
		},
		"matched":       func() any { return s.matched(false) },
		"nearlyMatched": func() any { return s.matched(true) },
		"serviceCopied": func() any { return s.copied(s.serviceLabels) },
		"podCopied":     func() any { return s.copied(s.podLabels) },
	}
	for _, of := range []string{"node", "service", "pod"} {
		for _, what := range []string{"label", "annotation"} {
			values[of+what] = func() any { return s.hint(of + what) }
		}
	}
	return values
}

// seen are the namespaces that the monitor looks into, and one that it may not.
func (s *surroundings) seen() []string {
	names := []string{s.own}
	switch {
	case s.namespaces.Any:
		names = []string{s.own, "team-b"}
	case len(s.namespaces.MatchNames) > 0:
		names = slices.Clone(s.namespaces.MatchNames)
	}
	names = append(names, "elsewhere")
	slices.Sort(names)
	return slices.Compact(names)
}

// matched are labels that the monitor's selector takes, or nearly takes.
func (s *surroundings) matched(near bool) document {
	ls := document{}
	for key, value := range s.selector.MatchLabels {
		ls[key] = value
	}
	for _, e := range s.selector.MatchExpressions {
		switch e.Operator {
		case metav1.LabelSelectorOpIn:
			if len(e.Values) > 0 {
				ls[e.Key] = pick(s.choices, e.Values...)
			}
		case metav1.LabelSelectorOpExists:
			ls[e.Key] = "yes"
		case metav1.LabelSelectorOpNotIn:
			if s.one(2) {
				ls[e.Key] = "other"
			}
		}
	}
	if keys := slices.Sorted(maps.Keys(ls)); near && len(keys) > 0 {
		key := pick(s.choices, keys...)
		if s.one(2) {
			delete(ls, key)
		} else {
			ls[key] = fmt.Sprint(ls[key], "x")
		}
	}
	return ls
}

// copied are labels that the monitor copies to targets.
func (s *surroundings) copied(names []string) document {
	ls := document{}
	for _, name := range names {
		if len(validation.IsQualifiedName(name)) == 0 && !s.one(3) {
			ls[name] = pick(s.choices, "team-a", "x.y", "")
		}
	}
	return ls
}

// hint are the labels or annotations that relabelings look for, mostly.
func (s *surroundings) hint(of string) document {
	out := document{}
	for _, key := range sortedKeys(s.hints[of]) {
		if !s.one(4) {
			out[key] = s.hints[of][key]
		}
	}
	return out
}
