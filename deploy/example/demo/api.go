package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/metrics/pkg/apis/custom_metrics/v1beta2"
)

// maxAnswer bounds what is read of an answer.
const maxAnswer = 1 << 20

// api asks promlet as a HorizontalPodAutoscaler does.
type api struct {
	base   string
	client *http.Client
}

// newAPI is for loopback only: promlet makes its certificate itself, and on this machine there is nobody between.
func newAPI(address string) *api {
	return &api{base: "https://" + address, client: &http.Client{
		Timeout: 10 * time.Second,
		Transport: &http.Transport{
			DisableKeepAlives: true,                                                                // a question a second
			TLSClientConfig:   &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}, //nolint:gosec // see newAPI
		},
	}}
}

// resource is a described object of a metric in the form of the path: services/NAME, deployments.apps/NAME, pods/*.
func metricURL(base, version, namespace, resource, metric, selector string) string {
	u := fmt.Sprintf("%s/apis/custom.metrics.k8s.io/%s/namespaces/%s/%s/%s", base, version, namespace, resource, metric)
	if selector != "" {
		u += "?metricLabelSelector=" + url.QueryEscape(selector)
	}
	return u
}

// values asks for a metric. The error of an absence is what promlet says about it.
func (a *api) values(ctx context.Context, namespace, resource, metric, selector string) ([]v1beta2.MetricValue, error) {
	var list v1beta2.MetricValueList
	if err := a.get(ctx, metricURL(a.base, "v1beta2", namespace, resource, metric, selector), &list); err != nil {
		return nil, err
	}
	return list.Items, nil
}

// ready tells whether promlet is.
func (a *api) ready(ctx context.Context) error { return a.get(ctx, a.base+"/readyz", nil) }

func (a *api) get(ctx context.Context, url string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := a.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end, or given up
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("%s: %w", url, err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%d: %s", resp.StatusCode, message(body))
	}
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("%s: %w", url, err)
	}
	return nil
}

// message is that of a Status, or the first line of whatever else was answered.
func message(body []byte) string {
	var status metav1.Status
	if json.Unmarshal(body, &status) == nil && status.Message != "" {
		return status.Message
	}
	line, _, _ := strings.Cut(strings.TrimSpace(string(body)), "\n")
	return line
}
