package queried

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/metrics/pkg/apis/metrics"

	"github.com/promlet/promlet/adapter/engine"
	"github.com/promlet/promlet/adapter/objects"
	"github.com/promlet/promlet/adapter/resourcemetrics"
	"github.com/promlet/promlet/adapter/rules"
	"github.com/promlet/promlet/adapter/values"
)

// maxNamespaces is how many namespaces are queried at the same time. The limits of the database and of the engine apply as
// well.
const maxNamespaces = 4

// Source answers by the queries that SetQueries sets. Make it with New.
type Source struct {
	values  *values.Evaluator
	job     string // the job of kubelets, "" for none
	queries atomic.Pointer[rules.ResourceQueries]
}

var _ resourcemetrics.Source = (*Source)(nil)

// New returns a Source without queries: nothing has a value. kubelets is the name of the job that scrapes kubelets, whose
// series are stored if demand.Demand.OfKubelets reports it. Empty: there is no such job.
func New(v *values.Evaluator, kubelets string) *Source { return &Source{values: v, job: kubelets} }

// SetQueries replaces the queries. Nil: there are none. The series that they read are in demand from then on.
func (s *Source) SetQueries(queries *rules.ResourceQueries) {
	for v := s.values; v != nil; v = v.Next {
		v.Demand.SetUsage(queries)
	}
	s.queries.Store(queries)
}

// HasQueries reports whether there are queries.
func (s *Source) HasQueries() bool { return s.queries.Load() != nil }

// Or returns a Source that answers each request by the queries if there are any at that time, and from kubelets otherwise.
func (s *Source) Or(kubelets resourcemetrics.Source) resourcemetrics.Source {
	return &choice{queried: s, kubelets: kubelets}
}

// PodMetrics returns the values of the pods, in their order. Pods without a value are left out. The error is an API status if
// an engine is unavailable.
func (s *Source) PodMetrics(ctx context.Context, pods []*corev1.Pod) ([]metrics.PodMetrics, error) {
	queries := s.queries.Load()
	if queries == nil || len(pods) == 0 {
		return []metrics.PodMetrics{}, nil
	}
	byNamespace := map[string][]string{}
	for _, pod := range pods {
		byNamespace[pod.Namespace] = append(byNamespace[pod.Namespace], pod.Name)
	}
	var mu sync.Mutex
	var failed error
	reports := make(map[string]map[string]*resourcemetrics.Report, len(byNamespace))
	var group errgroup.Group
	group.SetLimit(maxNamespaces)
	for namespace, names := range byNamespace {
		group.Go(func() error {
			found, err := usage(ctx, s.values, question{job: s.job, pair: queries.Pods, of: objects.Pod(), namespace: namespace}, names)
			mu.Lock()
			defer mu.Unlock()
			reports[namespace], failed = found, cmp.Or(failed, err)
			return nil
		})
	}
	_ = group.Wait() // the goroutines return no errors
	found := make([]metrics.PodMetrics, 0, len(pods))
	for _, pod := range pods {
		if report := reports[pod.Namespace][pod.Name]; report != nil && report.Reason == resourcemetrics.Measured {
			found = append(found, podMetrics(pod, report, queries.Window))
		}
	}
	return found, s.failure(failed, len(found), "pods")
}

// NodeMetrics returns the values of the nodes, in their order. Nodes without a value are left out. The error is an API status
// if an engine is unavailable.
func (s *Source) NodeMetrics(ctx context.Context, nodes []*corev1.Node) ([]metrics.NodeMetrics, error) {
	queries := s.queries.Load()
	if queries == nil || len(nodes) == 0 {
		return []metrics.NodeMetrics{}, nil
	}
	names := make([]string, len(nodes))
	for i, node := range nodes {
		names[i] = node.Name
	}
	reports, err := usage(ctx, s.values, question{job: s.job, pair: queries.Nodes, of: objects.Node()}, names)
	found := make([]metrics.NodeMetrics, 0, len(nodes))
	for _, node := range nodes {
		if report := reports[node.Name]; report.Reason == resourcemetrics.Measured {
			found = append(found, nodeMetrics(node, report, queries.Window))
		}
	}
	return found, s.failure(err, len(found), "nodes")
}

// failure returns the error to answer with. It is nil if some values were found: then the answer has only those.
func (s *Source) failure(err error, found int, of string) error {
	if err == nil {
		return nil
	}
	if found > 0 {
		s.values.Logger.Debug("some have no resource metrics", "of", of, "err", err)
		return nil
	}
	if unavailable(err) {
		return apierrors.NewServiceUnavailable(fmt.Sprintf("metrics of %s: %v", of, err))
	}
	return err
}

// Pod reports why a pod has a value or none. It evaluates the queries.
func (s *Source) Pod(ctx context.Context, pod *corev1.Pod) resourcemetrics.Report {
	queries := s.queries.Load()
	if queries == nil {
		return noQueries()
	}
	reports, _ := usage(ctx, s.values, question{job: s.job, pair: queries.Pods, of: objects.Pod(), namespace: pod.Namespace}, []string{pod.Name})
	return *reports[pod.Name] // the Report contains the error
}

// Node reports why a node has a value or none. It evaluates the queries.
func (s *Source) Node(ctx context.Context, name string) resourcemetrics.Report {
	queries := s.queries.Load()
	if queries == nil {
		return noQueries()
	}
	reports, _ := usage(ctx, s.values, question{job: s.job, pair: queries.Nodes, of: objects.Node()}, []string{name})
	return *reports[name] // the Report contains the error
}

func noQueries() resourcemetrics.Report {
	return resourcemetrics.Report{Reason: resourcemetrics.NoQuery, Detail: "the configuration has no resourceRules"}
}

// unavailable reports whether an engine could not be reached, so that a later request may succeed.
func unavailable(err error) bool {
	failed, ok := errors.AsType[*engine.Error](err)
	return ok && failed.Unavailable
}

// choice answers by queries if there are any, and from kubelets otherwise.
type choice struct {
	queried  *Source
	kubelets resourcemetrics.Source
}

func (c *choice) now() resourcemetrics.Source {
	if c.queried.HasQueries() {
		return c.queried
	}
	return c.kubelets
}

func (c *choice) PodMetrics(ctx context.Context, pods []*corev1.Pod) ([]metrics.PodMetrics, error) {
	return c.now().PodMetrics(ctx, pods)
}

func (c *choice) NodeMetrics(ctx context.Context, nodes []*corev1.Node) ([]metrics.NodeMetrics, error) {
	return c.now().NodeMetrics(ctx, nodes)
}

func (c *choice) Pod(ctx context.Context, pod *corev1.Pod) resourcemetrics.Report {
	return c.now().Pod(ctx, pod)
}

func (c *choice) Node(ctx context.Context, name string) resourcemetrics.Report {
	return c.now().Node(ctx, name)
}
