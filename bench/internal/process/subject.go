package process

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"k8s.io/metrics/pkg/apis/custom_metrics/v1beta2"

	"github.com/promlet/promlet/bench/internal/harness"
)

// The names of what is measured.
const (
	promletOnDemand = "promlet, demand"
	promletAll      = "promlet, all"
	prometheusName  = "Prometheus"
)

// subject is a program to measure.
type subject struct {
	name, path string
	file       string
	// config is the content of the file by which the program finds the targets.
	config func(addresses []string) (string, error)
	// args are the program's arguments. In these and in the URLs, $CONFIG is the directory
	// of file and $DATA one of the program's own, $API and $WEB are ports of loopback.
	args []string
	// ready, value and metrics are URLs: of readiness, of the rate of readFamily, which
	// parse reads, and of the program's own metrics.
	ready, value, metrics string
	parse                 func(answer []byte) (float64, error)
}

// subjects are in the order of the table's columns.
func subjects(promlet, prometheus string) []*subject {
	ours := func(name string, further ...string) *subject {
		return &subject{
			name: name, path: promlet, file: "app.yaml", config: manifests, parse: parsePromlet,
			args: append([]string{
				"serve", "--manifests=$CONFIG", "--data-dir=$DATA", "--secure-port=$API", "--web-listen-address=127.0.0.1:$WEB",
				"--scrape-interval=" + scrapeInterval.String(), "--rate-window=" + rateWindow.String(),
			}, further...),
			ready:   "https://127.0.0.1:$API/readyz",
			value:   "https://127.0.0.1:$API/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/services/app/" + readMetric,
			metrics: "http://127.0.0.1:$WEB/metrics",
		}
	}
	query := url.QueryEscape(fmt.Sprintf("sum(rate(%s[%ds]))", readFamily, int(rateWindow.Seconds())))
	return []*subject{
		ours(promletOnDemand, "--ingest=demand"),
		// With its limit of series it would store a part of what Prometheus does.
		ours(promletAll, "--ingest=all", "--series-limit=0"),
		{
			name: prometheusName, path: prometheus, file: "prometheus.yml", config: prometheusConfig, parse: parsePrometheus,
			args:    []string{"--config.file=$CONFIG/prometheus.yml", "--storage.tsdb.path=$DATA", "--web.listen-address=127.0.0.1:$WEB"},
			ready:   "http://127.0.0.1:$WEB/-/ready",
			value:   "http://127.0.0.1:$WEB/api/v1/query?query=" + query,
			metrics: "http://127.0.0.1:$WEB/metrics",
		},
	}
}

// parsePromlet reads the one value of a MetricValueList.
func parsePromlet(answer []byte) (float64, error) {
	var list v1beta2.MetricValueList
	if err := json.Unmarshal(answer, &list); err != nil {
		return 0, err
	}
	if len(list.Items) != 1 {
		return 0, fmt.Errorf("%d values", len(list.Items))
	}
	return list.Items[0].Value.AsApproximateFloat64(), nil
}

// parsePrometheus reads the one value of a query's answer.
func parsePrometheus(answer []byte) (float64, error) {
	var read struct {
		Data struct {
			Result []struct{ Value [2]any }
		}
	}
	if err := json.Unmarshal(answer, &read); err != nil {
		return 0, err
	}
	if len(read.Data.Result) != 1 {
		return 0, fmt.Errorf("%d values", len(read.Data.Result))
	}
	return strconv.ParseFloat(fmt.Sprint(read.Data.Result[0].Value[1]), 64)
}

// parseSeries reads the number of series stored from a program's own metrics.
func parseSeries(metrics []byte) (float64, error) {
	for lines := bufio.NewScanner(bytes.NewReader(metrics)); lines.Scan(); {
		if value, ok := bytes.CutPrefix(lines.Bytes(), []byte("prometheus_tsdb_head_series ")); ok {
			return strconv.ParseFloat(string(value), 64)
		}
	}
	return 0, errors.New("the metrics have no number of series")
}

// program is a running subject.
type program struct {
	*subject
	*harness.Program
	client  *http.Client
	expand  func(string) string
	started time.Time
}

// start starts a subject on the addresses, with what it writes below a directory that
// does not exist yet.
func (s *subject) start(ctx context.Context, dir string, addresses []string) (*program, error) {
	values := map[string]string{"CONFIG": filepath.Join(dir, "config"), "DATA": filepath.Join(dir, "data")}
	if err := os.MkdirAll(values["CONFIG"], 0o700); err != nil {
		return nil, err
	}
	text, err := s.config(addresses)
	if err != nil {
		return nil, fmt.Errorf("configure %s: %w", s.name, err)
	}
	if err := os.WriteFile(filepath.Join(values["CONFIG"], s.file), []byte(text), 0o600); err != nil {
		return nil, err
	}
	ports, err := harness.FreePorts(2)
	if err != nil {
		return nil, err
	}
	values["API"], values["WEB"] = ports[0], ports[1]
	p := &program{subject: s, expand: func(text string) string {
		return os.Expand(text, func(name string) string { return values[name] })
	}}
	// On loopback only: promlet makes its certificate itself.
	p.client = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}, //nolint:gosec // see above
	}}
	var args []string
	for _, arg := range s.args {
		args = append(args, p.expand(arg))
	}
	p.started = time.Now()
	// Its end is Stop's business, which asks before it kills.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), s.path, args...)
	p.Program, err = harness.StartProgram(s.name, cmd, filepath.Join(dir, "log"))
	return p, err
}

// maxAnswer bounds what is read of an answer.
const maxAnswer = 4 << 20

// get returns the answer at one of the subject's URLs.
func (p *program) get(ctx context.Context, address string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.expand(address), nil)
	if err != nil {
		return nil, err
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end, or given up
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", req.URL, err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s: %.500s", req.URL, resp.Status, text)
	}
	return text, nil
}

// number reads a number at one of the subject's URLs.
func (p *program) number(ctx context.Context, address string, parse func([]byte) (float64, error)) (float64, error) {
	text, err := p.get(ctx, address)
	if err != nil {
		return 0, err
	}
	v, err := parse(text)
	if err != nil {
		return 0, fmt.Errorf("read the answer at %s: %w", address, err)
	}
	return v, nil
}
