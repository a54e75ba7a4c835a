package api

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	apirequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/metrics/pkg/apis/metrics"
)

// pods serves PodMetrics.
type pods struct{ resource }

var _ interface {
	rest.Getter
	rest.Lister
	rest.Scoper
	rest.KindProvider
	rest.SingularNameProvider
} = (*pods)(nil)

func (*pods) New() runtime.Object     { return &metrics.PodMetrics{} }
func (*pods) NewList() runtime.Object { return &metrics.PodMetricsList{} }
func (*pods) Kind() string            { return "PodMetrics" }
func (*pods) NamespaceScoped() bool   { return true }

// Get returns the value of one pod, or NotFound if the pod does not exist or has no value.
func (p *pods) Get(ctx context.Context, name string, _ *metav1.GetOptions) (runtime.Object, error) {
	namespace := apirequest.NamespaceValue(ctx)
	lister, err := p.lister(corev1.Resource("pods"))
	if err != nil {
		return nil, err
	}
	found, err := lister.ByNamespace(namespace).Get(name)
	if err != nil {
		return nil, err // NotFound: a cache has no other errors
	}
	pod, ok := found.(*corev1.Pod)
	if !ok {
		return nil, apierrors.NewInternalError(fmt.Errorf("pod %s/%s is a %T", namespace, name, found))
	}
	values, err := p.Source.PodMetrics(ctx, []*corev1.Pod{pod})
	if err != nil {
		return nil, failed("pod "+namespace+"/"+name, err)
	}
	if len(values) == 0 {
		return nil, notFound(metrics.Resource("podmetrics"), namespace+"/"+name, p.Source.Pod(ctx, pod).String())
	}
	return &values[0], nil
}

// List returns the values of the pods that options select, ordered by namespace and name.
func (p *pods) List(ctx context.Context, options *metainternalversion.ListOptions) (runtime.Object, error) {
	lister, err := p.lister(corev1.Resource("pods"))
	if err != nil {
		return nil, err
	}
	found, err := selected[*corev1.Pod](lister, apirequest.NamespaceValue(ctx), options)
	if err != nil {
		return nil, fmt.Errorf("metrics of pods: %w", err)
	}
	values, err := p.Source.PodMetrics(ctx, found)
	if err != nil {
		return nil, failed("pods", err)
	}
	return &metrics.PodMetricsList{Items: values}, nil
}

// ConvertToTable returns the table that kubectl prints, with the sums over the containers of each pod.
func (*pods) ConvertToTable(_ context.Context, object, _ runtime.Object) (*metav1.Table, error) {
	var values []metrics.PodMetrics
	switch value := object.(type) {
	case *metrics.PodMetrics:
		values = []metrics.PodMetrics{*value}
	case *metrics.PodMetricsList:
		values = value.Items
	default:
		return nil, fmt.Errorf("make a table of %T: no pod metrics", object)
	}
	rows := make([]row, len(values))
	for i := range values {
		usage := corev1.ResourceList{}
		for _, container := range values[i].Containers {
			for name, quantity := range container.Usage {
				sum := usage[name]
				sum.Add(quantity)
				usage[name] = sum
			}
		}
		rows[i] = row{object: &values[i], name: values[i].Name, usage: usage, window: values[i].Window.Duration}
	}
	return table(rows), nil
}
