package attacks

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/promlet/promlet/bench/internal/harness"
)

const (
	// patience is how long promlet may take to get ready on a loaded machine.
	patience = time.Minute
	// grace is what deploy/deployment.yaml leaves of terminationGracePeriodSeconds after --shutdown-delay-duration.
	grace = 35 * time.Second

	scrapeInterval = 2 * time.Second
	rateWindow     = 30 * time.Second

	// tenant is the namespace of whoever attacks.
	tenant = "mallory"
)

// site is a promlet on manifests, with an application of the namespace shop that is well behaved, and whose values are
// read all the time.
type site struct {
	*testing.T
	memory      *bounded
	flags       []string
	apply       func(name, text string) // describes objects
	manifests   string                  // directory, if there is one
	data        string
	api, web    string // HOST:PORT
	credentials []tls.Certificate
	client      *http.Client
	log         string // file
	cmd         *exec.Cmd
	promlet     *harness.Program
	pid         atomic.Int64 // of it, for the reader
	reader      *reader
}

// start starts a promlet with further flags, and reads from when it has the values.
func start(t *testing.T, flags ...string) *site {
	s := prepare(t, flags...)
	s.start()
	return s
}

// prepare makes a site on a directory of manifests.
func prepare(t *testing.T, flags ...string) *site {
	s := newSite(t)
	s.manifests = t.TempDir()
	s.apply = func(name, text string) { // in one step
		temporary := filepath.Join(t.TempDir(), name)
		require.NoError(t, os.WriteFile(temporary, []byte(text), 0o600))
		require.NoError(t, os.Rename(temporary, filepath.Join(s.manifests, name+".yaml")))
	}
	s.flags = append(append(s.flags, "--manifests", s.manifests), flags...)
	s.reader = s.deployShop(func([]string) string { return "" })
	return s
}

// newSite makes one whose clients have credentials. It lacks a source of objects, and the application.
func newSite(t *testing.T, credentials ...tls.Certificate) *site {
	s := &site{T: t, memory: newBounded(t), credentials: credentials, data: filepath.Join(t.TempDir(), "data"), log: filepath.Join(t.TempDir(), "log")}
	s.client = s.newClient()
	ports, err := harness.FreePorts(2)
	require.NoError(t, err)
	s.api, s.web = "127.0.0.1:"+ports[0], "127.0.0.1:"+ports[1]
	s.flags = []string{
		"serve", "--data-dir", s.data, "--secure-port", ports[0], "--web-listen-address", s.web,
		"--scrape-interval", scrapeInterval.String(), "--scrape-timeout", scrapeInterval.String(), "--rate-window", rateWindow.String(),
	}
	return s
}

func (s *site) start() {
	s.Helper()
	s.run()
	s.eventuallyRight()
	s.reader.begin()
}

// eventuallyRight waits for the shop's values, each of which must be there from then on.
func (s *site) eventuallyRight() {
	s.Helper()
	for _, path := range []string{shopRate, shopDepth} {
		s.eventually(path, func(got float64) error { return right(path, got) })
	}
	s.reader.mayBeAbsent.Store(false)
}

func (s *site) newClient() *http.Client {
	// promlet makes its certificate itself.
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, Certificates: s.credentials}}
	s.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Timeout: 30 * time.Second, Transport: transport}
}

// run starts the process, and waits until it is ready.
func (s *site) run() {
	s.Helper()
	s.launch()
	require.NoError(s, s.waitUntilReady())
}

// waitUntilReady is an error when the process ends.
func (s *site) waitUntilReady() error {
	ctx, cancel := context.WithTimeout(s.Context(), patience)
	defer cancel()
	return s.promlet.Wait(ctx, 50*time.Millisecond, func(context.Context) error {
		code, body, err := s.get("https://" + s.api + "/readyz?verbose")
		if err == nil && code != http.StatusOK {
			err = errors.New(body)
		}
		return err
	})
}

func (s *site) launch() {
	s.Helper()
	s.cmd = s.memory.command(os.Getenv(built), s.flags...)
	var err error
	s.promlet, err = harness.StartProgram("promlet", s.cmd, s.log)
	require.NoError(s, err)
	s.pid.Store(int64(s.promlet.PID()))
	s.Cleanup(s.promlet.Kill)
}

// kill ends the process as the OOM killer does. Until the next run, there may be no answers.
func (s *site) kill() {
	s.reader.mayBeAbsent.Store(true)
	s.promlet.Kill()
}

// restart runs it again, and wants answers from when it is ready.
func (s *site) restart() {
	s.Helper()
	s.run()
	s.reader.mayBeAbsent.Store(false)
}

// endure waits while promlet is under an attack.
func (s *site) endure(attack string, d time.Duration) {
	s.Helper()
	select {
	case <-s.promlet.Done():
	case <-time.After(d):
	}
	require.NoError(s, s.promlet.Ended(), "by %s; %s", attack, s.reader)
	s.Logf("after %s: %s", attack, s.reader)
}

// end ends the reading and the process, each of which must have gone well.
func (s *site) end() {
	s.Helper()
	s.reader.end()
	require.NoError(s, s.promlet.Ended())
	told := time.Now()
	s.promlet.Stop(grace)
	s.Logf("%s; SIGTERM obeyed after %s", s.reader, time.Since(told).Round(10*time.Millisecond))
	require.True(s, s.cmd.ProcessState.Success(), "within %s of SIGTERM it ends with %s", grace, s.cmd.ProcessState)
}

// get returns the beginning of an answer.
func (s *site) get(url string) (int, string, error) {
	return answer(s.client.Get(url))
}

func answer(response *http.Response, err error) (int, string, error) {
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 4<<20))
	return response.StatusCode, string(body), err
}

// metric asks for a metric: NAMESPACE/RESOURCE/NAME/METRIC.
func (s *site) metric(path string) (int, string, error) {
	return s.get("https://" + s.api + "/apis/custom.metrics.k8s.io/v1beta2/namespaces/" + path)
}

// eventually waits for a metric to have a value that is right.
func (s *site) eventually(path string, right func(float64) error) {
	s.Helper()
	require.EventuallyWithT(s, func(c *assert.CollectT) {
		got, err := valueOf(s.metric(path))
		require.NoError(c, err)
		require.NoError(c, right(got))
	}, patience, 100*time.Millisecond, path)
}

func equal(want float64) func(float64) error {
	return func(got float64) error {
		if got != want {
			return fmt.Errorf("it is %g, and answered is %g", want, got)
		}
		return nil
	}
}

// app is an application that a monitor selects, with a pod at each address.
type app struct {
	namespace, name string
	addresses       []string // HOST:PORT, with the same port
	endpoint        string   // further keys of the monitor's endpoint, as YAML in braces has them: ", honorLabels: true"
}

// deploy describes an application, and an HPA that reads the metrics.
func (s *site) deploy(a app, metrics ...string) {
	s.Helper()
	_, port, err := net.SplitHostPort(a.addresses[0])
	require.NoError(s, err)
	var b bytes.Buffer
	fmt.Fprintf(&b, `apiVersion: v1
kind: Namespace
metadata: {name: %[1]s}
---
apiVersion: v1
kind: Service
metadata: {name: %[2]s, namespace: %[1]s, labels: {app: %[2]s}}
spec: {selector: {app: %[2]s}, ports: [{name: web, port: 80, targetPort: %[4]s}]}
---
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata: {name: %[2]s, namespace: %[1]s}
spec: {selector: {matchLabels: {app: %[2]s}}, endpoints: [{port: web%[3]s}]}
`, a.namespace, a.name, a.endpoint, port)
	var endpoints []string
	for i, address := range a.addresses {
		host := strings.TrimSuffix(address, ":"+port)
		pod := fmt.Sprintf("%s-%d", a.name, i)
		fmt.Fprintf(&b, `---
apiVersion: v1
kind: Pod
metadata: {name: %[2]s, namespace: %[1]s, labels: {app: %[3]s}}
spec: {containers: [{name: app, image: app}]}
status: {podIP: %[4]s, phase: Running, conditions: [{type: Ready, status: "True"}]}
`, a.namespace, pod, a.name, host)
		endpoints = append(endpoints, fmt.Sprintf("{addresses: [%s], conditions: {ready: true}, targetRef: {kind: Pod, name: %s, namespace: %s}}", host, pod, a.namespace))
	}
	fmt.Fprintf(&b, `---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: %[2]s, namespace: %[1]s, labels: {kubernetes.io/service-name: %[2]s}}
addressType: IPv4
endpoints: [%[3]s]
ports: [{name: web, port: %[4]s}]
`, a.namespace, a.name, strings.Join(endpoints, ",\n"), port)
	for _, metric := range metrics {
		fmt.Fprintf(&b, `---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: %[2]s-%[3]s, namespace: %[1]s}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: %[2]s}
  maxReplicas: 10
  metrics: [{type: Object, object: {metric: {name: %[4]s}, describedObject: {apiVersion: v1, kind: Service, name: %[2]s}, target: {type: Value, value: "1"}}}]
`, a.namespace, a.name, strings.ReplaceAll(metric, "_", "-"), metric)
	}
	s.apply(a.namespace+"-"+a.name, b.String())
}

// listen has the connections to n addresses of loopback, on one port, served until the test ends.
func (s *site) listen(n int, serve func(conn net.Conn, i int)) (addresses []string) {
	s.Helper()
	p := &peers{serve: serve, conns: map[net.Conn]bool{}}
	port := "0"
	for i := range n {
		listener, err := net.Listen("tcp", fmt.Sprintf("127.1.%d.%d:%s", i/250, 1+i%250, port))
		require.NoError(s, err)
		addresses = append(addresses, listener.Addr().String())
		_, port, _ = net.SplitHostPort(listener.Addr().String())
		p.listeners = append(p.listeners, listener)
		p.running.Go(func() { p.accept(listener, i) })
	}
	s.Cleanup(p.close)
	return slices.Clone(addresses)
}

// peers are listeners and their connections.
type peers struct {
	serve     func(conn net.Conn, i int)
	listeners []net.Listener
	running   sync.WaitGroup

	mu     sync.Mutex
	closed bool
	conns  map[net.Conn]bool
}

func (p *peers) accept(listener net.Listener, i int) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return // closed
		}
		p.running.Go(func() {
			defer conn.Close()
			p.mu.Lock()
			p.conns[conn] = true
			closed := p.closed
			p.mu.Unlock()
			if !closed {
				p.serve(conn, i)
			}
			p.mu.Lock()
			delete(p.conns, conn)
			p.mu.Unlock()
		})
	}
}

func (p *peers) close() {
	p.mu.Lock()
	p.closed = true
	for conn := range p.conns {
		conn.Close()
	}
	p.mu.Unlock()
	for _, listener := range p.listeners {
		listener.Close()
	}
	p.running.Wait()
}
