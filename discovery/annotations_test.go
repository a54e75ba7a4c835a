package discovery

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func annotatedService(name, annotations string) string {
	return `
apiVersion: v1
kind: Service
metadata: {name: ` + name + `, annotations: {` + annotations + `}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: ` + name + `-1, labels: {kubernetes.io/service-name: ` + name + `}}
addressType: IPv4
ports: [{name: http, port: 8080}, {name: same, port: 8080}, {name: metrics, port: 9090}, {name: dns, port: 53, protocol: UDP}]
endpoints:
- {addresses: [10.0.0.1], conditions: {ready: false}, targetRef: {kind: Pod, name: ` + name + `-a}}
- {addresses: [10.0.0.9]}
`
}

func annotatedPod(name, annotations, rest string) string {
	return `
apiVersion: v1
kind: Pod
metadata: {name: ` + name + `, annotations: {` + annotations + `}` + rest + `}
spec:
  containers:
  - {name: main, ports: [{name: http, containerPort: 8080}, {name: dns, containerPort: 53, protocol: UDP}]}
  - {name: exporter, ports: [{containerPort: 9090}, {containerPort: 8080}]}
  initContainers:
  - {name: sidecar, restartPolicy: Always, ports: [{containerPort: 15090}]}
  - {name: setup, ports: [{containerPort: 1}]}
status: {podIP: 10.0.0.1}
`
}

func TestAnnotations(t *testing.T) {
	const yes = `prometheus.io/scrape: "true"`
	for name, tc := range map[string]struct {
		objects []string
		want    string
	}{
		"a service: the TCP ports of its endpoints": {
			objects: []string{annotatedService("s", yes), annotatedPod("s-a", "", "")},
			want: `
				annotations/services 10.0.0.1:8080 container=exporter job=s namespace=default pod=s-a service=s
				annotations/services 10.0.0.1:9090 container=exporter job=s namespace=default pod=s-a service=s
				annotations/services 10.0.0.9:8080 job=s namespace=default service=s
				annotations/services 10.0.0.9:9090 job=s namespace=default service=s`,
		},
		"a service: port, path and scheme": {
			objects: []string{annotatedService("s", yes+`, prometheus.io/port: "9090", prometheus.io/path: /stats, prometheus.io/scheme: HTTPS`), annotatedPod("s-a", "", "")},
			want: `
				annotations/services 10.0.0.1:9090 __metrics_path__=/stats __scheme__=https container=exporter job=s namespace=default pod=s-a service=s
				annotations/services 10.0.0.9:9090 __metrics_path__=/stats __scheme__=https job=s namespace=default service=s`,
		},
		"a port that no container declares": {
			objects: []string{annotatedService("s", yes+`, prometheus.io/port: "7"`), annotatedPod("s-a", "", "")},
			want: `
				annotations/services 10.0.0.1:7 job=s namespace=default pod=s-a service=s
				annotations/services 10.0.0.9:7 job=s namespace=default service=s`,
		},
		"scrape must be true": {
			objects: []string{
				annotatedService("s", `prometheus.io/scrape: "false"`), annotatedService("r", `prometheus.io/port: "1"`),
				annotatedPod("s-a", `prometheus.io/scrape: "yes"`, ""),
			},
		},
		"a pod: the TCP ports of its containers and sidecars": {
			objects: []string{annotatedPod("p", yes, "")},
			want: `
				annotations/pods 10.0.0.1:8080 container=exporter job=default/p namespace=default pod=p
				annotations/pods 10.0.0.1:9090 container=exporter job=default/p namespace=default pod=p
				annotations/pods 10.0.0.1:15090 container=sidecar job=default/p namespace=default pod=p`,
		},
		"a pod: port, path and scheme": {
			objects: []string{annotatedPod("p", yes+`, prometheus.io/port: "9090", prometheus.io/path: /stats, prometheus.io/scheme: http`, "")},
			want:    `annotations/pods 10.0.0.1:9090 __metrics_path__=/stats __scheme__=http container=exporter job=default/p namespace=default pod=p`,
		},
		"a pod of a Deployment": {
			objects: []string{annotatedPod("p", yes+`, prometheus.io/port: "9090"`, `, labels: {pod-template-hash: abc12},
				ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: web-abc12, uid: "1", controller: true}]`)},
			want: `annotations/pods 10.0.0.1:9090 container=exporter job=default/web namespace=default pod=p`,
		},
		"a pod of a StatefulSet": {
			objects: []string{annotatedPod("p", yes+`, prometheus.io/port: "9090"`, `,
				ownerReferences: [{apiVersion: apps/v1, kind: StatefulSet, name: db-abc12, uid: "1", controller: true}]`)},
			want: `annotations/pods 10.0.0.1:9090 container=exporter job=default/db-abc12 namespace=default pod=p`,
		},
		"a pod of an annotated service is scraped once": {
			objects: []string{annotatedService("s", yes+`, prometheus.io/port: "9090"`), annotatedPod("s-a", yes+`, prometheus.io/port: "8080"`, "")},
			want: `
				annotations/services 10.0.0.1:9090 container=exporter job=s namespace=default pod=s-a service=s
				annotations/services 10.0.0.9:9090 job=s namespace=default service=s`,
		},
		"a pod of a service that is not annotated": {
			objects: []string{annotatedService("s", ""), annotatedPod("s-a", yes+`, prometheus.io/port: "8080"`, "")},
			want:    `annotations/pods 10.0.0.1:8080 container=exporter job=default/s-a namespace=default pod=s-a`,
		},
		"pods that have ended or have no address": {
			objects: []string{`
apiVersion: v1
kind: Pod
metadata: {name: p, annotations: {prometheus.io/scrape: "true", prometheus.io/port: "1"}}
status: {podIP: 10.0.0.1, phase: Failed}
---
apiVersion: v1
kind: Pod
metadata: {name: q, annotations: {prometheus.io/scrape: "true", prometheus.io/port: "1"}}
---
apiVersion: v1
kind: Pod
metadata: {name: no-ports, annotations: {prometheus.io/scrape: "true"}}
spec: {containers: [{name: c}]}
status: {podIP: 10.0.0.1}`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := load(t, tc.objects...)
			configs, groups := resolve(t, New(o, Options{Annotations: true}))
			require.Equal(t, wantLines(tc.want), lines(groups))
			require.Len(t, configs, 2)

			configs, groups = resolve(t, New(o, Options{}))
			require.Empty(t, configs, "annotations are off by default")
			require.Empty(t, groups)
		})
	}
}

func TestAnnotationsOfDualStackService(t *testing.T) {
	o := load(t, `
apiVersion: v1
kind: Service
metadata: {name: d, annotations: {prometheus.io/scrape: "true"}}
spec: {ipFamilyPolicy: RequireDualStack, ipFamilies: [IPv4, IPv6]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: d-4, labels: {kubernetes.io/service-name: d}}
ports: [{port: 1}]
endpoints: [{addresses: [10.0.0.1]}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: d-6, labels: {kubernetes.io/service-name: d}}
ports: [{port: 1}]
endpoints: [{addresses: ["fd00::1"]}]
`)
	_, groups := resolve(t, New(o, Options{Annotations: true}))
	require.Equal(t, wantLines("annotations/services 10.0.0.1:1 job=d namespace=default service=d"), lines(groups))
}

func TestBadAnnotations(t *testing.T) {
	for annotation, want := range map[string]string{
		`prometheus.io/port: http`:    `metadata.annotations[prometheus.io/port]: "http" is not a port number`,
		`prometheus.io/port: "0"`:     `metadata.annotations[prometheus.io/port]: "0" is not a port number`,
		`prometheus.io/port: "65536"`: `metadata.annotations[prometheus.io/port]: "65536" is not a port number`,
		`prometheus.io/scheme: ftp`:   `metadata.annotations[prometheus.io/scheme]: "ftp" is neither http nor https`,
	} {
		const yes = `prometheus.io/scrape: "true", `
		d := New(load(t, annotatedService("s", yes+annotation), annotatedPod("p", yes+annotation, ""),
			annotatedPod("good", yes+`prometheus.io/port: "9090"`, "")), Options{Annotations: true})
		_, groups := resolve(t, d)
		require.Equal(t, want, rejected(d, "s"))
		require.Equal(t, want, rejected(d, "p"))
		require.Equal(t, wantLines("annotations/pods 10.0.0.1:9090 container=exporter job=default/good namespace=default pod=good"),
			lines(groups), "the others go on")
	}
}

func TestAnnotationStatus(t *testing.T) {
	d := New(load(t, annotatedService("s", `prometheus.io/scrape: "true"`),
		annotatedPod("p", `prometheus.io/scrape: "true", prometheus.io/port: "9090"`, "")), Options{Annotations: true})
	require.Empty(t, d.Monitors(), "nothing is known before the first pass")
	resolve(t, d)
	require.Equal(t, []MonitorStatus{
		{Kind: "Pod", Namespace: "default", Name: "p", Origin: OriginAnnotation, Jobs: []string{"annotations/pods"}, Targets: 1},
		{Kind: "Service", Namespace: "default", Name: "s", Origin: OriginAnnotation, Jobs: []string{"annotations/services"}, Targets: 4},
	}, d.Monitors())
}
