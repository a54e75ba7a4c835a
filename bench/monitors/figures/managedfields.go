package main

import (
	"encoding/json"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// podManagedFields are what the API server notes of who wrote which field of a pod:
// the controller manager the whole of it, the kubelet its status.
func podManagedFields() []metav1.ManagedFieldsEntry {
	containers := tree{}
	for _, name := range []string{"app", "log-forwarder"} {
		containers["k:"+quoted("name", name)] = containerFields()
	}
	spec := fields("dnsPolicy", "enableServiceLinks", "restartPolicy", "schedulerName", "serviceAccount",
		"serviceAccountName", "terminationGracePeriodSeconds")
	spec["f:containers"] = containers
	spec["f:securityContext"] = itself(fields("fsGroup", "runAsNonRoot"))
	spec["f:volumes"] = tree{
		".":                          tree{},
		"k:" + quoted("name", "tmp"): itself(fields("emptyDir", "name")),
		"k:" + quoted("name", "config"): tree{
			".": tree{}, "f:configMap": itself(fields("defaultMode", "name")), "f:name": tree{},
		},
	}
	metadata := fields("generateName")
	metadata["f:labels"] = itself(fields("app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/component",
		"app.kubernetes.io/version", "app.kubernetes.io/managed-by", "pod-template-hash"))
	metadata["f:annotations"] = itself(fields("checksum/config", "checksum/secret",
		"kubectl.kubernetes.io/default-container", "kubectl.kubernetes.io/restartedAt"))
	metadata["f:ownerReferences"] = tree{".": tree{}, "k:" + quoted("uid", string(uid("rs", 0))): tree{}}

	conditions := tree{}
	for _, c := range []string{"ContainersReady", "Initialized", "PodReadyToStartContainers", "Ready"} {
		conditions["k:"+quoted("type", c)] = itself(
			fields("lastProbeTime", "lastTransitionTime", "observedGeneration", "status", "type"))
	}
	status := fields("containerStatuses", "hostIP", "hostIPs", "observedGeneration", "phase", "podIP", "startTime")
	status["f:conditions"] = conditions
	status["f:podIPs"] = tree{".": tree{}, "k:" + quoted("ip", podIP(0)): itself(fields("ip"))}
	return []metav1.ManagedFieldsEntry{
		managed("kube-controller-manager", "", tree{"f:metadata": metadata, "f:spec": spec}),
		managed("kubelet", "status", tree{"f:status": status}),
	}
}

func containerFields() tree {
	probe := fields("failureThreshold", "periodSeconds", "successThreshold", "timeoutSeconds")
	probe["f:httpGet"] = itself(fields("path", "port", "scheme"))
	env := tree{".": tree{}}
	for _, name := range []string{"POD_NAME", "DATABASE_URL", "GOMEMLIMIT"} {
		env["k:"+quoted("name", name)] = itself(fields("name", "valueFrom"))
	}
	mounts := tree{".": tree{}}
	for _, path := range []string{"/etc/app", "/tmp"} {
		mounts["k:"+quoted("mountPath", path)] = itself(fields("mountPath", "name", "readOnly"))
	}
	c := fields("args", "image", "imagePullPolicy", "name", "terminationMessagePath", "terminationMessagePolicy")
	c["."], c["f:env"], c["f:volumeMounts"], c["f:livenessProbe"], c["f:readinessProbe"] = tree{}, env, mounts, probe, probe
	c["f:resources"] = tree{".": tree{}, "f:limits": fields("memory"), "f:requests": fields("cpu", "memory")}
	c["f:securityContext"] = fields("allowPrivilegeEscalation", "capabilities", "readOnlyRootFilesystem")
	c["f:ports"] = tree{
		".": tree{},
		`k:{"containerPort":8080,"protocol":"TCP"}`: itself(fields("containerPort", "name", "protocol")),
		`k:{"containerPort":9090,"protocol":"TCP"}`: itself(fields("containerPort", "name", "protocol")),
	}
	return c
}

// sliceManagedFields are those of an EndpointSlice.
func sliceManagedFields() []metav1.ManagedFieldsEntry {
	metadata := fields("generateName")
	metadata["f:annotations"] = itself(fields("endpoints.kubernetes.io/last-change-trigger-time"))
	metadata["f:labels"] = itself(fields("app.kubernetes.io/name", "endpointslice.kubernetes.io/managed-by",
		"kubernetes.io/service-name"))
	all := fields("addressType", "endpoints", "ports")
	all["f:metadata"] = metadata
	return []metav1.ManagedFieldsEntry{managed("kube-controller-manager", "", all)}
}

// serviceManagedFields are those of a Service that Helm has made.
func serviceManagedFields() []metav1.ManagedFieldsEntry {
	metadata := tree{
		"f:annotations": itself(fields("meta.helm.sh/release-name", "meta.helm.sh/release-namespace")),
		"f:labels": itself(fields("app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/managed-by",
			"helm.sh/chart")),
	}
	spec := fields("internalTrafficPolicy", "selector", "sessionAffinity", "type")
	spec["f:ports"] = tree{
		".":                                tree{},
		`k:{"port":80,"protocol":"TCP"}`:   itself(fields("name", "port", "protocol", "targetPort")),
		`k:{"port":9090,"protocol":"TCP"}`: itself(fields("name", "port", "protocol", "targetPort")),
	}
	return []metav1.ManagedFieldsEntry{managed("helm", "", tree{"f:metadata": metadata, "f:spec": spec})}
}

func managed(manager, subresource string, t tree) metav1.ManagedFieldsEntry {
	raw, _ := json.Marshal(t) // maps of maps cannot fail
	at := born()
	return metav1.ManagedFieldsEntry{
		Manager: manager, Operation: metav1.ManagedFieldsOperationUpdate, APIVersion: "v1", Time: &at,
		FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(string(raw)), Subresource: subresource,
	}
}

// tree is a set of fields as FieldsV1 writes it.
type tree map[string]tree

func fields(names ...string) tree {
	t := tree{}
	for _, name := range names {
		t["f:"+name] = tree{}
	}
	return t
}

// itself adds that the object which has the fields is owned, too.
func itself(t tree) tree {
	t["."] = tree{}
	return t
}

func quoted(key, value string) string {
	return `{"` + key + `":"` + value + `"}`
}
