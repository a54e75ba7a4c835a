package reach_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/promlet/promlet/discovery"
	"github.com/promlet/promlet/discovery/internal/runtest"
	"github.com/promlet/promlet/discovery/internal/samples"
	"github.com/promlet/promlet/discovery/internal/storetest"
)

// TestNoTargets has one monitor without targets in each case.
func TestNoTargets(t *testing.T) {
	const search = `{apiVersion: v1, kind: Service, metadata: {name: search, labels: {app: search, tier: web}}, spec: {ports: [{name: web, port: 80}]}}`
	const cart = `{apiVersion: v1, kind: Service, metadata: {name: cart, labels: {app: cart, tier: web}}}`
	const other = `{apiVersion: v1, kind: Service, metadata: {name: search, namespace: team-a, labels: {app: search}}}`
	const pod = `{apiVersion: v1, kind: Pod, metadata: {name: batch-1, labels: {app: batch}}, status: {phase: Pending}}`
	f := func(want string, objects ...string) {
		t.Helper()
		d := discovery.New(storetest.Load(t, objects...), discovery.Options{Annotations: true})
		runtest.Resolve(t, d)
		all := d.Monitors()
		require.Len(t, all, 1)
		require.Equal(t, want, d.WhyNoTargets(&all[0]))
	}
	serach := samples.ServiceMonitor(`{selector: {matchLabels: {app: serach}}, endpoints: [{port: web}]}`)
	f(`there is no Service in namespace default, and the monitor looks into no other: its namespaceSelector can name more`, serach)
	f(`it selects no Service in namespace default; the closest is search: it wants the label app=serach, the Service has app=search`, cart, search, serach)
	f(`it selects no Service in any namespace; the closest is team-a/search: it wants the label app=serach, the Service has app=search`, other, cart,
		samples.ServiceMonitor(`{namespaceSelector: {any: true}, selector: {matchLabels: {app: serach}}, endpoints: [{port: web}]}`))
	f(`there is no Service in the namespaces team-a, team-b`, search,
		samples.ServiceMonitor(`{namespaceSelector: {matchNames: [team-b, team-a]}, selector: {}, endpoints: [{port: web}]}`))
	f(`it selects Service search: the Service has no selector, and nobody has made an EndpointSlice for it`, search,
		samples.ServiceMonitor(`{selector: {matchLabels: {app: search}}, endpoints: [{port: web}]}`))
	f(`it selects Pod batch-1: no container of the pod has a port named "web" (they have none)`, pod, samples.PodMonitor(`{selector: {matchLabels: {app: batch}}, podMetricsEndpoints: [{port: web}]}`))
	f(`it selects Pod batch-1, but its relabelings drop all targets`, `{apiVersion: v1, kind: Pod, metadata: {name: batch-1, labels: {app: batch}}, spec: {containers: [{name: a, ports: [{name: web, containerPort: 80}]}]}, status: {phase: Running, podIP: 10.0.0.1}}`,
		samples.PodMonitor(`{selector: {matchLabels: {app: batch}}, podMetricsEndpoints: [{port: web, relabelings: [{action: drop}]}]}`))
	f(`it selects no Pod in namespace default; the closest is batch-1: it wants the label app=bash, the pod has app=batch`, pod,
		samples.PodMonitor(`{selector: {matchLabels: {app: bash}}, podMetricsEndpoints: [{port: web}]}`))
	f(``, search, samples.ServiceMonitor(`{selector: {matchLabels: {"-": x}}, endpoints: [{port: web}]}`))
	f(`no pod matches the Service's selector a=b`, `{apiVersion: v1, kind: Service, metadata: {name: s, annotations: {prometheus.io/scrape: "true"}}, spec: {selector: {a: b}}}`)
}
