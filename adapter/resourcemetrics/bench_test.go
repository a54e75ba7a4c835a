package resourcemetrics

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
)

// The cluster that is measured.
const (
	benchNodes      = 100
	benchPods       = 30 // of a node
	benchContainers = 2  // of a pod
)

// benchSeries are the labels of what one kubelet serves about containers.
func benchSeries(node int) (cpu, memory, start []labels.Labels) {
	for pod := range benchPods {
		for c := range benchContainers {
			of := func(name string) labels.Labels {
				return labels.FromStrings(model.MetricNameLabel, name, "namespace", fmt.Sprintf("team-%d", pod%5),
					"pod", fmt.Sprintf("application-7d764666f9-%02d%03d", pod, node), "container", fmt.Sprintf("container-%d", c))
			}
			cpu, memory, start = append(cpu, of(containerCPU)), append(memory, of(containerMemory)), append(start, of(containerStart))
		}
	}
	return cpu, memory, start
}

func benchBatch(node, second int) *Batch {
	b := &Batch{}
	cpu, memory, start := benchSeries(node)
	now := epoch.UnixMilli() + int64(second)*1000
	for i := range cpu {
		b.Add(cpu[i], now, float64(second))
		b.Add(memory[i], now, 1<<20)
		b.Add(start[i], now, float64(epoch.Unix()-1000))
	}
	b.Add(labels.FromStrings(model.MetricNameLabel, nodeCPU), now, float64(second))
	b.Add(labels.FromStrings(model.MetricNameLabel, nodeMemory), now, 1<<20)
	return b
}

func benchStore(tb testing.TB) (*Store, []*corev1.Pod) {
	s := NewStore(Options{})
	var names []string
	var pods []*corev1.Pod
	for node := range benchNodes {
		names = append(names, fmt.Sprintf("node-%d", node))
	}
	s.SetNodes(names)
	for node, name := range names {
		for second := 10; second <= 40; second += 15 {
			require.NoError(tb, s.Put(name, benchBatch(node, second)))
		}
		for i := range s.kubelets[name].pods {
			p := &s.kubelets[name].pods[i]
			pods = append(pods, podOn(name, p.namespace, p.name))
		}
	}
	require.Len(tb, pods, benchNodes*benchPods)
	return s, pods
}

// What the Store holds: a container is 96 bytes and shares with its pod's other containers the 72 bytes and the names of
// the pod.
func TestBytesHeld(t *testing.T) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	s, _ := benchStore(t)
	runtime.GC()
	runtime.ReadMemStats(&after)
	held := int64(after.HeapAlloc) - int64(before.HeapAlloc)
	containers := int64(benchNodes * benchPods * benchContainers)
	t.Logf("%d bytes for %d nodes, %d for each of %d containers", held, benchNodes, held/containers, containers)
	require.Less(t, held/containers, int64(250))
	runtime.KeepAlive(s)
}

func BenchmarkPut(b *testing.B) {
	s, _ := benchStore(b)
	cpu, memory, start := benchSeries(0)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		batch := &Batch{}
		for j := range cpu {
			now := epoch.UnixMilli() + int64(100+i)*1000
			batch.Add(cpu[j], now, float64(100+i))
			batch.Add(memory[j], now, 1<<20)
			batch.Add(start[j], now, float64(epoch.Unix()-1000))
		}
		if err := s.Put("node-0", batch); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkListPods(b *testing.B) {
	s, pods := benchStore(b)
	b.ReportAllocs()
	for b.Loop() {
		values, err := s.PodMetrics(b.Context(), pods)
		if err != nil || len(values) != len(pods) {
			b.Fatal(err, len(values))
		}
	}
}
