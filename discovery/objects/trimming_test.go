package objects_test

import (
	"encoding/json"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/stretchr/testify/require"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"sigs.k8s.io/yaml"

	"github.com/promlet/promlet/discovery/objects"
)

// fatMeta has all that an API server writes into metadata.
const fatMeta = `
metadata:
  name: x
  namespace: shop
  uid: u-1
  resourceVersion: "7"
  generation: 3
  creationTimestamp: "2026-01-02T03:04:05Z"
  deletionTimestamp: "2026-01-03T03:04:05Z"
  selfLink: /x
  generateName: x-
  labels: {app: x}
  annotations: {keep: me, kubectl.kubernetes.io/last-applied-configuration: "{huge}"}
  finalizers: [f]
  ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: rs, uid: o-1, controller: true}]
  managedFields: [{manager: kubelet, operation: Update, apiVersion: v1, fieldsType: FieldsV1, fieldsV1: {"f:status": {}}}]
`

const thinMeta = `
metadata:
  name: x
  namespace: shop
  uid: u-1
  resourceVersion: "7"
  generation: 3
  creationTimestamp: "2026-01-02T03:04:05Z"
  deletionTimestamp: "2026-01-03T03:04:05Z"
  labels: {app: x}
  annotations: {keep: me}
  ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: rs, uid: o-1, controller: true}]
`

func TestTrim(t *testing.T) {
	for name, tc := range map[string]struct {
		empty     func() any
		fat, thin string
	}{
		"Pod": {func() any { return &corev1.Pod{} }, `
spec:
  nodeName: n1
  serviceAccountName: sa
  volumes: [{name: v, emptyDir: {}}]
  tolerations: [{key: a, operator: Exists}]
  containers:
  - name: c
    image: "i:1"
    command: [run]
    env: [{name: SECRET, value: s}]
    resources: {limits: {cpu: "1"}}
    volumeMounts: [{name: v, mountPath: /v}]
    ports: [{name: http, containerPort: 80, protocol: TCP}]
    readinessProbe: {httpGet: {path: /, port: 80}}
  initContainers: [{name: i, image: "i:2", restartPolicy: Always, args: [a]}]
status:
  phase: Running
  podIP: 10.0.0.1
  podIPs: [{ip: 10.0.0.1}]
  hostIP: 192.168.0.1
  qosClass: Burstable
  message: all well
  conditions:
  - {type: Initialized, status: "True"}
  - {type: Ready, status: "False", reason: NotReady, message: long text, lastTransitionTime: "2026-01-02T03:04:06Z"}
  containerStatuses: [{name: c, containerID: "c://1", imageID: sha, image: "i:1", ready: true, restartCount: 4}]
  initContainerStatuses: [{name: i, containerID: "c://2", imageID: sha, image: "i:2"}]
`, `
spec:
  nodeName: n1
  containers: [{name: c, image: "i:1", ports: [{name: http, containerPort: 80, protocol: TCP}]}]
  initContainers: [{name: i, image: "i:2", restartPolicy: Always}]
status:
  phase: Running
  podIP: 10.0.0.1
  hostIP: 192.168.0.1
  conditions: [{type: Ready, status: "False", lastTransitionTime: "2026-01-02T03:04:06Z"}]
  containerStatuses: [{name: c, containerID: "c://1"}]
  initContainerStatuses: [{name: i, containerID: "c://2"}]
`},
		"Service": {func() any { return &corev1.Service{} }, `
spec:
  type: ClusterIP
  clusterIP: 10.96.0.1
  clusterIPs: [10.96.0.1]
  selector: {app: x}
  sessionAffinity: None
  internalTrafficPolicy: Cluster
  ipFamilies: [IPv4]
  ipFamilyPolicy: SingleStack
  ports: [{name: http, port: 80, targetPort: 8080, protocol: TCP}]
status: {loadBalancer: {ingress: [{ip: 1.2.3.4}]}}
`, `
spec:
  type: ClusterIP
  clusterIP: 10.96.0.1
  selector: {app: x}
  ipFamilies: [IPv4]
  ipFamilyPolicy: SingleStack
  ports: [{name: http, port: 80, targetPort: 8080, protocol: TCP}]
`},
		"EndpointSlice": {func() any { return &discoveryv1.EndpointSlice{} }, `
addressType: IPv4
ports: [{name: http, port: 80, protocol: TCP}]
endpoints: [{addresses: [10.0.0.1], zone: z, hints: {forZones: [{name: z}]}, conditions: {ready: true}}]
`, `
addressType: IPv4
ports: [{name: http, port: 80, protocol: TCP}]
endpoints: [{addresses: [10.0.0.1], zone: z, conditions: {ready: true}}]
`},
		"Namespace": {func() any { return &corev1.Namespace{} }, "spec: {finalizers: [kubernetes]}\nstatus: {phase: Active}\n", ""},
		"Node":      {func() any { return &corev1.Node{} }, "spec: {podCIDR: 10.0.0.0/24}\nstatus: {images: [{names: [a], sizeBytes: 1}]}\n", ""},
		"Node with addresses": {func() any { return &corev1.Node{} },
			"status: {addresses: [{type: InternalIP, address: 10.0.0.5}], daemonEndpoints: {kubeletEndpoint: {Port: 10250}}, conditions: [{type: Ready, status: \"True\"}]}\n",
			"status: {addresses: [{type: InternalIP, address: 10.0.0.5}], daemonEndpoints: {kubeletEndpoint: {Port: 10250}}}\n"},
		"HorizontalPodAutoscaler": {func() any { return &autoscalingv2.HorizontalPodAutoscaler{} },
			"spec: {maxReplicas: 3, scaleTargetRef: {kind: Deployment, name: d}}\nstatus: {desiredReplicas: 2}\n",
			"spec: {maxReplicas: 3, scaleTargetRef: {kind: Deployment, name: d}}\nstatus: {desiredReplicas: 2}\n"},
		"ServiceMonitor": {func() any { return &monitoringv1.ServiceMonitor{} },
			"spec: {selector: {}, endpoints: [{port: a}]}\nstatus: {bindings: [{group: a, resource: b, name: c, namespace: d}]}\n",
			"spec: {selector: {}, endpoints: [{port: a}]}\n"},
		"PodMonitor": {func() any { return &monitoringv1.PodMonitor{} },
			"spec: {selector: {}, podMetricsEndpoints: [{port: a}]}\nstatus: {bindings: [{group: a, resource: b, name: c, namespace: d}]}\n",
			"spec: {selector: {}, podMetricsEndpoints: [{port: a}]}\n"},
	} {
		t.Run(name, func(t *testing.T) {
			fat, untouched, thin := tc.empty(), tc.empty(), tc.empty()
			require.NoError(t, yaml.UnmarshalStrict([]byte(fatMeta+tc.fat), fat))
			require.NoError(t, yaml.UnmarshalStrict([]byte(fatMeta+tc.fat), untouched))
			require.NoError(t, yaml.UnmarshalStrict([]byte(thinMeta+tc.thin), thin))
			once := objects.Trim(fat)
			require.Equal(t, toJSON(t, thin), toJSON(t, once))
			require.Equal(t, untouched, fat, "what it gets is not changed")
			require.Equal(t, toJSON(t, once), toJSON(t, objects.Trim(once)))
		})
	}
}

// What a utilization is computed from is kept where it is wanted, and nothing else beside it.
func TestTrimWithRequests(t *testing.T) {
	var fat, thin corev1.Pod
	require.NoError(t, yaml.UnmarshalStrict([]byte(fatMeta+`
spec:
  serviceAccountName: sa
  resources: {requests: {cpu: "2"}, limits: {cpu: "3"}}
  containers: [{name: c, command: [run], resources: {requests: {cpu: 100m, memory: 64Mi}, limits: {cpu: "1"}}}]
  initContainers: [{name: i, restartPolicy: Always, resources: {requests: {cpu: 10m}}}, {name: j}]
status: {phase: Running, startTime: "2026-01-02T03:04:05Z", qosClass: Burstable}
`), &fat))
	require.NoError(t, yaml.UnmarshalStrict([]byte(thinMeta+`
spec:
  resources: {requests: {cpu: "2"}}
  containers: [{name: c, resources: {requests: {cpu: 100m, memory: 64Mi}}}]
  initContainers: [{name: i, restartPolicy: Always, resources: {requests: {cpu: 10m}}}, {name: j}]
status: {phase: Running, startTime: "2026-01-02T03:04:05Z"}
`), &thin))
	once := objects.TrimWithRequests(&fat)
	require.Equal(t, toJSON(t, &thin), toJSON(t, once))
	require.Equal(t, toJSON(t, once), toJSON(t, objects.TrimWithRequests(once)))
	require.Empty(t, objects.TrimWithRequests(&corev1.Namespace{Spec: corev1.NamespaceSpec{Finalizers: []corev1.FinalizerName{"f"}}}).(*corev1.Namespace).Spec.Finalizers)
}

func toJSON(t *testing.T, v any) string {
	t.Helper()
	data, err := json.MarshalIndent(v, "", " ")
	require.NoError(t, err)
	return string(data)
}
