package discovery

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/promlet/promlet/discovery/internal/runtest"
	"github.com/promlet/promlet/discovery/internal/samples"
	"github.com/promlet/promlet/discovery/internal/storetest"
)

func TestPodMonitorTargets(t *testing.T) {
	for name, tc := range map[string]struct{ spec, want string }{
		"port by name": {
			spec: `{selector: {matchLabels: {app: x}}, podMetricsEndpoints: [{port: metrics}]}`,
			want: `
				podMonitor/default/m/0 10.0.0.1:9090 container=main endpoint=metrics job=default/m namespace=default pod=a
				podMonitor/default/m/0 10.0.0.1:9091 container=setup endpoint=metrics job=default/m namespace=default pod=a
				podMonitor/default/m/0 [fd00::2]:9090 container=main endpoint=metrics job=default/m namespace=default pod=b`,
		},
		"port is a pattern": {
			spec: `{selector: {}, podMetricsEndpoints: [{port: ht+p}]}`,
			want: `podMonitor/default/m/0 10.0.0.1:8080 container=main endpoint=ht+p job=default/m namespace=default pod=a`,
		},
		"portNumber gives no endpoint label": {
			spec: `{selector: {}, podMetricsEndpoints: [{portNumber: 8080}]}`,
			want: `podMonitor/default/m/0 10.0.0.1:8080 container=main job=default/m namespace=default pod=a`,
		},
		"port wins over portNumber, portNumber over targetPort, but not for the endpoint label": {
			spec: `{selector: {}, podMetricsEndpoints: [{port: http, portNumber: 9090, targetPort: 9091}, {portNumber: 8080, targetPort: 9091}]}`,
			want: `
				podMonitor/default/m/0 10.0.0.1:8080 container=main endpoint=http job=default/m namespace=default pod=a
				podMonitor/default/m/1 10.0.0.1:8080 container=main endpoint=9091 job=default/m namespace=default pod=a`,
		},
		"an empty port is none": {
			spec: `{selector: {}, podMetricsEndpoints: [{port: "", targetPort: http}]}`,
			want: `podMonitor/default/m/0 10.0.0.1:8080 container=main endpoint=http job=default/m namespace=default pod=a`,
		},
		"targetPort by number": {
			spec: `{selector: {}, podMetricsEndpoints: [{targetPort: 9091}]}`,
			want: `podMonitor/default/m/0 10.0.0.1:9091 container=setup endpoint=9091 job=default/m namespace=default pod=a`,
		},
		"no port: every port, and containers without any": {
			spec: `{selector: {}, podMetricsEndpoints: [{}]}`,
			want: `
				podMonitor/default/m/0 10.0.0.1:8080 container=main job=default/m namespace=default pod=a
				podMonitor/default/m/0 10.0.0.1:9090 container=main job=default/m namespace=default pod=a
				podMonitor/default/m/0 10.0.0.1 container=helper job=default/m namespace=default pod=a
				podMonitor/default/m/0 10.0.0.1:9091 container=setup job=default/m namespace=default pod=a
				podMonitor/default/m/0 [fd00::2]:9090 container=main job=default/m namespace=default pod=b`,
		},
		"filterRunning": {
			spec: `{selector: {matchExpressions: [{key: job, operator: DoesNotExist}]}, podMetricsEndpoints: [{port: metrics, filterRunning: false}, {port: metrics, filterRunning: true}]}`,
			want: `
				podMonitor/default/m/0 [fd00::2]:9090 container=main endpoint=metrics job=default/m namespace=default pod=b
				podMonitor/default/m/0 10.0.0.3:9090 container=main endpoint=metrics job=default/m namespace=default pod=ended
				podMonitor/default/m/1 [fd00::2]:9090 container=main endpoint=metrics job=default/m namespace=default pod=b`,
		},
		"namespaces": {
			spec: `{namespaceSelector: {matchNames: [other]}, selector: {}, podMetricsEndpoints: [{port: metrics}]}`,
			want: `podMonitor/default/m/0 10.0.0.4:9090 container=main endpoint=metrics job=default/m namespace=other pod=elsewhere`,
		},
		"any namespace": {
			spec: `{namespaceSelector: {any: true}, selector: {matchLabels: {app: x}}, podMetricsEndpoints: [{portNumber: 9090}]}`,
			want: `
				podMonitor/default/m/0 10.0.0.1:9090 container=main job=default/m namespace=default pod=a
				podMonitor/default/m/0 [fd00::2]:9090 container=main job=default/m namespace=default pod=b
				podMonitor/default/m/0 10.0.0.4:9090 container=main job=default/m namespace=other pod=elsewhere`,
		},
		"RoleSelector": {
			spec: `{selectorMechanism: RoleSelector, selector: {matchLabels: {app.kubernetes.io/name: shop}}, podMetricsEndpoints: [{port: http}]}`,
			want: `podMonitor/default/m/0 10.0.0.1:8080 container=main endpoint=http job=default/m namespace=default pod=a`,
		},
		"jobLabel": {
			spec: `{jobLabel: app_kubernetes_io_name, selector: {}, podMetricsEndpoints: [{port: metrics}]}`,
			want: `
				podMonitor/default/m/0 10.0.0.1:9090 container=main endpoint=metrics job=shop namespace=default pod=a
				podMonitor/default/m/0 10.0.0.1:9091 container=setup endpoint=metrics job=shop namespace=default pod=a
				podMonitor/default/m/0 [fd00::2]:9090 container=main endpoint=metrics job=default/m namespace=default pod=b`,
		},
		"podTargetLabels": {
			spec: `{podTargetLabels: [app.kubernetes.io/name, nope], selector: {}, podMetricsEndpoints: [{port: http}]}`,
			want: `podMonitor/default/m/0 10.0.0.1:8080 app_kubernetes_io_name=shop container=main endpoint=http job=default/m namespace=default pod=a`,
		},
		"podTargetLabels win over standard labels, job and endpoint over them": {
			spec: `{podTargetLabels: [job, container, endpoint, pod], selector: {}, podMetricsEndpoints: [{port: http}, {portNumber: 8080}]}`,
			want: `
				podMonitor/default/m/0 10.0.0.1:8080 container=podcontainer endpoint=http job=default/m namespace=default pod=podpod
				podMonitor/default/m/1 10.0.0.1:8080 container=podcontainer endpoint=podendpoint job=default/m namespace=default pod=podpod`,
		},
		"with nodes attached only pods of nodes that are known": {
			spec: `{attachMetadata: {node: true}, selector: {}, podMetricsEndpoints: [{port: metrics}]}`,
			want: `podMonitor/default/m/0 [fd00::2]:9090 container=main endpoint=metrics job=default/m namespace=default pod=b`,
		},
		"no endpoints": {
			spec: `{selector: {}, podMetricsEndpoints: []}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := New(storetest.Load(t, samples.Apps, samples.PodMonitor(tc.spec)), Options{})
			_, groups := runtest.Resolve(t, d)
			require.Equal(t, runtest.WantLines(tc.want), runtest.Lines(groups))
			require.NoError(t, d.Monitors()[0].Err)
		})
	}
}

func TestPodGroupsArePerPod(t *testing.T) {
	_, groups := runtest.Resolve(t, New(storetest.Load(t, samples.Apps, samples.PodMonitor(`{selector: {}, podMetricsEndpoints: [{port: metrics}]}`)), Options{}))
	gs := groups["podMonitor/default/m/0"]
	require.Len(t, gs, 2)
	require.Equal(t, "pod/default/a", gs[0].Source)
	require.Len(t, gs[0].Targets, 2)
	require.Equal(t, "pod/default/b", gs[1].Source)
}
