package controlplane

import (
	"context"
	"fmt"
	"log/slog"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// NodeName is the node that all pods run on.
const NodeName = "node-1"

const (
	hostIP = "10.244.254.1"
	// podSubnet is never routed to; see Network.
	podSubnet = "10.244.%d.%d"
)

// Container is what a Runtime needs to know to run the container of a pod.
type Container struct {
	Pod  *corev1.Pod
	Spec *corev1.Container
	// Args are the container's, with $(NAME) of its environment filled in.
	Args []string
	// Listen maps the container's ports to the loopback HOST:PORT to listen on
	// in their place.
	Listen map[int32]string
	// Kubeconfig is a file with a token of the pod's ServiceAccount, empty when
	// the pod mounts none.
	Kubeconfig string
	// Dir is a directory of the pod's own, which goes with it.
	Dir string
}

// Runtime makes the command that stands for a container.
type Runtime func(ctx context.Context, c Container) (*exec.Cmd, error)

// Kubelet plays the kubelet: see the package's documentation. A pod has one
// container, and mounts nothing.
type Kubelet struct {
	plane   *Plane
	client  kubernetes.Interface
	runtime Runtime
	logger  *slog.Logger

	mtx     sync.Mutex
	workers map[types.UID]*worker
	pods    int // ever seen
}

// NewKubelet returns a kubelet for a control plane. A nil logger is silent.
func NewKubelet(plane *Plane, runtime Runtime, logger *slog.Logger) (*Kubelet, error) {
	client, err := kubernetes.NewForConfig(plane.Config())
	if err != nil {
		return nil, fmt.Errorf("make client of the kubelet: %w", err)
	}
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	return &Kubelet{plane: plane, client: client, runtime: runtime, logger: logger, workers: map[types.UID]*worker{}}, nil
}

// Run runs pods until ctx is done, and then kills what is left of them.
func (k *Kubelet) Run(ctx context.Context) error {
	if err := k.register(ctx); err != nil {
		return err
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	factory := informers.NewSharedInformerFactory(k.client, 0)
	informer := factory.Core().V1().Pods().Informer()
	sync := func(obj any) {
		if pod, ok := obj.(*corev1.Pod); ok {
			k.sync(ctx, &wg, pod)
		}
	}
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    sync,
		UpdateFunc: func(_, obj any) { sync(obj) },
		DeleteFunc: func(obj any) {
			if unknown, ok := obj.(cache.DeletedFinalStateUnknown); ok {
				obj = unknown.Obj
			}
			if pod, ok := obj.(*corev1.Pod); ok {
				k.forget(pod)
			}
		},
	})
	if err != nil {
		return fmt.Errorf("watch pods: %w", err)
	}
	informer.RunWithContext(ctx)
	return nil
}

// register makes the node, ready to take pods.
func (k *Kubelet) register(ctx context.Context) error {
	node, err := k.client.CoreV1().Nodes().Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{
		Name:   NodeName,
		Labels: map[string]string{corev1.LabelHostname: NodeName, corev1.LabelOSStable: "linux"},
	}}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("register node: %w", err)
	}
	capacity := corev1.ResourceList{
		corev1.ResourceCPU:    resource.MustParse("8"),
		corev1.ResourceMemory: resource.MustParse("32Gi"),
		corev1.ResourcePods:   resource.MustParse("250"),
	}
	node.Status = corev1.NodeStatus{
		Capacity: capacity, Allocatable: capacity,
		Addresses:  []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: hostIP}},
		Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "KubeletReady"}},
	}
	if _, err := k.client.CoreV1().Nodes().UpdateStatus(ctx, node, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("register node: %w", err)
	}
	return nil
}

// sync starts a worker for a new pod, and tells one that its pod is to end.
func (k *Kubelet) sync(ctx context.Context, wg *sync.WaitGroup, pod *corev1.Pod) {
	k.mtx.Lock()
	defer k.mtx.Unlock()
	w := k.workers[pod.UID]
	if w == nil {
		k.pods++
		ctx, cancel := context.WithCancel(ctx)
		w = newWorker(k, pod, fmt.Sprintf(podSubnet, k.pods/250, k.pods%250+1), cancel)
		k.workers[pod.UID] = w
		wg.Go(func() { w.run(ctx) })
	}
	if pod.DeletionTimestamp != nil {
		w.terminate()
	}
}

func (k *Kubelet) forget(pod *corev1.Pod) {
	k.mtx.Lock()
	defer k.mtx.Unlock()
	if w := k.workers[pod.UID]; w != nil {
		delete(k.workers, pod.UID)
		w.cancel()
	}
}

// podDir is where a pod keeps its files. It is under the plane's state.
func (k *Kubelet) podDir(pod *corev1.Pod) string {
	return filepath.Join(k.plane.dir, "pods", string(pod.UID))
}

// podLog is the file that a pod logs to.
func (k *Kubelet) podLog(pod *corev1.Pod) string {
	return filepath.Join(k.plane.opts.LogDir, fmt.Sprintf("pod-%s-%s.log", pod.Namespace, pod.Name))
}

// retryDelay is how long to wait before something is tried again.
const retryDelay = time.Second
