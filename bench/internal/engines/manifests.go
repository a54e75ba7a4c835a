package engines

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// scraped has the objects with which shards find the pods.
const scraped = `apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata: {name: apps, namespace: default}
spec: {selector: {matchLabels: {monitored: "yes"}}, endpoints: [{port: web, interval: %s}]}
`

// serviceManifest has a Service and the HorizontalPodAutoscaler of its pods.
const serviceManifest = `---
apiVersion: v1
kind: Service
metadata: {name: %[1]s, namespace: default, labels: {monitored: "yes"}}
spec: {selector: {app: %[1]s}, ports: [{name: web, port: 80, targetPort: web}]}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: %[1]s, namespace: default}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: %[1]s}
  maxReplicas: 1000
  metrics:
  - type: Object
    object:
      metric: {name: %[2]s}
      describedObject: {apiVersion: v1, kind: Service, name: %[1]s}
      target: {type: Value, value: "1000"}
  - type: Pods
    pods:
      metric: {name: %[2]s}
      target: {type: AverageValue, averageValue: "10"}
`

const podManifest = `---
apiVersion: v1
kind: Pod
metadata: {name: %[1]s, namespace: default, labels: {app: %[2]s}}
spec: {containers: [{name: app, image: app, ports: [{name: web, containerPort: %[4]s}]}]}
status: {phase: Running, podIP: %[3]s, podIPs: [{ip: %[3]s}], conditions: [{type: Ready, status: "True"}]}
`

const sliceManifest = `---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: %[1]s-%[2]d, namespace: default, labels: {kubernetes.io/service-name: %[1]s}}
addressType: IPv4
ports: [{name: web, port: %[3]s}]
endpoints:
`

const endpointManifest = "- {addresses: [%s], conditions: {ready: true}, targetRef: {kind: Pod, name: %s, namespace: default}}\n"

// writeManifests writes the objects of all pods to one directory. It writes those with which shards find the pods only to
// another directory.
func writeManifests(objects, monitored string, pods []pod, port string) error {
	var b strings.Builder
	const ofSlice = 100 // endpoints of an EndpointSlice, as kube-controller-manager writes them
	for n, slice := range slices.Collect(slices.Chunk(pods, ofSlice)) {
		service := slice[0].service
		if n%(podsOfService/ofSlice) == 0 {
			fmt.Fprintf(&b, serviceManifest, service, rateMetric)
		}
		for _, p := range slice {
			fmt.Fprintf(&b, podManifest, p.name, p.service, p.ip, port)
		}
		fmt.Fprintf(&b, sliceManifest, service, n, port)
		for _, p := range slice {
			fmt.Fprintf(&b, endpointManifest, p.ip, p.name)
		}
	}
	for dir, text := range map[string]string{
		objects:   b.String(),
		monitored: fmt.Sprintf(scraped, scrapeInterval) + b.String(),
	} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, "apps.yaml"), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}
