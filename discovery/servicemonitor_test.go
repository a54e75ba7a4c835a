package discovery

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/promlet/promlet/discovery/internal/runtest"
	"github.com/promlet/promlet/discovery/internal/samples"
	"github.com/promlet/promlet/discovery/internal/storetest"
)

// web is a Service with two pods behind two named ports and one pod port that the
// Service does not know.
func TestServiceMonitorTargets(t *testing.T) {
	const webMetrics = `
		serviceMonitor/default/m/0 10.0.0.1:9090 container=server endpoint=metrics job=web namespace=default pod=web-a service=web
		serviceMonitor/default/m/0 10.0.0.2:9090 container=server endpoint=metrics job=web namespace=default pod=web-b service=web`
	for name, tc := range map[string]struct {
		spec, want string
		objects    []string // besides web
	}{
		"by matchLabels, a pod that is not ready is scraped too": {
			spec: `{selector: {matchLabels: {app: web}}, endpoints: [{port: metrics}]}`,
			want: webMetrics,
		},
		"selector that does not match": {
			spec: `{selector: {matchLabels: {app: other}}, endpoints: [{port: metrics}]}`,
		},
		"every expression must match": {
			spec: `{selector: {matchExpressions: [{key: app, operator: In, values: [x, web]}, {key: team, operator: Exists},
				{key: nope, operator: DoesNotExist}, {key: team, operator: NotIn, values: [red]}]}, endpoints: [{port: metrics}]}`,
			want: webMetrics,
		},
		"In": {
			spec: `{selector: {matchExpressions: [{key: app, operator: In, values: [x, z]}]}, endpoints: [{port: metrics}]}`,
		},
		"NotIn": {
			spec: `{selector: {matchExpressions: [{key: app, operator: NotIn, values: [web]}]}, endpoints: [{port: metrics}]}`,
		},
		"NotIn holds without the label": {
			spec: `{selector: {matchExpressions: [{key: absent, operator: NotIn, values: [web]}]}, endpoints: [{port: metrics}]}`,
			want: webMetrics,
		},
		"Exists": {
			spec: `{selector: {matchExpressions: [{key: nope, operator: Exists}]}, endpoints: [{port: metrics}]}`,
		},
		"Exists with an empty value": {
			spec: `{selector: {matchExpressions: [{key: empty, operator: Exists}]}, endpoints: [{port: metrics}]}`,
			want: webMetrics,
		},
		"DoesNotExist": {
			spec: `{selector: {matchExpressions: [{key: team, operator: DoesNotExist}]}, endpoints: [{port: metrics}]}`,
		},
		"empty selector": {
			spec: `{selector: {}, endpoints: [{port: metrics}]}`,
			want: webMetrics,
		},
		"label names as relabelings see them": {
			spec: `{selector: {matchLabels: {app_kubernetes_io_name: shop}}, endpoints: [{port: metrics}]}`,
			want: webMetrics,
		},
		"label names as Kubernetes sees them, by RoleSelector": {
			spec: `{selectorMechanism: RoleSelector, selector: {matchLabels: {app_kubernetes_io_name: shop}}, endpoints: [{port: metrics}]}`,
		},
		"RoleSelector": {
			spec: `{selectorMechanism: RoleSelector, selector: {matchLabels: {app: web}}, endpoints: [{port: metrics}]}`,
			want: webMetrics,
		},
		"a dot stands for any character, as in the operator's relabelings": {
			spec: `{selector: {matchLabels: {app: w.b}}, endpoints: [{port: metrics}]}`,
			want: webMetrics,
		},
		"a dot is a dot, by RoleSelector": {
			spec: `{selectorMechanism: RoleSelector, selector: {matchLabels: {app: w.b}}, endpoints: [{port: metrics}]}`,
		},
		"another namespace": {
			spec: `{namespaceSelector: {matchNames: [other]}, selector: {matchLabels: {app: web}}, endpoints: [{port: metrics}]}`,
		},
		"several namespaces, one twice": {
			spec: `{namespaceSelector: {matchNames: [other, default, default]}, selector: {matchLabels: {app: web}}, endpoints: [{port: metrics}]}`,
			want: webMetrics,
		},
		"any namespace wins over names": {
			spec: `{namespaceSelector: {any: true, matchNames: [other]}, selector: {matchLabels: {app: web}}, endpoints: [{port: metrics}]}`,
			want: webMetrics,
		},
		"port that does not exist": {
			spec: `{selector: {}, endpoints: [{port: nope}]}`,
		},
		"port is a pattern": {
			spec: `{selector: {}, endpoints: [{port: "met.*"}]}`,
			want: `
				serviceMonitor/default/m/0 10.0.0.1:9090 container=server endpoint=met.* job=web namespace=default pod=web-a service=web
				serviceMonitor/default/m/0 10.0.0.2:9090 container=server endpoint=met.* job=web namespace=default pod=web-b service=web`,
		},
		"port wins over targetPort": {
			spec: `{selector: {}, endpoints: [{port: metrics, targetPort: 8080}]}`,
			want: webMetrics,
		},
		"targetPort by name": {
			spec: `{selector: {}, endpoints: [{targetPort: prom}]}`,
			want: `
				serviceMonitor/default/m/0 10.0.0.1:9090 container=server endpoint=prom job=web namespace=default pod=web-a service=web
				serviceMonitor/default/m/0 10.0.0.2:9090 container=server endpoint=prom job=web namespace=default pod=web-b service=web`,
		},
		"targetPort by number": {
			spec: `{selector: {}, endpoints: [{targetPort: 9090}]}`,
			want: `
				serviceMonitor/default/m/0 10.0.0.1:9090 container=server endpoint=9090 job=web namespace=default pod=web-a service=web
				serviceMonitor/default/m/0 10.0.0.2:9090 container=server endpoint=9090 job=web namespace=default pod=web-b service=web`,
		},
		"targetPort as a string of digits is a name": {
			spec: `{selector: {}, endpoints: [{targetPort: "9090"}]}`,
		},
		"targetPort that is no port of the Service": {
			spec: `{selector: {}, endpoints: [{targetPort: admin}]}`,
			want: `serviceMonitor/default/m/0 10.0.0.1:15000 container=sidecar endpoint=admin job=web namespace=default pod=web-a service=web`,
		},
		"neither port nor targetPort: every port, of the Service and of the pods": {
			spec: `{selector: {}, endpoints: [{}]}`,
			want: `
				serviceMonitor/default/m/0 10.0.0.1:8080 container=server job=web namespace=default pod=web-a service=web
				serviceMonitor/default/m/0 10.0.0.1:9090 container=server job=web namespace=default pod=web-a service=web
				serviceMonitor/default/m/0 10.0.0.1:15000 container=sidecar job=web namespace=default pod=web-a service=web
				serviceMonitor/default/m/0 10.0.0.2:8080 container=server job=web namespace=default pod=web-b service=web
				serviceMonitor/default/m/0 10.0.0.2:9090 container=server job=web namespace=default pod=web-b service=web`,
		},
		"targetPort 0 filters nothing and is a label": {
			spec: `{selector: {matchLabels: {team: blue}}, endpoints: [{targetPort: 0}]}`,
			want: `
				serviceMonitor/default/m/0 10.0.0.1:8080 container=server endpoint=0 job=web namespace=default pod=web-a service=web
				serviceMonitor/default/m/0 10.0.0.1:9090 container=server endpoint=0 job=web namespace=default pod=web-a service=web
				serviceMonitor/default/m/0 10.0.0.1:15000 container=sidecar endpoint=0 job=web namespace=default pod=web-a service=web
				serviceMonitor/default/m/0 10.0.0.2:8080 container=server endpoint=0 job=web namespace=default pod=web-b service=web
				serviceMonitor/default/m/0 10.0.0.2:9090 container=server endpoint=0 job=web namespace=default pod=web-b service=web`,
		},
		"several endpoints are several jobs": {
			spec: `{selector: {}, endpoints: [{port: metrics}, {port: nope}, {port: http}]}`,
			want: webMetrics + `
				serviceMonitor/default/m/2 10.0.0.1:8080 container=server endpoint=http job=web namespace=default pod=web-a service=web
				serviceMonitor/default/m/2 10.0.0.2:8080 container=server endpoint=http job=web namespace=default pod=web-b service=web`,
		},
		"jobLabel": {
			spec: `{jobLabel: app.kubernetes.io/name, selector: {}, endpoints: [{targetPort: admin}]}`,
			want: `serviceMonitor/default/m/0 10.0.0.1:15000 container=sidecar endpoint=admin job=shop namespace=default pod=web-a service=web`,
		},
		"jobLabel that the Service does not have": {
			spec: `{jobLabel: nope, selector: {}, endpoints: [{targetPort: admin}]}`,
			want: `serviceMonitor/default/m/0 10.0.0.1:15000 container=sidecar endpoint=admin job=web namespace=default pod=web-a service=web`,
		},
		"jobLabel that is empty": {
			spec: `{jobLabel: empty, selector: {}, endpoints: [{targetPort: admin}]}`,
			want: `serviceMonitor/default/m/0 10.0.0.1:15000 container=sidecar endpoint=admin job=web namespace=default pod=web-a service=web`,
		},
		"targetLabels and podTargetLabels, only with a value": {
			spec: `{targetLabels: [team, app.kubernetes.io/name, nope, empty], podTargetLabels: [version, tier, nope],
				selector: {}, endpoints: [{port: metrics}]}`,
			want: `
				serviceMonitor/default/m/0 10.0.0.1:9090 app_kubernetes_io_name=shop container=server endpoint=metrics job=web namespace=default pod=web-a service=web team=blue version=v1
				serviceMonitor/default/m/0 10.0.0.2:9090 app_kubernetes_io_name=shop container=server endpoint=metrics job=web namespace=default pod=web-b service=web team=blue version=v2`,
		},
		"targetLabels by the name they will have": {
			spec: `{targetLabels: [app_kubernetes_io_name], selector: {}, endpoints: [{targetPort: admin}]}`,
			want: `serviceMonitor/default/m/0 10.0.0.1:15000 app_kubernetes_io_name=shop container=sidecar endpoint=admin job=web namespace=default pod=web-a service=web`,
		},
		"podTargetLabels win over targetLabels": {
			spec:    `{targetLabels: [app], podTargetLabels: [app], selector: {matchLabels: {app: over}}, endpoints: [{port: p}]}`,
			objects: []string{overriding},
			want:    `serviceMonitor/default/m/0 10.0.0.9:1 app=podapp container=c endpoint=p job=over namespace=default pod=over-a service=over`,
		},
		"targetLabels win over standard labels, job and endpoint win over them": {
			spec:    `{targetLabels: [pod, namespace, job, endpoint, service, container], selector: {matchLabels: {app: over}}, endpoints: [{port: p}]}`,
			objects: []string{overriding},
			want:    `serviceMonitor/default/m/0 10.0.0.9:1 container=svccontainer endpoint=p job=over namespace=svcns pod=svcpod service=svcservice`,
		},
		"podTargetLabels win over standard labels, job and endpoint win over them": {
			spec:    `{podTargetLabels: [pod, namespace, job, endpoint, service], selector: {matchLabels: {app: over}}, endpoints: [{port: p}]}`,
			objects: []string{overriding},
			want:    `serviceMonitor/default/m/0 10.0.0.9:1 container=c endpoint=p job=over namespace=podns pod=podpod service=podservice`,
		},
		"without an endpoint label a podTargetLabel may be it": {
			spec:    `{podTargetLabels: [endpoint], selector: {matchLabels: {app: over}}, endpoints: [{}]}`,
			objects: []string{overriding},
			want:    `serviceMonitor/default/m/0 10.0.0.9:1 container=c endpoint=podendpoint job=over namespace=default pod=over-a service=over`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := New(storetest.Load(t, append(tc.objects, samples.Web, samples.ServiceMonitor(tc.spec))...), Options{})
			_, groups := runtest.Resolve(t, d)
			require.Equal(t, runtest.WantLines(tc.want), runtest.Lines(groups))
			statuses := d.Monitors()
			require.Len(t, statuses, 1)
			require.NoError(t, statuses[0].Err)
			require.Equal(t, len(runtest.WantLines(tc.want)), statuses[0].Targets)
		})
	}
}

// overriding is a Service and a pod whose labels have the names of target labels.
const overriding = `
apiVersion: v1
kind: Service
metadata: {name: over, labels: {app: over, pod: svcpod, namespace: svcns, job: svcjob, endpoint: svcendpoint, service: svcservice, container: svccontainer}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: over-1, labels: {kubernetes.io/service-name: over}}
addressType: IPv4
ports: [{name: p, port: 1}]
endpoints: [{addresses: [10.0.0.9], targetRef: {kind: Pod, name: over-a}}]
---
apiVersion: v1
kind: Pod
metadata: {name: over-a, labels: {app: podapp, pod: podpod, namespace: podns, job: podjob, endpoint: podendpoint, service: podservice}}
spec: {containers: [{name: c, ports: [{containerPort: 1}]}]}
status: {podIP: 10.0.0.9}
`

func TestServiceMonitorEndpoints(t *testing.T) {
	const service = `
apiVersion: v1
kind: Service
metadata: {name: s}
`
	slice := func(rest string) string {
		return service + `
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: s-1, labels: {kubernetes.io/service-name: s}}
` + rest
	}
	pod := func(name, ip, phase string) string {
		return `
apiVersion: v1
kind: Pod
metadata: {name: ` + name + `}
spec: {containers: [{name: c, ports: [{containerPort: 1}]}], initContainers: [{name: init, ports: [{containerPort: 2}]}]}
status: {podIP: "` + ip + `", phase: ` + phase + `}`
	}
	for name, tc := range map[string]struct {
		objects []string
		want    string
	}{
		"IPv6 addresses are in brackets": {
			objects: []string{slice("addressType: IPv6\nports: [{port: 80}]\nendpoints: [{addresses: ['fd00::1']}]")},
			want:    `serviceMonitor/default/m/0 [fd00::1]:80 job=s namespace=default service=s`,
		},
		"several addresses of one endpoint": {
			objects: []string{slice("addressType: IPv4\nports: [{port: 80}]\nendpoints: [{addresses: [10.0.0.1, 10.0.0.2]}]")},
			want: `
				serviceMonitor/default/m/0 10.0.0.1:80 job=s namespace=default service=s
				serviceMonitor/default/m/0 10.0.0.2:80 job=s namespace=default service=s`,
		},
		"names instead of addresses": {
			objects: []string{slice("addressType: FQDN\nports: [{port: 80}]\nendpoints: [{addresses: [db.example.org]}]")},
			want:    `serviceMonitor/default/m/0 db.example.org:80 job=s namespace=default service=s`,
		},
		"a port without number": {
			objects: []string{slice("addressType: IPv4\nports: [{name: all}]\nendpoints: [{addresses: [10.0.0.1]}]")},
			want:    `serviceMonitor/default/m/0 10.0.0.1 job=s namespace=default service=s`,
		},
		"a node": {
			objects: []string{slice("addressType: IPv4\nports: [{port: 80}]\nendpoints: [{addresses: [10.0.0.1], targetRef: {kind: Node, name: n1}}]")},
			want:    `serviceMonitor/default/m/0 10.0.0.1:80 job=s namespace=default node=n1 service=s`,
		},
		"a pod that is not known is not named": {
			objects: []string{slice("addressType: IPv4\nports: [{port: 80}]\nendpoints: [{addresses: [10.0.0.1], targetRef: {kind: Pod, name: gone}}]")},
			want:    `serviceMonitor/default/m/0 10.0.0.1:80 job=s namespace=default service=s`,
		},
		"init containers' ports count": {
			objects: []string{slice("addressType: IPv4\nports: [{port: 1}]\nendpoints: [{addresses: [10.0.0.1], targetRef: {kind: Pod, name: p}}]"), pod("p", "10.0.0.1", "Running")},
			want: `
				serviceMonitor/default/m/0 10.0.0.1:1 container=c job=s namespace=default pod=p service=s
				serviceMonitor/default/m/0 10.0.0.1:2 container=init job=s namespace=default pod=p service=s`,
		},
		"a pod without address has the ports of the Service only": {
			objects: []string{slice("addressType: IPv4\nports: [{port: 1}]\nendpoints: [{addresses: [10.0.0.1], targetRef: {kind: Pod, name: p}}]"), pod("p", "", "Pending")},
			want:    `serviceMonitor/default/m/0 10.0.0.1:1 container=c job=s namespace=default pod=p service=s`,
		},
		"pods that have ended are not scraped": {
			objects: []string{
				slice("addressType: IPv4\nports: [{port: 1}]\nendpoints: [{addresses: [10.0.0.1], targetRef: {kind: Pod, name: p}}, {addresses: [10.0.0.2], targetRef: {kind: Pod, name: q}}]"),
				pod("p", "10.0.0.1", "Failed"), pod("q", "10.0.0.2", "Succeeded"),
			},
		},
		"a pod behind two slices": {
			objects: []string{
				slice("addressType: IPv4\nports: [{port: 1}]\nendpoints: [{addresses: [10.0.0.1], targetRef: {kind: Pod, name: p}}]"), pod("p", "10.0.0.1", "Running"), `
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: s-2, labels: {kubernetes.io/service-name: s}}
addressType: IPv4
ports: [{port: 2}]
endpoints: [{addresses: [10.0.0.1], targetRef: {kind: Pod, name: p}}]`,
			},
			// Each slice has the other's port as one it does not cover, as in
			// Prometheus, whose scraper takes equal targets for one.
			want: `
				serviceMonitor/default/m/0 10.0.0.1:1 container=c job=s namespace=default pod=p service=s
				serviceMonitor/default/m/0 10.0.0.1:1 container=c job=s namespace=default pod=p service=s
				serviceMonitor/default/m/0 10.0.0.1:2 container=init job=s namespace=default pod=p service=s
				serviceMonitor/default/m/0 10.0.0.1:2 container=init job=s namespace=default pod=p service=s`,
		},
		"the second family of a dual-stack Service": {
			objects: []string{`
apiVersion: v1
kind: Service
metadata: {name: d}
spec: {ipFamilyPolicy: PreferDualStack, ipFamilies: [IPv6, IPv4]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: d-4, labels: {kubernetes.io/service-name: d}}
addressType: IPv4
ports: [{port: 1}]
endpoints: [{addresses: [10.0.0.1]}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: d-6, labels: {kubernetes.io/service-name: d}}
addressType: IPv6
ports: [{port: 1}]
endpoints: [{addresses: ["fd00::1"]}]`},
			want: `serviceMonitor/default/m/0 [fd00::1]:1 job=d namespace=default service=d`,
		},
		"a slice of no Service": {
			objects: []string{`
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: lone}
addressType: IPv4
ports: [{port: 1}]
endpoints: [{addresses: [10.0.0.1]}]`},
			want: `serviceMonitor/default/m/0 10.0.0.1:1 namespace=default`,
		},
		"the last container with the port is the target's": {
			objects: []string{slice("addressType: IPv4\nports: [{port: 1}]\nendpoints: [{addresses: [10.0.0.1], targetRef: {kind: Pod, name: p}}]"), `
apiVersion: v1
kind: Pod
metadata: {name: p}
spec: {containers: [{name: a, ports: [{containerPort: 1}]}, {name: b, ports: [{containerPort: 1}]}]}
status: {podIP: 10.0.0.1}`},
			want: `serviceMonitor/default/m/0 10.0.0.1:1 container=b job=s namespace=default pod=p service=s`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, groups := runtest.Resolve(t, New(storetest.Load(t, append(tc.objects, samples.AnyMonitor())...), Options{}))
			require.Equal(t, runtest.WantLines(tc.want), runtest.Lines(groups))
		})
	}
}

func TestServiceMonitorFilterRunning(t *testing.T) {
	objects := []string{samples.Web, `
apiVersion: v1
kind: Pod
metadata: {name: web-a2}
status: {podIP: 10.0.0.3, phase: Succeeded}
`, samples.ServiceMonitor(`{selector: {}, endpoints: [{port: p, filterRunning: false}, {port: p, filterRunning: true}, {port: p}]}`), `
apiVersion: v1
kind: Service
metadata: {name: s}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: s-1, labels: {kubernetes.io/service-name: s}}
addressType: IPv4
ports: [{name: p, port: 1}]
endpoints: [{addresses: [10.0.0.3], targetRef: {kind: Pod, name: web-a2}}]`}
	_, groups := runtest.Resolve(t, New(storetest.Load(t, objects...), Options{}))
	require.Equal(t, runtest.WantLines(`serviceMonitor/default/m/0 10.0.0.3:1 endpoint=p job=s namespace=default pod=web-a2 service=s`), runtest.Lines(groups))
}

func TestRoleSelectorLooksAtSlices(t *testing.T) {
	// With RoleSelector both the Service and the EndpointSlice must have the
	// labels; a slice that has them without its Service belongs to none.
	spec := `{selectorMechanism: RoleSelector, selector: {matchLabels: {x: "1"}}, endpoints: [{port: p}]}`
	object := func(serviceLabels, sliceLabels string) string {
		return `
apiVersion: v1
kind: Service
metadata: {name: s, labels: {` + serviceLabels + `}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: s-1, labels: {kubernetes.io/service-name: s, ` + sliceLabels + `}}
addressType: IPv4
ports: [{name: p, port: 1}]
endpoints: [{addresses: [10.0.0.3]}]`
	}
	for name, tc := range map[string]struct{ service, slice, want string }{
		"both":         {`x: "1"`, `x: "1"`, `serviceMonitor/default/m/0 10.0.0.3:1 endpoint=p job=s namespace=default service=s`},
		"service only": {`x: "1"`, `z: "1"`, ``},
		"slice only":   {`z: "1"`, `x: "1"`, `serviceMonitor/default/m/0 10.0.0.3:1 endpoint=p namespace=default`},
		"neither":      {`z: "1"`, `z: "1"`, ``},
	} {
		t.Run(name, func(t *testing.T) {
			_, groups := runtest.Resolve(t, New(storetest.Load(t, object(tc.service, tc.slice), samples.ServiceMonitor(spec)), Options{}))
			require.Equal(t, runtest.WantLines(tc.want), runtest.Lines(groups))
		})
	}
}
