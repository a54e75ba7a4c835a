package controlplane

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/promlet/promlet/bench/internal/harness"
)

// worker runs one pod.
type worker struct {
	kubelet *Kubelet
	pod     *corev1.Pod // as it was first seen
	ip      string
	listen  map[int32]string

	cancel      context.CancelFunc // when the pod is gone
	terminating chan struct{}      // closed when the pod is to end
	once        sync.Once

	process  *harness.Program
	started  time.Time
	restarts int32
	probes   probes
	reported corev1.PodStatus // what the API server knows
}

func newWorker(k *Kubelet, pod *corev1.Pod, ip string, cancel context.CancelFunc) *worker {
	return &worker{
		kubelet: k, pod: pod, ip: ip, listen: map[int32]string{},
		cancel: cancel, terminating: make(chan struct{}),
		probes: newProbes(&pod.Spec.Containers[0]),
	}
}

func (w *worker) terminate() { w.once.Do(func() { close(w.terminating) }) }

// run brings the pod up and keeps it so until it is to end or ctx is done.
func (w *worker) run(ctx context.Context) {
	logger := w.kubelet.logger.With("pod", w.pod.Namespace+"/"+w.pod.Name)
	defer w.cancel()
	defer w.cleanUp()
	for {
		err := w.setUp(ctx)
		if err == nil {
			break
		}
		logger.Warn("cannot set pod up", "error", err)
		select {
		case <-ctx.Done():
			return
		case <-w.terminating:
			w.remove(ctx)
			return
		case <-time.After(retryDelay):
		}
	}
	logger.Info("pod started", "ip", w.ip)
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		w.report(ctx)
		select {
		case <-ctx.Done():
			return
		case <-w.terminating:
			logger.Info("pod is to end")
			w.end(ctx)
			w.remove(ctx)
			return
		case <-w.toRestart():
			if !w.completed() {
				logger.Warn("container ended", "error", w.process.Ended())
				w.restart(ctx)
			}
		case <-ticker.C:
			if w.probes.run(ctx, w.listen, time.Now()) {
				logger.Warn("container is not live")
				w.process.Stop(stopGrace)
			}
		}
	}
}

// setUp binds the pod to the node, gives it addresses and starts its container.
func (w *worker) setUp(ctx context.Context) error {
	if w.pod.Spec.NodeName == "" {
		err := w.kubelet.client.CoreV1().Pods(w.pod.Namespace).Bind(ctx, &corev1.Binding{
			ObjectMeta: metav1.ObjectMeta{Name: w.pod.Name, UID: w.pod.UID},
			Target:     corev1.ObjectReference{Kind: "Node", Name: NodeName},
		}, metav1.CreateOptions{})
		if err != nil && !apierrors.IsConflict(err) { // bound by an attempt before
			return fmt.Errorf("bind: %w", err)
		}
	}
	if err := os.MkdirAll(w.kubelet.podDir(w.pod), 0o700); err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	for _, port := range w.pod.Spec.Containers[0].Ports {
		if w.listen[port.ContainerPort] != "" {
			continue
		}
		free, err := harness.FreePorts(1)
		if err != nil {
			return err
		}
		w.listen[port.ContainerPort] = "127.0.0.1:" + free[0]
		w.kubelet.plane.network.Route(w.address(port.ContainerPort), w.listen[port.ContainerPort])
	}
	return w.start(ctx)
}

func (w *worker) address(port int32) string { return fmt.Sprintf("%s:%d", w.ip, port) }

func (w *worker) start(ctx context.Context) error {
	spec := &w.pod.Spec.Containers[0]
	kubeconfig, err := w.kubelet.credentials(ctx, w.pod)
	if err != nil {
		return err
	}
	cmd, err := w.kubelet.runtime(ctx, Container{
		Pod: w.pod, Spec: spec, Args: expand(spec.Args, environment(w.pod, spec, w.ip)),
		Listen: w.listen, Kubeconfig: kubeconfig, Dir: w.kubelet.podDir(w.pod),
	})
	if err != nil {
		return fmt.Errorf("run %s: %w", spec.Image, err)
	}
	started, err := harness.StartProgram(w.pod.Name, cmd, w.kubelet.podLog(w.pod))
	if err != nil {
		return err // the process before, if any, is still known to have ended
	}
	w.process, w.started = started, time.Now()
	w.probes.reset(w.started)
	return nil
}

// completed reports whether the container has ended and is not to be started again.
func (w *worker) completed() bool {
	return w.pod.Spec.RestartPolicy == corev1.RestartPolicyNever && w.process.Ended() != nil
}

// toRestart is closed when the container has ended, and nil once it is completed.
func (w *worker) toRestart() <-chan struct{} {
	if w.completed() {
		return nil
	}
	return w.process.Done()
}

// restart starts the container again, a moment after it has ended.
func (w *worker) restart(ctx context.Context) {
	w.probes.reset(time.Now())
	w.report(ctx)
	select {
	case <-ctx.Done():
		return
	case <-w.terminating:
		return
	case <-time.After(retryDelay):
	}
	w.restarts++
	if err := w.start(ctx); err != nil {
		w.kubelet.logger.Warn("cannot restart container", "pod", w.pod.Name, "error", err)
	}
}

// end gives the container its grace period, and probes it meanwhile.
func (w *worker) end(ctx context.Context) {
	grace := 30 * time.Second
	if seconds := w.pod.Spec.TerminationGracePeriodSeconds; seconds != nil {
		grace = time.Duration(*seconds) * time.Second
	}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		w.process.Stop(grace)
	}()
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-stopped:
			return
		case <-ctx.Done():
			w.process.Kill()
		case <-ticker.C:
			_ = w.probes.run(ctx, w.listen, time.Now())
			w.report(ctx)
			continue
		}
		<-stopped
		return
	}
}

// remove tells the API server that nothing is left of the pod.
func (w *worker) remove(ctx context.Context) {
	now := int64(0)
	for {
		err := w.kubelet.client.CoreV1().Pods(w.pod.Namespace).Delete(ctx, w.pod.Name, metav1.DeleteOptions{
			GracePeriodSeconds: &now, Preconditions: &metav1.Preconditions{UID: &w.pod.UID},
		})
		if err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(retryDelay):
		}
	}
}

func (w *worker) cleanUp() {
	if w.process != nil {
		w.process.Kill()
	}
	for port := range w.listen {
		w.kubelet.plane.network.Unroute(w.address(port))
	}
	_ = os.RemoveAll(w.kubelet.podDir(w.pod)) // Stop removes all of them
}

// report patches the pod's status when it has changed; what fails is tried again
// at the next call.
func (w *worker) report(ctx context.Context) {
	status := w.status()
	if reflect.DeepEqual(status, w.reported) {
		return
	}
	patch, err := json.Marshal(map[string]any{"status": status})
	if err != nil {
		w.kubelet.logger.Error("cannot encode status", "error", err)
		return
	}
	_, err = w.kubelet.client.CoreV1().Pods(w.pod.Namespace).Patch(ctx, w.pod.Name, types.MergePatchType, patch, metav1.PatchOptions{}, "status")
	if err == nil {
		w.reported = status
	}
}

func (w *worker) status() corev1.PodStatus {
	spec := &w.pod.Spec.Containers[0]
	ready := w.probes.ready && w.process.Ended() == nil
	condition := corev1.ConditionFalse
	if ready {
		condition = corev1.ConditionTrue
	}
	since := metav1.NewTime(w.started.Truncate(time.Second))
	changed := metav1.NewTime(w.probes.changed.Truncate(time.Second))
	phase, state := corev1.PodRunning, corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: since}}
	if w.completed() {
		phase, state = corev1.PodSucceeded, corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: int32(w.process.ExitCode()), StartedAt: since}}
		if w.process.ExitCode() != 0 {
			phase = corev1.PodFailed
		}
	}
	return corev1.PodStatus{
		Phase:     phase,
		PodIP:     w.ip,
		PodIPs:    []corev1.PodIP{{IP: w.ip}},
		HostIP:    hostIP,
		StartTime: &since,
		Conditions: []corev1.PodCondition{
			{Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: since},
			{Type: corev1.PodInitialized, Status: corev1.ConditionTrue, LastTransitionTime: since},
			{Type: corev1.ContainersReady, Status: condition, LastTransitionTime: changed},
			{Type: corev1.PodReady, Status: condition, LastTransitionTime: changed},
		},
		ContainerStatuses: []corev1.ContainerStatus{{
			Name: spec.Name, Image: spec.Image, ImageID: spec.Image, ContainerID: "process://" + string(w.pod.UID),
			Ready: ready, RestartCount: w.restarts,
			State: state,
		}},
	}
}
