package adapter_test

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apilabels "k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/promlet/promlet/adapter"
	"github.com/promlet/promlet/discovery/objects"
	"github.com/promlet/promlet/tsdb"
)

// Example answers from samples that the program stores itself. Package embedded is for programs
// that discover and scrape.
func Example() {
	dir, err := os.MkdirTemp("", "promlet")
	check(err)
	defer os.RemoveAll(dir)
	db, err := tsdb.Open(tsdb.Options{Dir: dir})
	check(err)
	defer func() { check(db.Close()) }()
	samples := db.AppenderV2(context.Background())
	_, err = samples.Append(0, labels.FromStrings("__name__", "queue_depth", "namespace", "default", "pod", "worker-1"), 0, time.Now().UnixMilli(), 7, nil, nil, storage.AOptions{})
	check(err)
	check(samples.Commit())

	store := objects.NewStore()
	pods, _ := store.Indexer(corev1.Resource("pods"))
	check(pods.Add(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "worker-1"}}))

	custom, err := adapter.NewProvider(adapter.Options{DB: db, Objects: store.Lister, Interval: 15 * time.Second})
	check(err)
	defer custom.Close()
	queueDepth := provider.CustomMetricInfo{GroupResource: schema.GroupResource{Resource: "pods"}, Namespaced: true, Metric: "queue_depth"}
	value, err := custom.GetMetricByName(context.Background(), types.NamespacedName{Namespace: "default", Name: "worker-1"}, queueDepth, apilabels.Everything())
	check(err)
	fmt.Printf("%s %s: %s %s\n", value.DescribedObject.Kind, value.DescribedObject.Name, value.Metric.Name, &value.Value)
	// Output: Pod worker-1: queue_depth 7
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
