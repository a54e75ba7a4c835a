package discovery

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/promlet/promlet/discovery/internal/runtest"
	"github.com/promlet/promlet/discovery/internal/samples"
	"github.com/promlet/promlet/discovery/internal/storetest"
	"github.com/promlet/promlet/discovery/monitors"
)

func TestAnnotations(t *testing.T) {
	const yes = `prometheus.io/scrape: "true"`
	for name, tc := range map[string]struct {
		objects []string
		want    string
	}{
		"a service: the TCP ports of its endpoints": {
			objects: []string{samples.AnnotatedService("s", yes), samples.AnnotatedPod("s-a", "", "")},
			want: `
				annotations/services 10.0.0.1:8080 container=exporter job=s namespace=default pod=s-a service=s
				annotations/services 10.0.0.1:9090 container=exporter job=s namespace=default pod=s-a service=s
				annotations/services 10.0.0.9:8080 job=s namespace=default service=s
				annotations/services 10.0.0.9:9090 job=s namespace=default service=s`,
		},
		"a service: port, path and scheme": {
			objects: []string{samples.AnnotatedService("s", yes+`, prometheus.io/port: "9090", prometheus.io/path: /stats, prometheus.io/scheme: HTTPS`), samples.AnnotatedPod("s-a", "", "")},
			want: `
				annotations/services 10.0.0.1:9090 __metrics_path__=/stats __scheme__=https container=exporter job=s namespace=default pod=s-a service=s
				annotations/services 10.0.0.9:9090 __metrics_path__=/stats __scheme__=https job=s namespace=default service=s`,
		},
		"a port that no container declares": {
			objects: []string{samples.AnnotatedService("s", yes+`, prometheus.io/port: "7"`), samples.AnnotatedPod("s-a", "", "")},
			want: `
				annotations/services 10.0.0.1:7 job=s namespace=default pod=s-a service=s
				annotations/services 10.0.0.9:7 job=s namespace=default service=s`,
		},
		"scrape must be true": {
			objects: []string{
				samples.AnnotatedService("s", `prometheus.io/scrape: "false"`), samples.AnnotatedService("r", `prometheus.io/port: "1"`),
				samples.AnnotatedPod("s-a", `prometheus.io/scrape: "yes"`, ""),
			},
		},
		"a pod: the TCP ports of its containers and sidecars": {
			objects: []string{samples.AnnotatedPod("p", yes, "")},
			want: `
				annotations/pods 10.0.0.1:8080 container=exporter job=default/p namespace=default pod=p
				annotations/pods 10.0.0.1:9090 container=exporter job=default/p namespace=default pod=p
				annotations/pods 10.0.0.1:15090 container=sidecar job=default/p namespace=default pod=p`,
		},
		"a pod: port, path and scheme": {
			objects: []string{samples.AnnotatedPod("p", yes+`, prometheus.io/port: "9090", prometheus.io/path: /stats, prometheus.io/scheme: http`, "")},
			want:    `annotations/pods 10.0.0.1:9090 __metrics_path__=/stats __scheme__=http container=exporter job=default/p namespace=default pod=p`,
		},
		"a pod of a Deployment": {
			objects: []string{samples.AnnotatedPod("p", yes+`, prometheus.io/port: "9090"`, `, labels: {pod-template-hash: abc12},
				ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: web-abc12, uid: "1", controller: true}]`)},
			want: `annotations/pods 10.0.0.1:9090 container=exporter job=default/web namespace=default pod=p`,
		},
		"a pod of a StatefulSet": {
			objects: []string{samples.AnnotatedPod("p", yes+`, prometheus.io/port: "9090"`, `,
				ownerReferences: [{apiVersion: apps/v1, kind: StatefulSet, name: db-abc12, uid: "1", controller: true}]`)},
			want: `annotations/pods 10.0.0.1:9090 container=exporter job=default/db-abc12 namespace=default pod=p`,
		},
		"a pod of an annotated service is scraped once": {
			objects: []string{samples.AnnotatedService("s", yes+`, prometheus.io/port: "9090"`), samples.AnnotatedPod("s-a", yes+`, prometheus.io/port: "8080"`, "")},
			want: `
				annotations/services 10.0.0.1:9090 container=exporter job=s namespace=default pod=s-a service=s
				annotations/services 10.0.0.9:9090 job=s namespace=default service=s`,
		},
		"a pod of a service that is not annotated": {
			objects: []string{samples.AnnotatedService("s", ""), samples.AnnotatedPod("s-a", yes+`, prometheus.io/port: "8080"`, "")},
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
			o := storetest.Load(t, tc.objects...)
			configs, groups := runtest.Resolve(t, New(o, Options{Annotations: true}))
			require.Equal(t, runtest.WantLines(tc.want), runtest.Lines(groups))
			require.Len(t, configs, 2)

			configs, groups = runtest.Resolve(t, New(o, Options{}))
			require.Empty(t, configs, "annotations are off by default")
			require.Empty(t, groups)
		})
	}
}

func TestAnnotationsOfDualStackService(t *testing.T) {
	o := storetest.Load(t, `
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
	_, groups := runtest.Resolve(t, New(o, Options{Annotations: true}))
	require.Equal(t, runtest.WantLines("annotations/services 10.0.0.1:1 job=d namespace=default service=d"), runtest.Lines(groups))
}

func TestBadAnnotations(t *testing.T) {
	for annotation, want := range map[string]string{
		`prometheus.io/port: http`:    `metadata.annotations[prometheus.io/port]: "http" is not a port number`,
		`prometheus.io/port: "0"`:     `metadata.annotations[prometheus.io/port]: "0" is not a port number`,
		`prometheus.io/port: "65536"`: `metadata.annotations[prometheus.io/port]: "65536" is not a port number`,
		`prometheus.io/scheme: ftp`:   `metadata.annotations[prometheus.io/scheme]: "ftp" is neither http nor https`,
	} {
		const yes = `prometheus.io/scrape: "true", `
		d := New(storetest.Load(t, samples.AnnotatedService("s", yes+annotation), samples.AnnotatedPod("p", yes+annotation, ""),
			samples.AnnotatedPod("good", yes+`prometheus.io/port: "9090"`, "")), Options{Annotations: true})
		_, groups := runtest.Resolve(t, d)
		require.Equal(t, want, runtest.Rejected(d.Monitors(), "s"))
		require.Equal(t, want, runtest.Rejected(d.Monitors(), "p"))
		require.Equal(t, runtest.WantLines("annotations/pods 10.0.0.1:9090 container=exporter job=default/good namespace=default pod=good"),
			runtest.Lines(groups), "the others go on")
	}
}

func TestAnnotationStatus(t *testing.T) {
	d := New(storetest.Load(t, samples.AnnotatedService("s", `prometheus.io/scrape: "true"`),
		samples.AnnotatedPod("p", `prometheus.io/scrape: "true", prometheus.io/port: "9090"`, "")), Options{Annotations: true})
	require.Empty(t, d.Monitors(), "nothing is known before the first pass")
	runtest.Resolve(t, d)
	require.Equal(t, []monitors.Status{
		{Kind: "Pod", Namespace: "default", Name: "p", Origin: monitors.OriginAnnotation, Jobs: []string{"annotations/pods"}, Targets: 1},
		{Kind: "Service", Namespace: "default", Name: "s", Origin: monitors.OriginAnnotation, Jobs: []string{"annotations/services"}, Targets: 4},
	}, d.Monitors())
}
