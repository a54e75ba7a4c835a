package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// queries asks promlet's API port as KEDA's scaler of Prometheus does for the ScaledObject of deploy/example/keda.yaml, with
// the token of a ServiceAccount.
func (e *endToEnd) queries(t *testing.T) {
	trigger := e.kedaExample(t)
	client, address := e.apiPort(t)
	_, token := e.userOf(t, "variants", "admin") // an admin of one namespace, which is not enough
	path := strings.TrimPrefix(trigger["serverAddress"], "https://promlet.promlet.svc")
	scaler := &prometheusScaler{client: client, serverAddress: address + path, token: token}
	query := strings.Replace(trigger["query"], "[2m]", "[20s]", 1) // as the rate window here

	_, err := scaler.value(t.Context(), query)
	require.ErrorIs(t, err, errStatus(http.StatusForbidden))
	_, err = (&prometheusScaler{client: client, serverAddress: scaler.serverAddress}).value(t.Context(), query)
	require.ErrorIs(t, err, errStatus(http.StatusUnauthorized))
	// Every ServiceAccount may get /api/*. That must not allow queries.
	_, err = (&prometheusScaler{client: client, serverAddress: address, token: token}).value(t.Context(), query)
	require.ErrorIs(t, err, errStatus(http.StatusForbidden))

	e.eventually(t, "the example's Secret has a token", func(ctx context.Context) error {
		secret, err := e.client.CoreV1().Secrets("default").Get(ctx, "keda-promlet", metav1.GetOptions{})
		if err == nil && len(secret.Data["token"]) == 0 {
			err = errNotYet
		}
		if err == nil {
			scaler.token = string(secret.Data["token"])
		}
		return err
	})
	e.eventually(t, "KEDA has the value that the HPA has", func(ctx context.Context) error {
		value, err := scaler.value(ctx, query)
		if err != nil {
			return err
		}
		want, err := e.number(ctx, serviceMetric)
		if err != nil || value < want-1 || value > want+1 {
			return fmt.Errorf("KEDA has %v, the HPA %v: %w", value, want, errors.Join(err, errNotYet))
		}
		return nil
	})
	// Grafana queries with POST, and first reads the build information.
	scaler.method = http.MethodPost
	_, err = scaler.value(t.Context(), "vector(1)")
	require.NoError(t, err)
	for path, want := range map[string]int{"status/buildinfo": http.StatusOK, "status/config": http.StatusNotFound, "targets": http.StatusNotFound} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, scaler.serverAddress+"/api/v1/"+path, http.NoBody)
		require.NoError(t, err)
		request.Header.Set("Authorization", "Bearer "+scaler.token)
		response, err := client.Do(request)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.Equal(t, want, response.StatusCode, path)
	}
}

// kedaExample applies the parts of deploy/example/keda.yaml that are not KEDA's, and returns the trigger of its ScaledObject.
func (e *endToEnd) kedaExample(t *testing.T) (trigger map[string]string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(repository(t, "deploy"), "example", "keda.yaml"))
	require.NoError(t, err)
	var own []string
	for document := range strings.SplitSeq(string(text), "\n---\n") {
		var object struct {
			Kind string
			Spec struct {
				Triggers []struct{ Metadata map[string]string }
			}
		}
		require.NoError(t, yaml.Unmarshal([]byte(document), &object))
		switch object.Kind {
		case "TriggerAuthentication":
		case "ScaledObject":
			trigger = object.Spec.Triggers[0].Metadata
		default:
			own = append(own, document)
		}
	}
	manifests := strings.Join(own, "\n---\n")
	_, err = e.tryKubectl(t.Context(), manifests, "apply", "--server-side", "-f", "-")
	require.NoError(t, err)
	t.Cleanup(func() {
		_, err := e.tryKubectl(context.WithoutCancel(t.Context()), manifests, "delete", "--ignore-not-found", "-f", "-") // a token goes with its ServiceAccount
		require.NoError(t, err)
	})
	return trigger
}

// prometheusScaler queries as prometheusScaler.ExecutePromQuery of KEDA does, pkg/scalers/prometheus_scaler.go.
type prometheusScaler struct {
	client        *http.Client
	serverAddress string
	token         string // of authModes: bearer
	method        string // GET, as KEDA's, unless set
}

// errStatus is the scaler's error for an answer with another status than 200.
type errStatus int

func (e errStatus) Error() string {
	return fmt.Sprintf("prometheus query api returned error. status: %d", int(e))
}

func (s *prometheusScaler) value(ctx context.Context, query string) (float64, error) {
	address := fmt.Sprintf("%s/api/v1/query?query=%s&time=%s", s.serverAddress, url.QueryEscape(query), time.Now().UTC().Format(time.RFC3339))
	request, err := http.NewRequestWithContext(ctx, s.method, address, nil)
	if err != nil {
		return 0, err
	}
	if s.token != "" {
		request.Header.Set("Authorization", "Bearer "+s.token)
	}
	response, err := s.client.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err
	}
	if response.StatusCode < 200 || response.StatusCode > 299 {
		return 0, errStatus(response.StatusCode)
	}
	var result struct {
		Data struct {
			Result []struct {
				Value []any `json:"value"`
			} `json:"result"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &result); err != nil {
		return 0, err
	}
	if len(result.Data.Result) != 1 || len(result.Data.Result[0].Value) < 2 {
		return 0, fmt.Errorf("%s: %w", body, errNotYet)
	}
	text, ok := result.Data.Result[0].Value[1].(string)
	if !ok {
		return 0, fmt.Errorf("%s: the value is not a string", body)
	}
	return strconv.ParseFloat(text, 64)
}
