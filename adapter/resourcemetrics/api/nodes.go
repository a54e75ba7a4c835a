package api

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/metrics/pkg/apis/metrics"
)

// nodes serves NodeMetrics.
type nodes struct{ resource }

var _ interface {
	rest.Getter
	rest.Lister
	rest.Scoper
	rest.KindProvider
	rest.SingularNameProvider
} = (*nodes)(nil)

func (*nodes) New() runtime.Object     { return &metrics.NodeMetrics{} }
func (*nodes) NewList() runtime.Object { return &metrics.NodeMetricsList{} }
func (*nodes) Kind() string            { return "NodeMetrics" }
func (*nodes) NamespaceScoped() bool   { return false }

// Get returns the value of one node, or NotFound if the node does not exist or has no value.
func (n *nodes) Get(ctx context.Context, name string, _ *metav1.GetOptions) (runtime.Object, error) {
	lister, err := n.lister(corev1.Resource("nodes"))
	if err != nil {
		return nil, err
	}
	found, err := lister.Get(name)
	if err != nil {
		return nil, err // NotFound: a cache has no other errors
	}
	node, ok := found.(*corev1.Node)
	if !ok {
		return nil, apierrors.NewInternalError(fmt.Errorf("node %s is a %T", name, found))
	}
	values, err := n.Source.NodeMetrics(ctx, []*corev1.Node{node})
	if err != nil {
		return nil, failed("node "+name, err)
	}
	if len(values) == 0 {
		return nil, notFound(metrics.Resource("nodemetrics"), name, n.Source.Node(ctx, name).String())
	}
	return &values[0], nil
}

// List returns the values of the nodes that options select, ordered by name.
func (n *nodes) List(ctx context.Context, options *metainternalversion.ListOptions) (runtime.Object, error) {
	lister, err := n.lister(corev1.Resource("nodes"))
	if err != nil {
		return nil, err
	}
	found, err := selected[*corev1.Node](lister, metav1.NamespaceAll, options)
	if err != nil {
		return nil, fmt.Errorf("metrics of nodes: %w", err)
	}
	values, err := n.Source.NodeMetrics(ctx, found)
	if err != nil {
		return nil, failed("nodes", err)
	}
	return &metrics.NodeMetricsList{Items: values}, nil
}

// ConvertToTable returns the table that kubectl prints.
func (*nodes) ConvertToTable(_ context.Context, object, _ runtime.Object) (*metav1.Table, error) {
	var values []metrics.NodeMetrics
	switch value := object.(type) {
	case *metrics.NodeMetrics:
		values = []metrics.NodeMetrics{*value}
	case *metrics.NodeMetricsList:
		values = value.Items
	default:
		return nil, fmt.Errorf("make a table of %T: no node metrics", object)
	}
	rows := make([]row, len(values))
	for i := range values {
		rows[i] = row{object: &values[i], name: values[i].Name, usage: values[i].Usage, window: values[i].Window.Duration}
	}
	return table(rows), nil
}
