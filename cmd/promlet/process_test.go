package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"k8s.io/metrics/pkg/apis/custom_metrics/v1beta2"

	"github.com/promlet/promlet/bench/controlplane"
)

// asPromlet in the environment makes the test binary be promlet, so that tests
// can kill a real process.
const asPromlet = "PROMLET_TEST_MAIN"

// podNetwork in the environment of such a promlet is the socket through which it
// reaches pods.
const podNetwork = "PROMLET_TEST_POD_NETWORK"

// podServiceAccount in the environment of such a promlet is the directory in which the pod's
// ServiceAccount is mounted.
const podServiceAccount = "PROMLET_TEST_POD_SERVICE_ACCOUNT"

func TestMain(m *testing.M) {
	if os.Getenv(asPromlet) != "" {
		run(func() *options {
			opts := newOptions()
			if socket := os.Getenv(podNetwork); socket != "" {
				opts.dialTarget = dialPods(socket, opts)
			}
			if dir := os.Getenv(podServiceAccount); dir != "" {
				opts.resources.kubelets.TokenFile = filepath.Join(dir, "token")
				opts.resources.kubelets.CertificateAuthority = filepath.Join(dir, "ca.crt")
			}
			return opts
		})
		return
	}
	if dir := os.Getenv(asSecureApp); dir != "" {
		if err := secureApp(dir, os.Getenv(secureAppListen)); err != nil {
			panic(err)
		}
		return
	}
	if listen := os.Getenv(asOddApp); listen != "" {
		if err := oddApp(listen, os.Getenv(oddAppRefuse), os.Getenv(oddAppMixed)); err != nil {
			panic(err)
		}
		return
	}
	if listen := os.Getenv(asSteadyApp); listen != "" {
		if err := steadyApp(listen, os.Getenv(steadyShares), os.Getenv(steadyPod)); err != nil {
			panic(err)
		}
		return
	}
	if recipe := os.Getenv(asRecipeApp); recipe != "" {
		if err := recipeApp(recipe, os.Getenv(recipeAppListen), os.Getenv(recipeAppBody)); err != nil {
			panic(err)
		}
		return
	}
	// The apiserver library starts these with the first server of a process
	// and has no way to end them.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("k8s.io/apimachinery/pkg/util/wait.Forever"))
}

// dialPods reaches pods through a socket, where promlet's flags allow their addresses.
func dialPods(socket string, opts *options) func(ctx context.Context, network, address string) (net.Conn, error) {
	dial := controlplane.DialThrough(socket)
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		if at, err := netip.ParseAddrPort(address); err == nil {
			if err := opts.destinations.Check(at.Addr()); err != nil {
				return nil, err
			}
		}
		return dial(ctx, network, address)
	}
}

// patience is how long anything may take on a loaded machine.
const patience = time.Minute

// process is a promlet running on manifests.
type process struct {
	t         *testing.T
	cmd       *exec.Cmd
	log       *buffer
	api, web  string // base URLs
	client    *http.Client
	manifests string
	data      string
}

// buffer is a log that is read while it is written.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// startProcess runs promlet on a directory of manifests and a data directory,
// and waits until it is ready.
func startProcess(t *testing.T, manifests, data string, flags ...string) *process {
	t.Helper()
	p := startPromlet(t, nil, append(processFlags(manifests, data), flags...)...)
	p.manifests, p.data = manifests, data
	return p
}

// runProcess is startProcess without waiting.
func runProcess(t *testing.T, manifests, data string, flags ...string) *process {
	t.Helper()
	return runPromlet(t, nil, append(processFlags(manifests, data), flags...)...)
}

// startPromlet runs promlet with flags and more in its environment, and waits until it is ready.
func startPromlet(t *testing.T, env []string, flags ...string) *process {
	t.Helper()
	p := runPromlet(t, env, flags...)
	require.Eventually(t, func() bool {
		code, _, err := p.get(p.api + "/readyz")
		return err == nil && code == http.StatusOK
	}, patience, 50*time.Millisecond, "promlet must get ready: %s", p.log)
	return p
}

// processFlags are those of a promlet that scrapes and answers quickly.
func processFlags(manifests, data string) []string {
	return []string{"--manifests", manifests, "--data-dir", data, "--scrape-interval", "1s", "--scrape-timeout", "1s", "--rate-window", "10s"}
}

// runPromlet is startPromlet without waiting.
func runPromlet(t *testing.T, env []string, flags ...string) *process {
	t.Helper()
	apiPort, webPort := freePort(t), freePort(t)
	p := &process{
		t: t, log: &buffer{}, api: "https://127.0.0.1:" + apiPort, web: "http://127.0.0.1:" + webPort,
		client: insecureClient(),
	}
	args := append([]string{"serve", "--secure-port", apiPort, "--web-listen-address", "127.0.0.1:" + webPort}, flags...)
	p.cmd = exec.CommandContext(context.WithoutCancel(t.Context()), os.Args[0], args...)
	p.cmd.Env = append(append(os.Environ(), asPromlet+"=1"), env...)
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	require.NoError(t, p.cmd.Start())
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("log of promlet:\n%s", p.log)
		}
	})
	return p
}

// insecureClient trusts the certificate that promlet makes for itself.
func insecureClient() *http.Client {
	return &http.Client{
		Timeout:   10 * time.Second,
		Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}},
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, listener.Close())
	_, port, err := net.SplitHostPort(listener.Addr().String())
	require.NoError(t, err)
	return port
}

// kill ends the process as an OOM killer does.
func (p *process) kill() {
	if p.cmd.ProcessState == nil {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
	}
}

// terminate asks it to end, and returns how it did.
func (p *process) terminate() error {
	p.t.Helper()
	require.NoError(p.t, p.cmd.Process.Signal(syscall.SIGTERM))
	return p.cmd.Wait()
}

func (p *process) get(url string) (int, []byte, error) {
	response, err := p.client.Get(url)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return response.StatusCode, body, err
}

// metric asks for "RESOURCE/NAME/METRIC" in the namespace default and writes the
// values as "name=value name=value", or the error's message.
func (p *process) metric(path string) (string, []v1beta2.MetricValue) {
	p.t.Helper()
	code, body, err := p.get(p.api + "/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/" + path)
	require.NoError(p.t, err)
	if code != http.StatusOK {
		var status struct{ Message string }
		require.NoError(p.t, json.Unmarshal(body, &status), "%s", body)
		return status.Message, nil
	}
	var list v1beta2.MetricValueList
	require.NoError(p.t, json.Unmarshal(body, &list), "%s", body)
	shown := make([]string, 0, len(list.Items))
	for _, item := range list.Items {
		shown = append(shown, fmt.Sprintf("%s=%s", item.DescribedObject.Name, &item.Value))
	}
	return strings.Join(shown, " "), list.Items
}

// eventually waits for a metric to be answered so.
func (p *process) eventually(path, want string) {
	p.t.Helper()
	got := ""
	for start := time.Now(); time.Since(start) < patience; time.Sleep(100 * time.Millisecond) {
		if got, _ = p.metric(path); got == want {
			return
		}
	}
	require.Equal(p.t, want, got, path)
}

// activeTarget is one of /api/v1/targets, as far as tests read it.
type activeTarget struct {
	Labels     map[string]string
	LastError  string
	LastScrape time.Time
}

func (p *process) activeTargets() []activeTarget {
	p.t.Helper()
	code, body, err := p.get(p.web + "/api/v1/targets")
	require.NoError(p.t, err)
	require.Equal(p.t, http.StatusOK, code)
	var answer struct {
		Data struct{ ActiveTargets []activeTarget }
	}
	require.NoError(p.t, json.Unmarshal(body, &answer))
	return answer.Data.ActiveTargets
}

// lastErrors returns the last error of each target, by its pod.
func (p *process) lastErrors() map[string]string {
	p.t.Helper()
	errs := map[string]string{}
	for _, t := range p.activeTargets() {
		errs[t.Labels["pod"]] = t.LastError
	}
	return errs
}

// writeManifests describes pods, by name and address, behind the Service app,
// and a monitor that selects it.
func writeManifests(t *testing.T, dir string, pods map[string]string) {
	t.Helper()
	var b strings.Builder
	b.WriteString(`apiVersion: v1
kind: Service
metadata: {name: app, namespace: default, labels: {app: app}}
spec: {selector: {app: app}, ports: [{name: web, port: 80}]}
---
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata: {name: app, namespace: default}
spec: {selector: {matchLabels: {app: app}}, endpoints: [{port: web}]}
`)
	for name, address := range pods {
		host, port, err := net.SplitHostPort(address)
		require.NoError(t, err)
		fmt.Fprintf(&b, `---
apiVersion: v1
kind: Pod
metadata: {name: %[1]s, namespace: default, labels: {app: app}}
status: {podIP: %[2]s, phase: Running, conditions: [{type: Ready, status: "True"}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: %[1]s, namespace: default, labels: {kubernetes.io/service-name: app}}
addressType: IPv4
endpoints: [{addresses: [%[2]s], conditions: {ready: true}, targetRef: {kind: Pod, name: %[1]s, namespace: default}}]
ports: [{name: web, port: %[3]s}]
`, name, host, port)
	}
	// Written beside and renamed, as an editor does.
	temporary := filepath.Join(t.TempDir(), "app.yaml")
	require.NoError(t, os.WriteFile(temporary, []byte(b.String()), 0o600))
	require.NoError(t, os.Rename(temporary, filepath.Join(dir, "app.yaml")))
}
