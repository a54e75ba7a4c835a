package main

import (
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
)

const (
	portHTTP    = 8080
	portMetrics = 9090
)

// born is when all objects were made.
func born() metav1.Time { return metav1.NewTime(time.Date(2026, 3, 1, 9, 30, 0, 0, time.UTC)) }

// newPod makes the pod with a number, ready, of the service with a number, as
// kubectl get --output yaml shows one of a Deployment with a sidecar.
func newPod(service, n int) *corev1.Pod {
	app := appName(service)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name:              fmt.Sprintf("%s-7d9c8b6f5d-%05d", app, n),
			GenerateName:      app + "-7d9c8b6f5d-",
			Namespace:         namespace,
			UID:               uid("pod", n),
			CreationTimestamp: born(),
			Labels: map[string]string{
				"app.kubernetes.io/name":       app,
				"app.kubernetes.io/instance":   app + "-production",
				"app.kubernetes.io/component":  "server",
				"app.kubernetes.io/version":    "2.14.3",
				"app.kubernetes.io/managed-by": "Helm",
				"pod-template-hash":            "7d9c8b6f5d",
			},
			Annotations: map[string]string{
				"checksum/config":                         strings.Repeat("3f9a", 16),
				"checksum/secret":                         strings.Repeat("b07c", 16),
				"kubectl.kubernetes.io/default-container": "app",
				"kubectl.kubernetes.io/restartedAt":       "2026-03-01T09:30:00Z",
			},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: "apps/v1", Kind: "ReplicaSet", Name: app + "-7d9c8b6f5d", UID: uid("rs", service),
				Controller: new(true), BlockOwnerDeletion: new(true),
			}},
			ManagedFields: podManagedFields(),
		},
		Spec:   podSpec(app, n),
		Status: podStatus(n),
	}
	return pod
}

func podSpec(app string, n int) corev1.PodSpec {
	return corev1.PodSpec{
		Containers: []corev1.Container{
			container(app, "app", []corev1.ContainerPort{
				{Name: "http", ContainerPort: portHTTP, Protocol: corev1.ProtocolTCP},
				{Name: "metrics", ContainerPort: portMetrics, Protocol: corev1.ProtocolTCP},
			}),
			container(app, "log-forwarder", nil),
		},
		Volumes: []corev1.Volume{
			{Name: "config", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
				LocalObjectReference: corev1.LocalObjectReference{Name: app}, DefaultMode: new(int32(0o644)),
			}}},
			{Name: "tmp", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
			tokenVolume(),
		},
		RestartPolicy:                 corev1.RestartPolicyAlways,
		TerminationGracePeriodSeconds: new(int64(30)),
		DNSPolicy:                     corev1.DNSClusterFirst,
		ServiceAccountName:            app,
		DeprecatedServiceAccount:      app,
		NodeName:                      nodeName(n),
		SecurityContext:               &corev1.PodSecurityContext{RunAsNonRoot: new(true), FSGroup: new(int64(65532))},
		SchedulerName:                 corev1.DefaultSchedulerName,
		Tolerations: []corev1.Toleration{
			toleration(corev1.TaintNodeNotReady), toleration(corev1.TaintNodeUnreachable),
		},
		Priority:           new(int32(0)),
		EnableServiceLinks: new(true),
		PreemptionPolicy:   new(corev1.PreemptLowerPriority),
	}
}

func toleration(key string) corev1.Toleration {
	return corev1.Toleration{
		Key: key, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute, TolerationSeconds: new(int64(300)),
	}
}

func tokenVolume() corev1.Volume {
	return corev1.Volume{Name: "kube-api-access-x7k2p", VolumeSource: corev1.VolumeSource{
		Projected: &corev1.ProjectedVolumeSource{DefaultMode: new(int32(0o644)), Sources: []corev1.VolumeProjection{
			{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{ExpirationSeconds: new(int64(3607)), Path: "token"}},
			{ConfigMap: &corev1.ConfigMapProjection{
				LocalObjectReference: corev1.LocalObjectReference{Name: "kube-root-ca.crt"},
				Items:                []corev1.KeyToPath{{Key: "ca.crt", Path: "ca.crt"}},
			}},
			{DownwardAPI: &corev1.DownwardAPIProjection{Items: []corev1.DownwardAPIVolumeFile{{
				Path: "namespace", FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "metadata.namespace"},
			}}}},
		}},
	}}
}

func container(app, name string, ports []corev1.ContainerPort) corev1.Container {
	c := corev1.Container{
		Name:  name,
		Image: image(name),
		Args:  []string{"--config=/etc/" + app + "/config.yaml", "--log-level=info"},
		Ports: ports,
		Env: []corev1.EnvVar{
			{Name: "POD_NAME", ValueFrom: &corev1.EnvVarSource{
				FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "metadata.name"},
			}},
			{Name: "DATABASE_URL", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
				LocalObjectReference: corev1.LocalObjectReference{Name: app}, Key: "database-url",
			}}},
			{Name: "GOMEMLIMIT", Value: "460MiB"},
		},
		Resources: corev1.ResourceRequirements{
			Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m"), corev1.ResourceMemory: resource.MustParse("256Mi")},
			Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("512Mi")},
		},
		VolumeMounts: []corev1.VolumeMount{
			{Name: "config", MountPath: "/etc/" + app, ReadOnly: true},
			{Name: "tmp", MountPath: "/tmp"},
			{Name: "kube-api-access-x7k2p", MountPath: "/var/run/secrets/kubernetes.io/serviceaccount", ReadOnly: true},
		},
		TerminationMessagePath:   corev1.TerminationMessagePathDefault,
		TerminationMessagePolicy: corev1.TerminationMessageReadFile,
		ImagePullPolicy:          corev1.PullIfNotPresent,
		SecurityContext: &corev1.SecurityContext{
			AllowPrivilegeEscalation: new(false), ReadOnlyRootFilesystem: new(true),
			Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		},
	}
	if len(ports) > 0 {
		c.ReadinessProbe, c.LivenessProbe = probe("/readyz"), probe("/livez")
	}
	return c
}

func image(container string) string { return "registry.example.com/team/" + container + ":2.14.3" }

func probe(path string) *corev1.Probe {
	return &corev1.Probe{
		ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{
			Path: path, Port: intstr.FromString("http"), Scheme: corev1.URISchemeHTTP,
		}},
		TimeoutSeconds: 1, PeriodSeconds: 10, SuccessThreshold: 1, FailureThreshold: 3,
	}
}

func podStatus(n int) corev1.PodStatus {
	ip, host := podIP(n), fmt.Sprintf("192.168.1.%d", 1+n%nodes)
	status := corev1.PodStatus{
		Phase:    corev1.PodRunning,
		HostIP:   host,
		HostIPs:  []corev1.HostIP{{IP: host}},
		PodIP:    ip,
		PodIPs:   []corev1.PodIP{{IP: ip}},
		QOSClass: corev1.PodQOSBurstable,
	}
	started := born()
	status.StartTime = &started
	for _, c := range []corev1.PodConditionType{
		corev1.PodReadyToStartContainers, corev1.PodInitialized, corev1.PodReady, corev1.ContainersReady, corev1.PodScheduled,
	} {
		status.Conditions = append(status.Conditions, corev1.PodCondition{
			Type: c, Status: corev1.ConditionTrue, LastTransitionTime: born(),
		})
	}
	for i, name := range []string{"app", "log-forwarder"} {
		status.ContainerStatuses = append(status.ContainerStatuses, corev1.ContainerStatus{
			Name: name, Ready: true, Started: new(true), Image: image(name),
			ImageID:     "registry.example.com/team/" + name + "@sha256:" + strings.Repeat("9c1e", 16),
			ContainerID: fmt.Sprintf("containerd://%064x", 2*n+i),
			State:       corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: born()}},
		})
	}
	return status
}

// setReady makes the pod ready or not; it changes the pod it is given.
func setReady(pod *corev1.Pod, ready bool) {
	state := corev1.ConditionFalse
	if ready {
		state = corev1.ConditionTrue
	}
	for i := range pod.Status.Conditions {
		if c := &pod.Status.Conditions[i]; c.Type == corev1.PodReady || c.Type == corev1.ContainersReady {
			c.Status, c.LastTransitionTime = state, metav1.Now()
		}
	}
	pod.Status.ContainerStatuses[0].Ready = ready
}

func podIP(n int) string { return fmt.Sprintf("10.244.%d.%d", n/250, 1+n%250) }

func uid(kind string, n int) types.UID {
	sum := 0
	for _, c := range kind {
		sum = sum*31 + int(c)
	}
	return types.UID(fmt.Sprintf("%08x-1f2e-4d3c-8b5a-%012x", sum, n))
}
