package client

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"

	"github.com/promlet/promlet/adapter"
	"github.com/promlet/promlet/adapter/explain"
	"github.com/promlet/promlet/adapter/resourcemetrics"
)

// startUsageAPI starts a metrics API whose promlet serves metrics.k8s.io, too. The kubelet of edge-1 reports sample-1, which
// uses a quarter of a core and 64 MiB, and not sample-2.
func startUsageAPI(t *testing.T) *metricsAPI {
	return startMetricsAPI(t, func(o *adapter.Options) {
		store := resourcemetrics.NewStore(resourcemetrics.Options{Now: o.Now})
		store.SetNodes([]string{"edge-1"})
		for i := range 2 {
			var b resourcemetrics.Batch
			at := o.Now().Add(time.Duration(i-1) * 16 * time.Second).UnixMilli()
			of := []string{"namespace", "default", "pod", "sample-1", "container", "web", model.MetricNameLabel}
			b.Add(labels.FromStrings(append(of, "container_cpu_usage_seconds_total")...), at, 7+float64(4*i))
			b.Add(labels.FromStrings(append(of, "container_memory_working_set_bytes")...), at, 64<<20)
			require.NoError(t, store.Put("edge-1", &b))
		}
		o.Resources = store
	})
}

func TestExplainUsage(t *testing.T) {
	a := startUsageAPI(t)
	out, err := a.run("explain", "pods/sample-1", "cpu")
	require.NoError(t, err)
	require.Regexp(t, `^✓ object +pod sample-1 exists
(· autoscaler .*
)?✓ kubelet +the kubelet of node "edge-1" reports 1 pod with 1 container, last scrape 0s ago
✓ container +the kubelet reports container web of the pod
✓ samples +web: 11.000 s of CPU at .* UTC, 7.000 s at .* UTC: 250m cores
✓ value +250m cores, over 16s, last sample 0s ago

cpu of pods/sample-1 in namespace default is 250m
$`, out)
	out, err = a.run("explain", "pods/sample-2", "memory")
	require.ErrorIs(t, err, ErrReported)
	require.Contains(t, out, "memory of pods/sample-2 in namespace default has no value: the kubelet of node \"edge-1\" does not report the pod\n")
	out, err = a.run("explain", "pods/sample-1", "memory", "-o", "json")
	require.NoError(t, err)
	var explanation explain.Explanation
	require.NoError(t, json.Unmarshal([]byte(out), &explanation))
	require.Equal(t, [2]string{"64Mi", "bytes"}, [2]string{explanation.Value, string(explanation.Unit)})
	out, err = a.run("explain", "nodes/edge-1", "cpu")
	require.ErrorIs(t, err, ErrReported)
	require.Contains(t, out, "cpu of nodes/edge-1 has no value: the kubelet of node \"edge-1\" does not report the node\n")
	out, err = a.run("explain", "pods", "cpu", "-l", "app=sample")
	require.ErrorIs(t, err, ErrReported)
	require.Contains(t, out, "cpu of pods in namespace default has a value for 1 of 2 pods; sample-2 has none: the kubelet")
}

// The Resource metrics of an HPA are explained, and say why they have no value, if promlet serves them.
func TestHPAUsage(t *testing.T) {
	a := startUsageAPI(t)
	out, err := a.run("explain", "hpa/fine")
	require.ErrorIs(t, err, ErrReported)
	require.Contains(t, out, "cpu of pods in namespace default has a value for 1 of 2 pods; sample-2 has none: the kubelet of node \"edge-1\" does not report the pod\ncpu of pods is 75% in the HPA's status, target 80%\n")
	out, err = a.run("hpa", "usage")
	require.NoError(t, err)
	require.Contains(t, out, "\ndefault/usage: memory of container web: sample-2 has none: the kubelet of node \"edge-1\" does not report the pod\n")
	require.Regexp(t, `cpu +pods +250m per pod +200m per pod +above target`, out)
}
