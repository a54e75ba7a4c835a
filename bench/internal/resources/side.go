package resources

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/procfs"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/metrics/pkg/apis/metrics/v1beta1"
	metricsclient "k8s.io/metrics/pkg/client/clientset/versioned"

	"github.com/promlet/promlet/bench/internal/harness"
)

// side is one of both programs, while it runs.
type side struct {
	name    string
	program *harness.Program
	client  *metricsclient.Clientset
	usage
}

// usage is what a program used while it was watched.
type usage struct {
	resident, anonymous []float64 // bytes, one reading for each time that it was asked
	highest             float64   // bytes, the most ever resident
	cpu, listing        time.Duration
	latencies           []time.Duration // of lists of all pods
}

// start starts a program with the flags that both have, and more.
func (b *bench) start(ctx context.Context, name, binary string, further ...string) (*side, error) {
	config, kubeconfig := b.plane.Config(), b.plane.Kubeconfig()
	ports, err := harness.FreePorts(1)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(b.dir, name+"-")
	if err != nil {
		return nil, err
	}
	args := []string{
		"--kubeconfig", kubeconfig, "--authentication-kubeconfig", kubeconfig, "--authorization-kubeconfig", kubeconfig,
		"--bind-address=127.0.0.1", "--secure-port", ports[0], "--metric-resolution=15s", "--kubelet-use-node-status-port",
		"--kubelet-preferred-address-types=InternalIP", "--kubelet-certificate-authority", filepath.Join(b.dir, caFile),
		"--kubelet-client-certificate", filepath.Join(b.dir, certFile), "--kubelet-client-key", filepath.Join(b.dir, keyFile),
	}
	for i := range further {
		further[i] = strings.ReplaceAll(further[i], "$DIR", dir)
	}
	client, err := metricsclient.NewForConfig(&rest.Config{
		Host: "https://127.0.0.1:" + ports[0], QPS: -1, // no limit of our own
		// What HPAs are read by, with the administrator's certificate. On loopback both make their certificates themselves.
		ContentConfig:   rest.ContentConfig{ContentType: "application/vnd.kubernetes.protobuf"},
		TLSClientConfig: rest.TLSClientConfig{Insecure: true, CertData: config.CertData, KeyData: config.KeyData},
	})
	if err != nil {
		return nil, err
	}
	// The context must not kill it: Stop ends it.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), binary, append(further, args...)...)
	program, err := harness.StartProgram(name, cmd, filepath.Join(b.dir, name+".log"))
	return &side{name: name, program: program, client: client}, err
}

// answer is what a program answers for a node or a pod.
type answer struct {
	at     time.Time // in whole seconds, as printed
	window time.Duration
	usages []corev1.ResourceList // of the node, or of the pod's containers in the order of their names
}

// answers returns those for all nodes and all pods by name, and how long the list of the pods took.
func (s *side) answers(ctx context.Context) (all map[string]answer, took time.Duration, err error) {
	nodes, err := s.client.MetricsV1beta1().NodeMetricses().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, 0, fmt.Errorf("list the nodes of %s: %w", s.name, err)
	}
	began := time.Now()
	pods, err := s.client.MetricsV1beta1().PodMetricses("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, 0, fmt.Errorf("list the pods of %s: %w", s.name, err)
	}
	took = time.Since(began)
	all = make(map[string]answer, len(nodes.Items)+len(pods.Items))
	for _, n := range nodes.Items {
		all[n.Name] = answer{n.Timestamp.Time, n.Window.Duration, []corev1.ResourceList{n.Usage}}
	}
	for _, p := range pods.Items {
		a := answer{at: p.Timestamp.Time, window: p.Window.Duration}
		slices.SortFunc(p.Containers, func(a, b v1beta1.ContainerMetrics) int { return strings.Compare(a.Name, b.Name) })
		for _, c := range p.Containers {
			a.usages = append(a.usages, c.Usage)
		}
		all[p.Name] = a
	}
	return all, took, nil
}

// cpuTime returns the time that all threads have run, to the nanosecond; the process's own is in hundredths of a second.
func (s *side) cpuTime() (sum time.Duration, err error) {
	threads, err := procfs.AllThreads(s.program.PID())
	if err != nil {
		return 0, fmt.Errorf("read the CPU time of %s: %w", s.name, err)
	}
	for _, t := range threads {
		stat, err := t.Schedstat()
		if err != nil {
			return 0, fmt.Errorf("read the CPU time of %s: %w", s.name, err)
		}
		sum += time.Duration(stat.RunningNanoseconds)
	}
	return sum, nil
}

// readMemory notes what the program holds now.
func (s *side) readMemory() error {
	process, err := procfs.NewProc(s.program.PID())
	if err != nil {
		return err
	}
	status, err := process.NewStatus()
	if err != nil {
		return fmt.Errorf("read the memory of %s: %w", s.name, err)
	}
	s.resident, s.anonymous = append(s.resident, float64(status.VmRSS)), append(s.anonymous, float64(status.RssAnon))
	s.highest = float64(status.VmHWM)
	return nil
}
