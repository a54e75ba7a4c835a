package discovery

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"github.com/promlet/promlet/discovery/internal/storetest"
	"github.com/promlet/promlet/discovery/objects"
)

// cluster makes services of 20 pods each, with a ServiceMonitor each.
func clusterOf(tb testing.TB, services int) *objects.Store {
	tb.Helper()
	var texts []string
	for s := range services {
		text := fmt.Sprintf(`
apiVersion: v1
kind: Service
metadata: {name: s%[1]d, labels: {app: s%[1]d}}
---
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata: {name: s%[1]d}
spec: {selector: {matchLabels: {app: s%[1]d}}, endpoints: [{port: http}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: s%[1]d, labels: {kubernetes.io/service-name: s%[1]d}}
ports: [{name: http, port: 80}]
endpoints:
`, s)
		pods := ""
		for p := range 20 {
			text += fmt.Sprintf("- {addresses: [10.1.%d.%d], targetRef: {kind: Pod, name: s%d-%d}}\n", s, p, s, p)
			pods += fmt.Sprintf(`
---
apiVersion: v1
kind: Pod
metadata: {name: s%[1]d-%[2]d, labels: {app: s%[1]d}}
spec: {containers: [{name: c, ports: [{name: http, containerPort: 80}]}]}
status: {podIP: 10.1.%[1]d.%[2]d}
`, s, p)
		}
		texts = append(texts, text+pods)
	}
	return storetest.Load(tb, texts...)
}

// BenchmarkOnePodChanges is the cost of one pod's change among 2,000 pods behind
// 100 monitors.
func BenchmarkOnePodChanges(b *testing.B) {
	o := clusterOf(b, 100)
	d := New(o, Options{})
	_, groups, err := d.Resolve()
	require.NoError(b, err)
	require.Len(b, groups, 100)
	pod := objects.Get[corev1.Pod](o, "default/s7-7")
	b.ReportAllocs()
	for b.Loop() {
		changed := pod.DeepCopy()
		require.NoError(b, storetest.Pods(o).Update(changed))
		if _, _, err := d.Resolve(); err != nil {
			b.Fatal(err)
		}
	}
}
