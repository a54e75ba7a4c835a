// Package samples has the objects, as YAML, that the tests of several rooms are about.
package samples

// Web is a Service with two pods, one of which is not ready.
const Web = `
apiVersion: v1
kind: Service
metadata: {name: web, labels: {app: web, app.kubernetes.io/name: shop, team: blue, empty: ""}}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}, {name: metrics, port: 9090}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, labels: {kubernetes.io/service-name: web, app: web}}
addressType: IPv4
ports: [{name: http, port: 8080}, {name: metrics, port: 9090}]
endpoints:
- {addresses: [10.0.0.1], nodeName: n1, conditions: {ready: true}, targetRef: {kind: Pod, name: web-a}}
- {addresses: [10.0.0.2], nodeName: n2, conditions: {ready: false}, targetRef: {kind: Pod, name: web-b}}
---
apiVersion: v1
kind: Pod
metadata: {name: web-a, labels: {app: web, version: v1}}
spec:
  nodeName: n1
  containers:
  - {name: server, image: shop:1, ports: [{name: http-port, containerPort: 8080}, {name: prom, containerPort: 9090}]}
  - {name: sidecar, image: proxy:1, ports: [{name: admin, containerPort: 15000}]}
status: {podIP: 10.0.0.1}
---
apiVersion: v1
kind: Pod
metadata: {name: web-b, labels: {app: web, version: v2, tier: ""}}
spec:
  nodeName: n2
  containers:
  - {name: server, image: shop:2, ports: [{name: http-port, containerPort: 8080}, {name: prom, containerPort: 9090}]}
status: {podIP: 10.0.0.2}
`

// ServiceMonitor is the ServiceMonitor default/m.
func ServiceMonitor(spec string) string {
	return `
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata: {name: m, namespace: default}
spec: ` + spec
}

// PodMonitor is the PodMonitor default/m.
func PodMonitor(spec string) string {
	return `
apiVersion: monitoring.coreos.com/v1
kind: PodMonitor
metadata: {name: m, namespace: default}
spec: ` + spec
}

// Apps are pods of several shapes.
const Apps = `
apiVersion: v1
kind: Pod
metadata: {name: a, labels: {app: x, app.kubernetes.io/name: shop, job: podjob, container: podcontainer, endpoint: podendpoint, pod: podpod}}
spec:
  containers:
  - {name: main, ports: [{name: http, containerPort: 8080}, {name: metrics, containerPort: 9090}]}
  - {name: helper}
  initContainers:
  - {name: setup, ports: [{name: metrics, containerPort: 9091}]}
status: {podIP: 10.0.0.1}
---
apiVersion: v1
kind: Pod
metadata: {name: b, labels: {app: x}}
spec: {nodeName: n1, containers: [{name: main, ports: [{name: metrics, containerPort: 9090, protocol: UDP}]}]}
status: {podIP: "fd00::2", phase: Pending}
---
apiVersion: v1
kind: Pod
metadata: {name: ended, labels: {app: x}}
spec: {containers: [{name: main, ports: [{name: metrics, containerPort: 9090}]}]}
status: {podIP: 10.0.0.3, phase: Succeeded}
---
apiVersion: v1
kind: Pod
metadata: {name: starting, labels: {app: x}}
spec: {containers: [{name: main, ports: [{name: metrics, containerPort: 9090}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: elsewhere, namespace: other, labels: {app: x}}
spec: {containers: [{name: main, ports: [{name: metrics, containerPort: 9090}]}]}
status: {podIP: 10.0.0.4}
---
apiVersion: v1
kind: Node
metadata: {name: n1}
`

// Rich has all that labels are made of.
const Rich = `
apiVersion: v1
kind: Node
metadata: {name: n1, labels: {zone: a, node.kubernetes.io/x: yes-it-is}, annotations: {note: "1"}}
---
apiVersion: v1
kind: Node
metadata: {name: n2}
---
apiVersion: v1
kind: Service
metadata: {name: s, namespace: shop, labels: {app.kubernetes.io/name: s, empty: ""}, annotations: {prometheus.io/scrape: "true", e: ""}}
spec: {clusterIP: 10.96.0.1, ports: [{name: http, port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: s-1
  namespace: shop
  labels: {kubernetes.io/service-name: s, app.kubernetes.io/name: s}
  annotations: {endpoints.kubernetes.io/last-change-trigger-time: now}
addressType: IPv4
ports:
- {name: http, port: 8080, protocol: TCP, appProtocol: kubernetes.io/h2c}
- {name: udp, port: 53, protocol: UDP}
- {name: bare}
endpoints:
- addresses: [10.0.0.1]
  hostname: host-1
  nodeName: n1
  zone: z1
  conditions: {ready: true, serving: true, terminating: false}
  deprecatedTopology: {topology.kubernetes.io/rack: r1}
  targetRef: {kind: Pod, name: s-a, namespace: shop}
- addresses: [10.0.0.2]
  nodeName: n2
  conditions: {ready: false, serving: false, terminating: true}
  targetRef: {kind: Pod, name: s-b, namespace: shop}
- addresses: [192.168.0.1]
  targetRef: {kind: Node, name: n1}
- addresses: [172.16.0.1]
  nodeName: gone
---
apiVersion: v1
kind: Pod
metadata:
  name: s-a
  namespace: shop
  uid: 11-22
  labels: {app: s, pod-template-hash: abc}
  annotations: {a/b: c}
  ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: s-abc, uid: x, controller: true}]
spec:
  nodeName: n1
  containers:
  - {name: main, image: "s:1", ports: [{name: http, containerPort: 8080}, {name: extra, containerPort: 8081}, {name: dns, containerPort: 53, protocol: UDP}]}
  - {name: plain, image: "p:1"}
  initContainers:
  - {name: mesh, image: "m:1", restartPolicy: Always, ports: [{name: mesh, containerPort: 15090}]}
status:
  podIP: 10.0.0.1
  hostIP: 192.168.0.1
  phase: Running
  conditions: [{type: Initialized, status: "True"}, {type: Ready, status: "True"}]
  containerStatuses: [{name: main, containerID: "c://1"}, {name: plain, containerID: "c://2"}]
  initContainerStatuses: [{name: mesh, containerID: "c://3"}]
---
apiVersion: v1
kind: Pod
metadata:
  name: s-b
  namespace: shop
  ownerReferences: [{apiVersion: v1, kind: Other, name: o, uid: x}]
spec: {nodeName: n2, containers: [{name: main, ports: [{containerPort: 8080}]}]}
status: {podIP: 10.0.0.2, phase: Pending, conditions: [{type: Ready, status: "False"}]}
---
apiVersion: v1
kind: Pod
metadata: {name: lone, namespace: shop}
spec: {nodeName: n1, containers: [{name: main, ports: [{containerPort: 1}]}]}
status: {podIP: 10.0.0.3, phase: Running}
`

// AnnotatedService is a Service with an EndpointSlice.
func AnnotatedService(name, annotations string) string {
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

// AnnotatedPod is a Pod with two containers, a sidecar and an init container.
func AnnotatedPod(name, annotations, rest string) string {
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

// Named is a monitor of any kind, name and namespace.
func Named(kind, namespace, name, spec string) string {
	return `
apiVersion: monitoring.coreos.com/v1
kind: ` + kind + `
metadata: {name: ` + name + `, namespace: ` + namespace + `}
spec: ` + spec
}

// WebMonitor selects Web.
func WebMonitor() string {
	return ServiceMonitor(`{selector: {matchLabels: {app: web}}, endpoints: [{port: metrics}]}`)
}

// WebTargets are the targets of WebMonitor, one a line.
const WebTargets = `
	serviceMonitor/default/m/0 10.0.0.1:9090 container=server endpoint=metrics job=web namespace=default pod=web-a service=web
	serviceMonitor/default/m/0 10.0.0.2:9090 container=server endpoint=metrics job=web namespace=default pod=web-b service=web`

// AnyMonitor selects all Services.
func AnyMonitor() string {
	return ServiceMonitor(`{namespaceSelector: {any: true}, selector: {}, endpoints: [{}]}`)
}
