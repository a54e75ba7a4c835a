package resourcemetrics_test

import (
	"context"
	"fmt"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/promlet/promlet/adapter/resourcemetrics"
)

// A kubelet is scraped twice, 15 seconds apart. The package api serves the Store.
func Example() {
	store := resourcemetrics.NewStore(resourcemetrics.Options{})
	store.SetNodes([]string{"node-1"}) // before the first scrape, and whenever a node comes or goes
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-0"},
		Spec:       corev1.PodSpec{NodeName: "node-1"},
	}
	of := []string{"namespace", "shop", "pod", "web-0", "container", "web"}
	cpu := labels.FromStrings(append(of, model.MetricNameLabel, "container_cpu_usage_seconds_total")...)
	memory := labels.FromStrings(append(of, model.MetricNameLabel, "container_memory_working_set_bytes")...)
	for scrape := range 2 {
		batch := &resourcemetrics.Batch{} // one for each scrape
		timestamp := int64(1_767_225_600_000 + scrape*15_000)
		batch.Add(cpu, timestamp, 100+float64(scrape)*3)
		batch.Add(memory, timestamp, 64<<20)
		if err := store.Put("node-1", batch); err != nil {
			fmt.Println(err)
		}
		fmt.Println(store.Pod(context.Background(), pod))
	}
	values, _ := store.PodMetrics(context.Background(), []*corev1.Pod{pod})
	usage := values[0].Containers[0].Usage
	fmt.Println(usage.Cpu(), usage.Memory(), values[0].Window.Duration)
	// Output:
	// one sample of container "web" is not enough for a CPU rate: the next one follows within 15s
	//
	// 200m 64Mi 15s
}
