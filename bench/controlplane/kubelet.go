package controlplane

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// NodeName is the node that pods run on whose spec names none.
const NodeName = "node-1"

// Addresses are never routed to; see Network.
const (
	podSubnet  = "10.244.%d.%d"
	nodeSubnet = "10.244.254.%d"
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
	// ServiceAccount is the directory with the files token and ca.crt, empty when
	// the pod mounts none.
	ServiceAccount string
	// Dir is a directory of the pod's own, which goes with it.
	Dir string
}

// Runtime makes the command that stands for a container.
type Runtime func(ctx context.Context, c Container) (*exec.Cmd, error)

// Kubelet plays the kubelet of each node: see the package's documentation. A pod
// runs its first container; others have a status and use what SetUsage says. It
// mounts nothing.
type Kubelet struct {
	plane    *Plane
	client   kubernetes.Interface
	runtime  Runtime
	logger   *slog.Logger
	counters *counters

	mtx     sync.Mutex
	nodes   []*Node // all that there ever were
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
	return &Kubelet{
		plane: plane, client: client, runtime: runtime, logger: logger,
		counters: newCounters(), workers: map[types.UID]*worker{},
	}, nil
}

// SetUsage says what nodes and containers use from now on. Until then all of them are idle.
func (k *Kubelet) SetUsage(usage Usage) { k.counters.set(usage) }

// Run runs pods until ctx is done, and then kills what is left of them.
func (k *Kubelet) Run(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, k.closeNodes()) }()
	if _, err := k.AddNode(ctx, NodeName); err != nil {
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
	_, err = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
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

// closeNodes ends what the nodes serve.
func (k *Kubelet) closeNodes() (err error) {
	k.mtx.Lock()
	nodes := slices.Clone(k.nodes)
	k.mtx.Unlock()
	for _, n := range nodes {
		err = errors.Join(err, n.close())
	}
	return err
}

// hostIP returns the address of a node, empty if there was never such a node.
func (k *Kubelet) hostIP(node string) string {
	k.mtx.Lock()
	defer k.mtx.Unlock()
	for _, n := range k.nodes {
		if n.Name == node {
			return n.Address
		}
	}
	return ""
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
