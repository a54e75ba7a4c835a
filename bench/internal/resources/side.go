package resources

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/procfs"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/metrics/pkg/apis/metrics/v1beta1"

	"github.com/promlet/promlet/bench/internal/harness"
)

// side is one of both programs, while it runs.
type side struct {
	name    string
	program *harness.Program
	client  http.Client
	base    string
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
	certificate, err := tls.X509KeyPair(config.CertData, config.KeyData)
	if err != nil {
		return nil, err
	}
	ports, err := harness.FreePorts(1)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(b.dir, name+"-")
	if err != nil {
		return nil, err
	}
	expand := strings.NewReplacer("$DIR", dir)
	args := []string{
		"--kubeconfig", kubeconfig, "--authentication-kubeconfig", kubeconfig, "--authorization-kubeconfig", kubeconfig,
		"--bind-address=127.0.0.1", "--secure-port", ports[0], "--metric-resolution=15s", "--kubelet-use-node-status-port",
		"--kubelet-preferred-address-types=InternalIP", "--kubelet-certificate-authority", filepath.Join(b.dir, caFile),
		"--kubelet-client-certificate", filepath.Join(b.dir, certFile), "--kubelet-client-key", filepath.Join(b.dir, keyFile),
	}
	for i := range further {
		further[i] = expand.Replace(further[i])
	}
	// The context must not kill it: Stop ends it.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), binary, append(further, args...)...)
	program, err := harness.StartProgram(name, cmd, filepath.Join(b.dir, name+".log"))
	if err != nil {
		return nil, err
	}
	return &side{name: name, program: program, base: "https://127.0.0.1:" + ports[0], client: http.Client{
		Timeout: 30 * time.Second,
		Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{
			Certificates: []tls.Certificate{certificate},
			// On loopback only: both make their certificates themselves.
			InsecureSkipVerify: true, MinVersion: tls.VersionTLS12, //nolint:gosec // see above
		}},
	}}, nil
}

// stop ends the program.
func (s *side) stop() {
	s.client.CloseIdleConnections()
	s.program.Stop(stopGrace)
}

// answer is what a program answers for a node or a pod.
type answer struct {
	at     time.Time // in whole seconds, as printed
	window time.Duration
	usages []corev1.ResourceList // of the node, or of the pod's containers in the order of their names
}

// answers returns those for all nodes and all pods by name, and how long the list of the pods took.
func (s *side) answers(ctx context.Context) (all map[string]answer, took time.Duration, err error) {
	var nodes v1beta1.NodeMetricsList
	if _, err := s.list(ctx, "nodes", &nodes); err != nil {
		return nil, 0, err
	}
	var pods v1beta1.PodMetricsList
	if took, err = s.list(ctx, "pods", &pods); err != nil {
		return nil, 0, err
	}
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

// list decodes the list of a resource, and returns how long it took to arrive.
func (s *side) list(ctx context.Context, resource string, to any) (took time.Duration, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.base+"/apis/metrics.k8s.io/v1beta1/"+resource, http.NoBody)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	response, err := s.client.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close() //nolint:errcheck // read to its end, or given up
	text, err := io.ReadAll(response.Body)
	took = time.Since(began)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %.500s", response.Status, text)
	}
	if err == nil {
		err = json.Unmarshal(text, to)
	}
	if err != nil {
		return 0, fmt.Errorf("list %s of %s: %w", resource, s.name, err)
	}
	return took, nil
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
