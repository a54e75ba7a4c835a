package soak

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/metrics/pkg/apis/custom_metrics/v1beta2"
)

// client asks promlet, as the control plane's administrator.
type client struct {
	http.Client
	api, web string // base URLs
}

func newClient(config *rest.Config, apiPort, webPort string) (*client, error) {
	cert, err := tls.X509KeyPair(config.CertData, config.KeyData)
	if err != nil {
		return nil, err
	}
	// On loopback only: promlet makes its certificate itself.
	insecure := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}} //nolint:gosec // see above
	return &client{
		Client: http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{TLSClientConfig: insecure}},
		api:    "https://127.0.0.1:" + apiPort, web: "http://127.0.0.1:" + webPort,
	}, nil
}

// statusError is an answer that is no value.
type statusError struct {
	code    int
	message string
}

func (e *statusError) Error() string { return fmt.Sprintf("%d: %s", e.code, e.message) }

func (c *client) get(ctx context.Context, url string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	response, err := c.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close() //nolint:errcheck // read to its end, or given up
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		status := struct{ Message string }{string(text)}
		_ = json.Unmarshal(text, &status) // not all errors are JSON
		return nil, &statusError{response.StatusCode, status.Message}
	}
	return text, err
}

func (c *client) ready(ctx context.Context) error {
	_, err := c.get(ctx, c.api+"/readyz?verbose")
	return err
}

// values are those of all objects of a kind, by name.
func (c *client) values(ctx context.Context, resource, metric string) (map[string]float64, error) {
	text, err := c.get(ctx, c.api+"/apis/custom.metrics.k8s.io/v1beta2/namespaces/"+namespace+"/"+resource+"/*/"+metric)
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

// liveHeap is the name of the heap's size after a garbage collection, in bytes.
const liveHeap = "live heap"

// own has promlet's own metrics without labels, by name, and liveHeap.
func (c *client) own(ctx context.Context) (map[string]float64, error) {
	// The heap holds only live objects right after a garbage collection.
	profile, err := c.get(ctx, c.web+"/debug/pprof/heap?gc=1&debug=1")
	if err != nil {
		return nil, err
	}
	_, heap, _ := strings.Cut(string(profile), "\n# HeapAlloc = ")
	heap, _, _ = strings.Cut(heap, "\n")
	text, err := c.get(ctx, c.web+"/metrics")
	if err != nil {
		return nil, err
	}
	own := map[string]float64{}
	if own[liveHeap], err = strconv.ParseFloat(heap, 64); err != nil {
		return nil, fmt.Errorf("read the heap profile: %w", err)
	}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		if name, value, ok := strings.Cut(lines.Text(), " "); ok {
			if v, err := strconv.ParseFloat(value, 64); err == nil {
				own[name] = v
			}
		}
	}
	return own, nil
}
