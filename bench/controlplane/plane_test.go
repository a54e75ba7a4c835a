package controlplane

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// asServer in the environment makes the test binary serve on an address, as a
// container would.
const asServer = "CONTROLPLANE_TEST_LISTEN"

func TestMain(m *testing.M) {
	if address := os.Getenv(asServer); address != "" {
		fmt.Println(http.ListenAndServe(address, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "%s from %s", r.URL.Path, os.Getenv("POD"))
		})))
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

const patience = 2 * time.Minute

const manifests = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: default}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 5
      containers:
      - name: web
        image: web
        args: ["--pod=$(POD)"]
        env: [{name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]
        ports: [{name: http, containerPort: 8080}]
        readinessProbe: {httpGet: {path: /, port: http}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: http}]}
`

// The controllers make pods of a Deployment, the kubelet runs them, and the API
// server reaches them; nothing of it is left afterwards.
func TestPlane(t *testing.T) {
	binary, err := Build(t.Context(), DefaultVersion, os.Stderr)
	require.NoError(t, err)
	logs := t.TempDir()
	plane, err := Start(t.Context(), Options{Binary: binary, LogDir: logs})
	require.NoError(t, err)
	defer func() {
		require.NoError(t, plane.Stop())
		require.NoDirExists(t, plane.dir)
		require.Error(t, plane.Running(), "all have ended")
	}()
	ctx, cancel := context.WithCancel(t.Context())
	var running errgroup.Group
	defer func() {
		cancel()
		require.NoError(t, running.Wait())
	}()
	kubelet, err := NewKubelet(plane, serverRuntime, nil)
	require.NoError(t, err)
	running.Go(func() error { return kubelet.Run(ctx) })

	apply := plane.Kubectl(t.Context(), "apply", "--server-side", "-f", "-")
	apply.Stdin = strings.NewReader(manifests)
	out, err := apply.CombinedOutput()
	require.NoError(t, err, "%s", out)
	client, err := kubernetes.NewForConfig(plane.Config())
	require.NoError(t, err)

	// Both pods answer through the API server.
	answers := map[string]bool{}
	require.Eventually(t, func() bool {
		body, err := client.CoreV1().Services("default").ProxyGet("http", "web", "http", "/hello", nil).DoRaw(t.Context())
		if err == nil {
			require.True(t, bytes.HasPrefix(body, []byte("/hello from web-")), "%s", body)
			answers[string(body)] = true
		}
		return len(answers) == 2
	}, patience, 100*time.Millisecond, "see %s", logs)

	// What dials through the network from another process reaches them too.
	pods, err := client.CoreV1().Pods("default").List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	require.Len(t, pods.Items, 2)
	through := &http.Client{Transport: &http.Transport{DialContext: DialThrough(plane.Network().Socket()), DisableKeepAlives: true}}
	response, err := through.Get("http://" + pods.Items[0].Status.PodIP + ":8080/")
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	_, err = through.Get("http://10.244.99.99:8080/")
	require.ErrorContains(t, err, "no pod listens there")

	// A container that ends is started again; a deleted pod goes.
	kubelet.mtx.Lock()
	worker := kubelet.workers[pods.Items[0].UID]
	kubelet.mtx.Unlock()
	require.NoError(t, syscall.Kill(worker.process.PID(), syscall.SIGKILL))
	require.Eventually(t, func() bool {
		pod, err := client.CoreV1().Pods("default").Get(t.Context(), pods.Items[0].Name, metav1.GetOptions{})
		return err == nil && len(pod.Status.ContainerStatuses) == 1 && pod.Status.ContainerStatuses[0].RestartCount == 1 && ready(pod)
	}, patience, 100*time.Millisecond, "see %s", logs)
	require.NoError(t, client.AppsV1().Deployments("default").Delete(t.Context(), "web", metav1.DeleteOptions{}))
	require.Eventually(t, func() bool {
		left, err := client.CoreV1().Pods("default").List(t.Context(), metav1.ListOptions{})
		return err == nil && len(left.Items) == 0
	}, patience, 100*time.Millisecond, "see %s", logs)

	// A container that is not to be started again completes its pod.
	for phase, exit := range map[corev1.PodPhase]string{corev1.PodSucceeded: "0", corev1.PodFailed: "3"} {
		pods := client.CoreV1().Pods("default")
		_, err := pods.Create(t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "job"}, Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "job", Image: "job", Args: []string{exit}}},
		}}, metav1.CreateOptions{})
		require.NoError(t, err)
		require.Eventually(t, func() bool {
			pod, err := pods.Get(t.Context(), "job", metav1.GetOptions{})
			return err == nil && pod.Status.Phase == phase
		}, patience, 100*time.Millisecond, "see %s", logs)
		require.NoError(t, pods.Delete(t.Context(), "job", metav1.DeleteOptions{}))
		require.Eventually(t, func() bool {
			_, err := pods.Get(t.Context(), "job", metav1.GetOptions{})
			return apierrors.IsNotFound(err)
		}, patience, 100*time.Millisecond, "see %s", logs)
	}

	// The API server comes back with what it had.
	plane.StopAPIServer()
	require.Error(t, plane.Running())
	require.NoError(t, plane.StartAPIServer(t.Context()))
	_, err = client.CoreV1().Services("default").Get(t.Context(), "web", metav1.GetOptions{})
	require.NoError(t, err)
	require.NoError(t, plane.Running())
}

func ready(pod *corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

func serverRuntime(ctx context.Context, c Container) (*exec.Cmd, error) {
	if c.Spec.Name == "job" {
		return exec.CommandContext(ctx, "sh", "-c", "exit "+c.Args[0]), nil
	}
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), asServer+"="+c.Listen[8080], "POD="+strings.TrimPrefix(c.Args[0], "--pod="))
	return cmd, nil
}

func TestBuildKnowsItsVersions(t *testing.T) {
	_, err := Build(t.Context(), "1.2.3", os.Stderr)
	require.ErrorContains(t, err, "choose one of 1.37.2, 1.36.3, 1.35.4")
}

func TestExpand(t *testing.T) {
	env := map[string]string{"POD": "web-1", "PORT": "80"}
	require.Equal(t, []string{"--pod=web-1", "web-1:80", "$(OTHER)", "$(POD)", "plain"},
		expand([]string{"--pod=$(POD)", "$(POD):$(PORT)", "$(OTHER)", "$$(POD)", "plain"}, env))
}
