package process

import (
	"fmt"
	"net"
	"strings"
	"time"
)

const (
	// scrapeInterval is Prometheus's in most installations, kube-prometheus's among
	// them 30 s.
	scrapeInterval = 15 * time.Second
	// rateWindow is the least that promlet takes for it.
	rateWindow = 4 * scrapeInterval
)

// The objects by which promlet finds the targets and learns what is read.
const appManifests = `apiVersion: v1
kind: Service
metadata: {name: app, namespace: default, labels: {app: app}}
spec: {selector: {app: app}, ports: [{name: web, port: 80, targetPort: web}]}
---
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata: {name: app, namespace: default}
spec: {selector: {matchLabels: {app: app}}, endpoints: [{port: web, interval: %s}]}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: app, namespace: default}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: app}
  minReplicas: 2
  maxReplicas: 100
  metrics:
  - type: Object
    object:
      metric: {name: %s}
      describedObject: {apiVersion: v1, kind: Service, name: app}
      target: {type: Value, value: "1000"}
`

// All targets have one IP address and differ in the port: each is a slice of its own.
const podManifests = `---
apiVersion: v1
kind: Pod
metadata: {name: %[1]s, namespace: default, labels: {app: app}}
spec: {containers: [{name: app, image: app, ports: [{name: web, containerPort: %[3]s}]}]}
status: {phase: Running, podIP: %[2]s, podIPs: [{ip: %[2]s}], conditions: [{type: Ready, status: "True"}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: %[1]s, namespace: default, labels: {kubernetes.io/service-name: app}}
addressType: IPv4
endpoints: [{addresses: [%[2]s], conditions: {ready: true}, targetRef: {kind: Pod, name: %[1]s, namespace: default}}]
ports: [{name: web, port: %[3]s}]
`

func podName(i int) string { return fmt.Sprintf("app-7d4b9c6f5d-%05d", i) }

// manifests are promlet's manifests of the targets at the addresses; without addresses,
// nothing.
func manifests(addresses []string) (string, error) {
	if len(addresses) == 0 {
		return "", nil
	}
	var b strings.Builder
	fmt.Fprintf(&b, appManifests, scrapeInterval, readMetric)
	for i, address := range addresses {
		ip, port, err := net.SplitHostPort(address)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, podManifests, podName(i), ip, port)
	}
	return b.String(), nil
}

// prometheusConfig is Prometheus's configuration of the targets at the addresses. They
// have the labels that promlet gives them.
func prometheusConfig(addresses []string) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "global: {scrape_interval: %s}\n", scrapeInterval)
	if len(addresses) == 0 {
		return b.String(), nil
	}
	b.WriteString("scrape_configs:\n- job_name: app\n  static_configs:\n")
	for i, address := range addresses {
		fmt.Fprintf(&b, "  - targets: [%q]\n    labels: {namespace: default, service: app, endpoint: web, container: app, pod: %s}\n", address, podName(i))
	}
	return b.String(), nil
}
