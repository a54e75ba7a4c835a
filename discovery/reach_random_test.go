package discovery

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/tools/cache"

	"github.com/promlet/promlet/discovery/internal/runtest"
	"github.com/promlet/promlet/discovery/internal/storetest"
	"github.com/promlet/promlet/discovery/objects"
	"github.com/promlet/promlet/discovery/reach"
)

// TestReachAgreesWithTargets asks, in random clusters that change at random, for every
// Service and every pod: the targets told of it are those it has, and a reason is given
// exactly where there are none.
func TestReachAgreesWithTargets(t *testing.T) {
	clusters := 150
	if testing.Short() {
		clusters = 25
	}
	reached, reasons := 0, map[string]bool{}
	for seed := range clusters {
		r := random{rand.New(rand.NewPCG(uint64(seed), 7))}
		o, other := randomCluster(t, r.Rand), randomCluster(t, r.Rand)
		r.diversify(o)
		r.diversify(other)
		d := New(o, Options{Annotations: true})
		for range 12 {
			for range r.IntN(4) {
				r.change(o, other)
			}
			_, groups := runtest.Resolve(t, d)
			services, pods := targetsOf(o, groups)
			keys := map[string]bool{"default/nope": true}
			for _, key := range append(storetest.Services(o).ListKeys(), storetest.Pods(o).ListKeys()...) {
				keys[key] = true
			}
			for key := range services {
				keys[key] = true
			}
			for key := range keys {
				namespace, name, _ := strings.Cut(key, "/")
				reached += checkReach(t, seed, d.ReachService(namespace, name), services[key], reasons)
				reached += checkReach(t, seed, d.ReachPod(namespace, name), pods[key], reasons)
			}
		}
	}
	require.Greater(t, reached, 30*clusters, "the clusters have targets")
	if testing.Short() {
		return
	}
	all := strings.Join(slices.Sorted(maps.Keys(reasons)), "\n")
	if testing.Verbose() {
		t.Log(all)
	}
	for _, part := range []string{
		"no container of the pod has a port named", "no container of the pod has a port 9", "the pod is not running", "the pod has no IP address",
		"the pod's node", "the pod is scraped through", "the Service has no port named", ", the targetPort of its port", "no endpoint of the Service has a container port named",
		"no endpoint of the Service has a container port 9", "no endpoint of the Service has its port", "are terminating", "is running (", "of its two families",
		"the labels that the selector wants", "has no endpoints", "no pod matches the Service's selector", "no EndpointSlice yet", "declares a TCP port",
	} {
		require.Contains(t, all, part, "the clusters are diverse")
	}
}

// checkReach holds a Reach against the targets by job, and returns their number.
func checkReach(t *testing.T, seed int, r reach.Report, want map[string]int, reasons map[string]bool) int {
	t.Helper()
	sum, got := 0, map[string]int{}
	for _, m := range r.Monitors {
		if m.Err != nil {
			require.Empty(t, m.Jobs, "seed %d", seed)
		}
		for _, j := range m.Jobs {
			require.Equal(t, j.Targets == 0, j.Missing != "", "seed %d, %s: %d, %s", seed, j.Name, j.Targets, j.Missing)
			require.NotContains(t, j.Missing, "\n")
			require.NotEmpty(t, j.Field)
			reasons[j.Missing] = true
			if j.Targets > 0 {
				got[j.Name] += j.Targets
				sum += j.Targets
			}
		}
	}
	if want == nil {
		want = map[string]int{}
	}
	require.Equal(t, want, got, "seed %d", seed)
	if r.Nearest != nil {
		require.Empty(t, r.Monitors)
		require.NotEmpty(t, r.Nearest.Reason)
	}
	return sum
}

// targetsOf counts targets by the "namespace/name" of their Service or pod, and by job.
func targetsOf(o *objects.Store, groups map[string][]*targetgroup.Group) (services, pods map[string]map[string]int) {
	services, pods = map[string]map[string]int{}, map[string]map[string]int{}
	add := func(to map[string]map[string]int, key, job string, n int) {
		if to[key] == nil {
			to[key] = map[string]int{}
		}
		to[key][job] += n
	}
	for job, gs := range groups {
		for _, g := range gs {
			kind, key, _ := strings.Cut(g.Source, "/")
			if kind == "pod" {
				add(pods, key, job, len(g.Targets))
				continue
			}
			slice := objects.Get[discoveryv1.EndpointSlice](o, key)
			if service, ok := slice.Labels[discoveryv1.LabelServiceName]; ok {
				add(services, slice.Namespace+"/"+service, job, len(g.Targets))
			}
		}
	}
	return services, pods
}

// diversify gives what randomCluster leaves out and reasons are about.
func (r random) diversify(o *objects.Store) {
	role, endpoints := monitoringv1.SelectorMechanismRole, monitoringv1.EndpointsRole
	for _, m := range inOrder[monitoringv1.ServiceMonitor](o, storetest.ServiceMonitors(o)) {
		m.Spec.SelectorMechanism = pick(r, nil, nil, &role)
		m.Spec.ServiceDiscoveryRole = pick(r, nil, &endpoints)
	}
	for _, m := range inOrder[monitoringv1.PodMonitor](o, storetest.PodMonitors(o)) {
		m.Spec.SelectorMechanism = pick(r, nil, nil, &role)
	}
	for _, s := range inOrder[corev1.Service](o, storetest.Services(o)) {
		for range r.IntN(3) {
			s.Spec.Ports = append(s.Spec.Ports, corev1.ServicePort{
				Name: pick(r, "http", "metrics", "web", ""), Port: 80,
				TargetPort: pick(r, intstr.FromInt32(8080), intstr.FromString("metrics")),
			})
		}
		s.Spec.Selector = pick(r, nil, r.labels("app"))
	}
	for _, s := range inOrder[discoveryv1.EndpointSlice](o, storetest.Slices(o)) {
		if r.IntN(2) == 0 {
			s.Labels["app"] = pick(r, "a", "web")
		}
		switch r.IntN(6) {
		case 0:
			s.Ports = nil
		case 1:
			s.Endpoints = nil
		case 2:
			_ = storetest.Slices(o).Delete(s)
		}
	}
}

// inOrder returns all objects of a kind ordered by key.
func inOrder[T objects.Object](o *objects.Store, indexer cache.Indexer) []*T {
	var out []*T
	for _, key := range slices.Sorted(slices.Values(indexer.ListKeys())) {
		out = append(out, objects.Get[T](o, key))
	}
	return out
}
