package engines

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"k8s.io/metrics/pkg/apis/custom_metrics/v1beta2"
)

// maxAnswer is the maximum size of an answer in bytes.
const maxAnswer = 8 << 20

// client sends requests as the HPA controller does.
type client struct {
	http *http.Client
	base string // URL of promlet's API
}

func newClient(base string) *client {
	// promlet's certificate is self-signed, and requests stay on loopback.
	insecure := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12} //nolint:gosec // see above
	return &client{base: base, http: &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{TLSClientConfig: insecure}}}
}

func (c *client) close() { c.http.CloseIdleConnections() }

// get returns an answer. If the status is not 200, the error has the message that an HPA's condition would show.
func (c *client) get(ctx context.Context, address string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return nil, err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close() //nolint:errcheck // the body is read already
	text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err == nil && response.StatusCode != http.StatusOK {
		status := struct{ Message string }{string(text)}
		_ = json.Unmarshal(text, &status) // not all errors are JSON
		return nil, fmt.Errorf("%d: %s", response.StatusCode, status.Message)
	}
	return text, err
}

// service asks for the value of a Service, as an HPA with a metric of type Object.
func (c *client) service(ctx context.Context, service, metric string) (float64, error) {
	values, err := c.values(ctx, "services/"+service+"/"+metric)
	if err != nil {
		return 0, err
	}
	value, ok := values[service]
	if !ok {
		return 0, fmt.Errorf("the answer has no value of %s", service)
	}
	return value, nil
}

// pods asks for the values of a Service's pods, as an HPA with a metric of type Pods.
func (c *client) pods(ctx context.Context, service, metric string) (map[string]float64, error) {
	return c.values(ctx, "pods/*/"+metric+"?labelSelector="+url.QueryEscape("app="+service))
}

// values asks for a metric, and returns the values by the objects' names.
func (c *client) values(ctx context.Context, path string) (map[string]float64, error) {
	text, err := c.get(ctx, c.base+"/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/"+path)
	if err != nil {
		return nil, err
	}
	var list v1beta2.MetricValueList
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, err
	}
	values := map[string]float64{}
	for i := range list.Items {
		values[list.Items[i].DescribedObject.Name] = list.Items[i].Value.AsApproximateFloat64()
	}
	return values, nil
}
