package answers

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/promlet/promlet/bench/internal/harness"
)

// urlRules are the rules of both programs.
const urlRules = `rules:
- seriesQuery: '` + counter + `{namespace!="",pod!=""}'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}, service: {resource: service}}}
  name: {matches: '^(.*)_total$', as: '$1'}
  metricsQuery: 'sum(rate(<<.Series>>{<<.LabelMatchers>>}[2m])) by (<<.GroupBy>>)'
`

// urlProgram is a program that answers by URL.
type urlProgram struct {
	name, binary string
	args         []string
}

// programs returns both programs in the order of the table's rows.
func (b *byURL) programs() []urlProgram {
	kubeconfig := b.plane.Kubeconfig()
	common := []string{
		"--prometheus-url", b.engine, "--config", filepath.Join(b.dir, "rules.yaml"), "--metrics-relist-interval=30s", "--bind-address=127.0.0.1",
		"--lister-kubeconfig", kubeconfig, "--authentication-kubeconfig", kubeconfig, "--authorization-kubeconfig", kubeconfig,
	}
	return []urlProgram{
		{"prometheus-adapter", b.adapter, append([]string{"--cert-dir", filepath.Join(b.dir, "certificates")}, common...)},
		{"promlet", b.promlet, append([]string{"serve", "--web-listen-address=", "--data-dir", filepath.Join(b.dir, "data")}, common...)},
	}
}

// start starts a program. It does not wait until the program is ready.
func (b *byURL) start(ctx context.Context, p urlProgram, certificate tls.Certificate) (*harness.Program, *server, error) {
	if err := os.WriteFile(filepath.Join(b.dir, "rules.yaml"), []byte(urlRules), 0o600); err != nil {
		return nil, nil, err
	}
	ports, err := harness.FreePorts(1)
	if err != nil {
		return nil, nil, err
	}
	// The context must not kill it: Stop ends it.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), p.binary, append(p.args, "--secure-port", ports[0])...)
	running, err := harness.StartProgram(p.name, cmd, filepath.Join(b.dir, p.name+".log"))
	if err != nil {
		return nil, nil, err
	}
	s := &server{address: "127.0.0.1:" + ports[0], client: certificate, reviews: func() int64 { return 0 }}
	s.use = func() (harness.Usage, error) { return s.readUsage(ctx) }
	return running, s, nil
}

// readUsage reads a program's CPU time from its own metrics.
func (s *server) readUsage(ctx context.Context) (harness.Usage, error) {
	c := newClient(s.address, s.client)
	defer c.close()
	a, err := c.ask(ctx, question{path: "/metrics", status: http.StatusOK}, "")
	if err != nil {
		return harness.Usage{}, err
	}
	text, err := a.plain()
	if err != nil {
		return harness.Usage{}, err
	}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		if value, found := bytes.CutPrefix(lines.Bytes(), []byte("process_cpu_seconds_total ")); found {
			seconds, err := strconv.ParseFloat(string(value), 64)
			return harness.Usage{CPU: time.Duration(seconds * float64(time.Second))}, err
		}
	}
	return harness.Usage{}, errors.New("its metrics have no process_cpu_seconds_total")
}

// urlQuestions ask for the pods and for the Service of a fleet.
func urlQuestions(f fleet) []question {
	pods, service := podsOf(f.urlNamespace(), app(0), f), serviceOf(f.urlNamespace(), app(0), f)
	// Scrapes are some milliseconds early or late.
	const tolerance = 0.05
	pods.check, service.check = checkRates(f.Pods, podSeries, tolerance), checkRates(1, podSeries*f.Pods, tolerance)
	return []question{pods, service}
}
