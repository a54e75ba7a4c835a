package controlplane

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// tokenSeconds is longer than any test, so that no token is renewed.
const tokenSeconds = 4 * 60 * 60

// credentials writes a token of the pod's ServiceAccount and the cluster's CA into a
// directory, as they are mounted into a pod, and a kubeconfig with them.
func (k *Kubelet) credentials(ctx context.Context, pod *corev1.Pod) (dir, kubeconfig string, err error) {
	if mounted := pod.Spec.AutomountServiceAccountToken; mounted != nil && !*mounted {
		return "", "", nil
	}
	seconds := int64(tokenSeconds)
	request, err := k.client.CoreV1().ServiceAccounts(pod.Namespace).CreateToken(ctx, pod.Spec.ServiceAccountName, &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{
			ExpirationSeconds: &seconds,
			BoundObjectRef:    &authenticationv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: pod.Name, UID: pod.UID},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return "", "", fmt.Errorf("request token: %w", err)
	}
	ca, err := os.ReadFile(k.plane.pki.crt(clusterCA))
	if err != nil {
		return "", "", fmt.Errorf("read the cluster's CA: %w", err)
	}
	dir = k.podDir(pod)
	for name, content := range map[string][]byte{"token": []byte(request.Status.Token), "ca.crt": ca} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			return "", "", fmt.Errorf("write credentials: %w", err)
		}
	}
	kubeconfig = filepath.Join(dir, "kubeconfig")
	return dir, kubeconfig, k.plane.writeKubeconfig(kubeconfig, pod.Namespace, clientcmdapi.AuthInfo{TokenFile: filepath.Join(dir, "token")})
}

// environment returns the variables of a container that arguments may use, as
// far as it knows them: values, and fields of the pod.
func environment(pod *corev1.Pod, spec *corev1.Container, ip, node, hostIP string) map[string]string {
	fields := map[string]string{
		"metadata.name": pod.Name, "metadata.namespace": pod.Namespace, "metadata.uid": string(pod.UID),
		"spec.nodeName": node, "spec.serviceAccountName": pod.Spec.ServiceAccountName,
		"status.podIP": ip, "status.hostIP": hostIP,
	}
	env := map[string]string{}
	for _, variable := range spec.Env {
		env[variable.Name] = variable.Value
		if from := variable.ValueFrom; from != nil && from.FieldRef != nil {
			env[variable.Name] = fields[from.FieldRef.FieldPath]
		}
	}
	return env
}

// expand replaces $(NAME) where there is such a variable, as Kubernetes does.
func expand(args []string, env map[string]string) []string {
	pairs := []string{"$$", "$"}
	for name, value := range env {
		pairs = append(pairs, "$("+name+")", value)
	}
	replacer := strings.NewReplacer(pairs...)
	expanded := make([]string, len(args))
	for i, arg := range args {
		expanded[i] = replacer.Replace(arg)
	}
	return expanded
}
