package main

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
	"strconv"
	"time"

	"k8s.io/metrics/pkg/apis/custom_metrics/v1beta2"
)

// maxAnswer bounds what is read of an answer.
const maxAnswer = 4 << 20

// newClient is for loopback only: promlet makes its certificate itself.
func newClient() *http.Client {
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}, //nolint:gosec // see newClient
	}}
}

// get gives the answer to a GET.
func get(ctx context.Context, client *http.Client, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end, or given up
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", url, err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s: %s", url, resp.Status, text[:min(len(text), 500)])
	}
	return text, nil
}

// askPromlet asks promlet as a HorizontalPodAutoscaler does.
func askPromlet(ports [2]string) answers {
	client, api, web := newClient(), "https://127.0.0.1:"+ports[0], "http://127.0.0.1:"+ports[1]
	return answers{
		ready: func(ctx context.Context) error {
			_, err := get(ctx, client, api+"/readyz")
			return err
		},
		value: func(ctx context.Context) (float64, error) {
			text, err := get(ctx, client, api+"/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/services/app/"+readMetric)
			if err != nil {
				return 0, err
			}
			var list v1beta2.MetricValueList
			if err := json.Unmarshal(text, &list); err != nil {
				return 0, fmt.Errorf("read promlet's answer: %w", err)
			}
			if len(list.Items) != 1 {
				return 0, fmt.Errorf("promlet answers %d values", len(list.Items))
			}
			return list.Items[0].Value.AsApproximateFloat64(), nil
		},
		series: func(ctx context.Context) (float64, error) { return headSeries(ctx, client, web) },
	}
}

// askPrometheus asks Prometheus for the same rate.
func askPrometheus(ports [2]string) answers {
	client, web := newClient(), "http://127.0.0.1:"+ports[0]
	query := url.Values{"query": {fmt.Sprintf("sum(rate(%s[%ds]))", readFamily, int(rateWindow.Seconds()))}}
	return answers{
		ready: func(ctx context.Context) error {
			_, err := get(ctx, client, web+"/-/ready")
			return err
		},
		value: func(ctx context.Context) (float64, error) {
			text, err := get(ctx, client, web+"/api/v1/query?"+query.Encode())
			if err != nil {
				return 0, err
			}
			var answer struct {
				Data struct {
					Result []struct{ Value [2]any }
				}
			}
			if err := json.Unmarshal(text, &answer); err != nil {
				return 0, fmt.Errorf("read Prometheus's answer: %w", err)
			}
			if len(answer.Data.Result) != 1 {
				return 0, fmt.Errorf("answer of Prometheus with %d values", len(answer.Data.Result))
			}
			return strconv.ParseFloat(fmt.Sprint(answer.Data.Result[0].Value[1]), 64)
		},
		series: func(ctx context.Context) (float64, error) { return headSeries(ctx, client, web) },
	}
}

// headSeries reads the number of series from a program's own metrics.
func headSeries(ctx context.Context, client *http.Client, web string) (float64, error) {
	text, err := get(ctx, client, web+"/metrics")
	if err != nil {
		return 0, err
	}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		if value, ok := bytes.CutPrefix(lines.Bytes(), []byte("prometheus_tsdb_head_series ")); ok {
			return strconv.ParseFloat(string(value), 64)
		}
	}
	return 0, errors.New("the metrics do not tell how many series there are")
}
