package discovery

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
)

// cluster makes services of 20 pods each, with a ServiceMonitor each.
func clusterOf(tb testing.TB, services int) *Objects {
	tb.Helper()
	var files []*manifestFile
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
		objects, errs := parseManifest("bench.yaml", []byte(text+pods), nil)
		require.Empty(tb, errs)
		files = append(files, &manifestFile{path: fmt.Sprint(s), objects: objects})
	}
	set, problems := assemble(files)
	require.Empty(tb, problems)
	o := NewObjects()
	set.store(o)
	return o
}

// BenchmarkOnePodChanges is the cost of one pod's change among 2,000 pods behind
// 100 monitors.
func BenchmarkOnePodChanges(b *testing.B) {
	o := clusterOf(b, 100)
	d := New(o, Options{})
	_, groups, err := d.Resolve()
	require.NoError(b, err)
	require.Len(b, groups, 100)
	pod := get[corev1.Pod](o.pods, "default/s7-7")
	b.ReportAllocs()
	for b.Loop() {
		changed := pod.DeepCopy()
		require.NoError(b, o.pods.Update(changed))
		if _, _, err := d.Resolve(); err != nil {
			b.Fatal(err)
		}
	}
}
