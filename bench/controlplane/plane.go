package controlplane

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/promlet/promlet/bench/internal/harness"
)

const (
	// startTimeout is for a loaded machine; five seconds are usual.
	startTimeout = 3 * time.Minute
	// stopGrace is how long a process may take to end.
	stopGrace = 20 * time.Second
	// poll is how often a server is asked whether it is ready.
	poll = 100 * time.Millisecond
	// DefaultHPASyncPeriod makes the HPA controller look often enough for tests;
	// Kubernetes's own is 15 s.
	DefaultHPASyncPeriod = 2 * time.Second
)

// Options are the settings of a control plane.
type Options struct {
	// Binary is what Build returned. Empty: Start builds the default version.
	Binary string
	// LogDir is where the processes log, one file each. It must exist. Required.
	LogDir string
	// HPASyncPeriod is how often the HPA controller looks. Zero is
	// DefaultHPASyncPeriod.
	HPASyncPeriod time.Duration
	// FeatureGates are those of kube-apiserver and kube-controller-manager, such as
	// HPAScaleToZero=true. Empty: those of the version.
	FeatureGates string
}

// Plane is a running control plane.
type Plane struct {
	opts    Options
	dir     string // state, removed by Stop
	pki     *pki
	network *Network
	port    string // of kube-apiserver
	config  *rest.Config

	etcd, apiServer, controllers *harness.Program
	etcdURL                      string
}

// Start starts a control plane and waits until its API server is ready. Stop it
// in the end; if the calling process dies, it is killed.
func Start(ctx context.Context, opts Options) (_ *Plane, err error) {
	if opts.Binary == "" {
		if opts.Binary, err = Build(ctx, DefaultVersion, os.Stderr); err != nil {
			return nil, err
		}
	}
	if opts.HPASyncPeriod <= 0 {
		opts.HPASyncPeriod = DefaultHPASyncPeriod
	}
	// Not in LogDir: the path of a socket may have 108 bytes only.
	dir, err := os.MkdirTemp("", "controlplane-")
	if err != nil {
		return nil, fmt.Errorf("start control plane: %w", err)
	}
	p := &Plane{opts: opts, dir: dir}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := p.start(ctx); err != nil {
		return nil, errors.Join(err, p.Stop())
	}
	return p, nil
}

func (p *Plane) start(ctx context.Context) error {
	var err error
	if p.network, err = newNetwork(filepath.Join(p.dir, "network.sock")); err != nil {
		return err
	}
	if p.pki, err = newPKI(p.dir); err != nil {
		return err
	}
	ports, err := harness.FreePorts(3)
	if err != nil {
		return err
	}
	p.port = ports[0]
	if p.config, err = p.writeKubeconfigs(); err != nil {
		return err
	}
	if err := p.writeEgress(); err != nil {
		return err
	}
	if err := p.startEtcd(ports[1], ports[2]); err != nil {
		return err
	}
	if err := p.StartAPIServer(ctx); err != nil {
		return err
	}
	return p.startControllers()
}

// Stop ends all processes and removes their state; the logs stay.
func (p *Plane) Stop() error {
	p.controllers.Stop(stopGrace)
	p.apiServer.Stop(stopGrace)
	p.etcd.Stop(stopGrace)
	var err error
	if p.network != nil {
		err = p.network.close()
	}
	return errors.Join(err, os.RemoveAll(p.dir))
}

// Config is for a client with all rights.
func (p *Plane) Config() *rest.Config { return rest.CopyConfig(p.config) }

// Kubeconfig is the path of a file for a client with all rights.
func (p *Plane) Kubeconfig() string { return p.kubeconfig(adminCert) }

// Network reaches pods.
func (p *Plane) Network() *Network { return p.network }

// Kubectl returns kubectl, ready to run with all rights.
func (p *Plane) Kubectl(ctx context.Context, args ...string) *exec.Cmd {
	return Kubectl(ctx, p.opts.Binary, p.Kubeconfig(), args...)
}

// Kubectl returns the kubectl in a binary that Build returned, ready to run.
func Kubectl(ctx context.Context, binary, kubeconfig string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, binary, append([]string{"kubectl"}, args...)...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig)
	return cmd
}

// Running tells which process of the control plane has ended by itself, if any.
func (p *Plane) Running() error {
	var errs []error
	for _, child := range []*harness.Program{p.etcd, p.apiServer, p.controllers} {
		if child != nil {
			errs = append(errs, child.Ended())
		}
	}
	return errors.Join(errs...)
}

func (p *Plane) startEtcd(port, peerPort string) (err error) {
	p.etcdURL = "http://127.0.0.1:" + port
	peers := "http://127.0.0.1:" + peerPort
	p.etcd, err = p.startProcess("etcd",
		"--data-dir", filepath.Join(p.dir, "etcd"),
		"--listen-client-urls", p.etcdURL, "--advertise-client-urls", p.etcdURL,
		"--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers, "--initial-cluster", "default="+peers,
		"--unsafe-no-fsync", "--log-level", "warn")
	return err
}

// StartAPIServer starts kube-apiserver on the port it had before, and waits until
// it is ready.
func (p *Plane) StartAPIServer(ctx context.Context) error {
	var err error
	p.apiServer, err = p.startProcess("kube-apiserver",
		"--etcd-servers", p.etcdURL,
		"--bind-address", "127.0.0.1", "--secure-port", p.port,
		// An EndpointSlice of the Service kubernetes may not hold a loopback
		// address; nobody uses that Service here.
		"--advertise-address", "10.244.255.1", "--endpoint-reconciler-type", "none",
		"--tls-cert-file", p.pki.crt(serverCert), "--tls-private-key-file", p.pki.key(serverCert),
		"--client-ca-file", p.pki.crt(clusterCA),
		"--authorization-mode", "Node,RBAC",
		"--service-account-issuer", "https://kubernetes.default.svc",
		"--service-account-key-file", p.pki.key(serviceAccounts), "--service-account-signing-key-file", p.pki.key(serviceAccounts),
		"--service-cluster-ip-range", "10.96.0.0/16",
		"--requestheader-client-ca-file", p.pki.crt(frontProxyCA), "--requestheader-allowed-names", frontProxyCert,
		"--requestheader-username-headers", "X-Remote-User", "--requestheader-group-headers", "X-Remote-Group",
		"--requestheader-extra-headers-prefix", "X-Remote-Extra-",
		"--proxy-client-cert-file", p.pki.crt(frontProxyCert), "--proxy-client-key-file", p.pki.key(frontProxyCert),
		// Pods and Services are reached through the Network, endpoint by endpoint.
		"--enable-aggregator-routing", "--egress-selector-config-file", p.egressFile(),
		"--feature-gates="+p.opts.FeatureGates, "--profiling=false", "--v", "1")
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(p.config)
	if err != nil {
		return fmt.Errorf("make client of kube-apiserver: %w", err)
	}
	return p.apiServer.Wait(ctx, poll, func(ctx context.Context) error {
		return client.Discovery().RESTClient().Get().AbsPath("/readyz").Timeout(10 * time.Second).Do(ctx).Error()
	})
}

// StopAPIServer ends kube-apiserver; etcd and the controllers stay.
func (p *Plane) StopAPIServer() { p.apiServer.Stop(stopGrace) }

func (p *Plane) startControllers() error {
	var err error
	p.controllers, err = p.startProcess("kube-controller-manager",
		"--kubeconfig", p.kubeconfig(controllersCert),
		"--use-service-account-credentials", "--service-account-private-key-file", p.pki.key(serviceAccounts),
		"--root-ca-file", p.pki.crt(clusterCA),
		// No kubelet renews the node's lease.
		"--controllers", "*,-node-lifecycle-controller,-taint-eviction-controller,-node-ipam-controller",
		"--horizontal-pod-autoscaler-sync-period", p.opts.HPASyncPeriod.String(),
		"--horizontal-pod-autoscaler-initial-readiness-delay", "1s",
		"--feature-gates="+p.opts.FeatureGates, "--leader-elect=false", "--secure-port", "0", "--v", "1")
	return err
}

func (p *Plane) startProcess(name string, flags ...string) (*harness.Program, error) {
	// Its end is Stop's business, not the context's.
	cmd := exec.CommandContext(context.Background(), p.opts.Binary, append([]string{name}, flags...)...)
	return harness.StartProgram(name, cmd, filepath.Join(p.opts.LogDir, name+".log"))
}

func (p *Plane) kubeconfig(name string) string { return filepath.Join(p.dir, name+".kubeconfig") }

func (p *Plane) server() string { return "https://127.0.0.1:" + p.port }

func (p *Plane) writeKubeconfigs() (*rest.Config, error) {
	for _, name := range []string{adminCert, controllersCert} {
		user := clientcmdapi.AuthInfo{ClientCertificate: p.pki.crt(name), ClientKey: p.pki.key(name)}
		if err := p.writeKubeconfig(p.kubeconfig(name), "default", user); err != nil {
			return nil, err
		}
	}
	config, err := clientcmd.BuildConfigFromFlags("", p.Kubeconfig())
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig: %w", err)
	}
	// Files would be watched, by goroutines that outlive the plane.
	if err := rest.LoadTLSFiles(config); err != nil {
		return nil, fmt.Errorf("read kubeconfig: %w", err)
	}
	config.CertFile, config.KeyFile, config.CAFile = "", "", ""
	config.QPS = -1 // no limit of our own
	return config, nil
}

func (p *Plane) writeKubeconfig(path, namespace string, user clientcmdapi.AuthInfo) error {
	config := clientcmdapi.NewConfig()
	config.Clusters["controlplane"] = &clientcmdapi.Cluster{Server: p.server(), CertificateAuthority: p.pki.crt(clusterCA)}
	config.AuthInfos["user"] = &user
	config.Contexts["default"] = &clientcmdapi.Context{Cluster: "controlplane", AuthInfo: "user", Namespace: namespace}
	config.CurrentContext = "default"
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		return fmt.Errorf("write kubeconfig: %w", err)
	}
	return nil
}

func (p *Plane) egressFile() string { return filepath.Join(p.dir, "egress.yaml") }

// writeEgress makes kube-apiserver reach what is in the cluster through the
// Network.
func (p *Plane) writeEgress() error {
	egress := `apiVersion: apiserver.k8s.io/v1beta1
kind: EgressSelectorConfiguration
egressSelections:
- name: cluster
  connection:
    proxyProtocol: HTTPConnect
    transport: {uds: {udsName: ` + strconv.Quote(p.network.Socket()) + `}}
`
	if err := os.WriteFile(p.egressFile(), []byte(egress), 0o600); err != nil {
		return fmt.Errorf("configure kube-apiserver: %w", err)
	}
	return nil
}
