package adapter

import (
	"context"
	"fmt"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"
	apilabels "k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/promlet/promlet/adapter/values"
)

// crowd is an application of so many pods behind one Service, each with four series of a
// counter, that grow by one a second, and a gauge.
func crowd(b *testing.B, pods int) *fixture {
	f := newFixture(b)
	f.namespaces("default")
	var names, series []string
	for i := range pods {
		name := fmt.Sprintf("app-6d4cf56db6-%05d", i)
		f.targets = append(f.targets, values.Target{Interval: step, Labels: labels.FromStrings("namespace", "default", "pod", name, "service", "app", "job", "app",
			"endpoint", "web", "container", "app", "instance", fmt.Sprintf("10.0.%d.%d:8080", i/256, i%256))})
		target := fmt.Sprintf(`namespace="default",pod=%q,service="app",job="app",endpoint="web",container="app",instance="10.0.%d.%d:8080"`, name, i/256, i%256)
		for j := range 4 {
			series = append(series, fmt.Sprintf(`http_requests_total{%s,method=%q,code=%q} 0+15x20`, target, []string{"GET", "POST"}[j%2], []string{"200", "500"}[j/2]))
		}
		series = append(series, fmt.Sprintf(`queue_depth{%s} 3x20`, target))
		names = append(names, name)
		f.pod(name, "app")
	}
	f.service("app", names...)
	f.load(series...)
	return f
}

func benchmarkCrowds(b *testing.B, ask func(b *testing.B, f *fixture, pods int)) {
	for _, pods := range []int{10, 100, 1000} {
		b.Run(fmt.Sprint(pods), func(b *testing.B) {
			f := crowd(b, pods)
			b.ReportAllocs()
			for b.Loop() {
				ask(b, f, pods)
			}
		})
	}
}

// BenchmarkPods measures the rate of each pod of an application, without the API
// server: `go run ./bench answers` measures the whole.
func BenchmarkPods(b *testing.B) {
	selector := apilabels.SelectorFromSet(apilabels.Set{"app": "app"})
	info := provider.CustomMetricInfo{GroupResource: podResource, Metric: "http_requests", Namespaced: true}
	benchmarkCrowds(b, func(b *testing.B, f *fixture, pods int) {
		list, err := f.GetMetricBySelector(context.Background(), "default", selector, info, apilabels.Everything())
		require.NoError(b, err)
		require.Len(b, list.Items, pods)
	})
}

// BenchmarkService measures the rate of a Service of so many pods.
func BenchmarkService(b *testing.B) {
	name := types.NamespacedName{Namespace: "default", Name: "app"}
	info := provider.CustomMetricInfo{GroupResource: serviceResource, Metric: "http_requests", Namespaced: true}
	benchmarkCrowds(b, func(b *testing.B, f *fixture, pods int) {
		v, err := f.GetMetricByName(context.Background(), name, info, apilabels.Everything())
		require.NoError(b, err)
		require.Equal(b, int64(4*pods), v.Value.Value())
	})
}
