package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// scrapesItself applies the component self-monitoring to a promlet that runs: each
// replica scrapes both, with the token and the CA out of Secrets, and what they tell of
// themselves is a metric as any other. Nobody else reads /metrics.
func (e *endToEnd) scrapesItself(t *testing.T) {
	dir := filepath.Join(repository(t, "deploy"), "components", "self-monitoring")
	var files []string
	for _, file := range []string{"reader.yaml", "rbac.yaml", "servicemonitor.yaml"} {
		files = append(files, "-f", filepath.Join(dir, file))
	}
	e.kubectl(t, append([]string{"apply", "--server-side"}, files...)...)
	// A token goes with its ServiceAccount, perhaps before kubectl comes to it.
	defer e.kubectl(t, append([]string{"delete", "--ignore-not-found"}, files...)...)
	for _, pod := range e.promletPods(t) {
		e.eventually(t, "promlet scrapes both replicas", func(ctx context.Context) error {
			targets, err := e.promletTargets(ctx, pod, "serviceMonitor/promlet/promlet/0")
			if err != nil {
				return err
			}
			if len(targets) != 2 || targets[0].Health != "up" || targets[1].Health != "up" {
				return fmt.Errorf("%+v: %w", targets, errNotYet)
			}
			return nil
		})
	}
	e.eventually(t, "a metric of promlet's own has values", func(ctx context.Context) error {
		items, err := e.metric(ctx, "namespaces/promlet/pods/*/promlet_scrape_targets")
		if err == nil && (len(items) != 2 || items[0].Value.Sign() <= 0) {
			err = fmt.Errorf("%v: %w", items, errNotYet)
		}
		return err
	})
	e.metricsAreForTheReader(t)
}

// metricsAreForTheReader asks a replica's API port for its metrics, as itself.
func (e *endToEnd) metricsAreForTheReader(t *testing.T) {
	client, address := e.apiPort(t)
	ask := func(token string) (int, string) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address+"/metrics", http.NoBody)
		require.NoError(t, err)
		if token != "" {
			request.Header.Set("Authorization", "Bearer "+token)
		}
		response, err := client.Do(request)
		require.NoError(t, err)
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		return response.StatusCode, string(body)
	}
	code, _ := ask("")
	require.Equal(t, http.StatusUnauthorized, code)
	other, err := e.client.CoreV1().ServiceAccounts("default").CreateToken(t.Context(), "default", &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	require.NoError(t, err)
	code, _ = ask(other.Status.Token)
	require.Equal(t, http.StatusForbidden, code)
	secret, err := e.client.CoreV1().Secrets("promlet").Get(t.Context(), "promlet-metrics-reader", metav1.GetOptions{})
	require.NoError(t, err)
	code, body := ask(string(secret.Data["token"]))
	require.Equal(t, http.StatusOK, code, body)

	served := families(t, body)
	written, err := os.ReadFile(metricsReference)
	require.NoError(t, err)
	names := regexp.MustCompile("(?m)^\\| `(promlet_[a-z_]+)`").FindAllStringSubmatch(string(written), -1)
	require.Greater(t, len(names), 30)
	for _, name := range names {
		if !strings.HasPrefix(name[1], "promlet_engine_") { // there is no engine behind a URL
			require.Contains(t, served, name[1], "in a cluster all there are are served")
		}
	}
	for _, expiry := range []string{"promlet_serving_certificate_expiry_timestamp_seconds", "promlet_serving_certificate_ca_expiry_timestamp_seconds"} {
		require.Greater(t, served[expiry].GetMetric()[0].GetGauge().GetValue(), float64(time.Now().Unix()), expiry)
	}
}

// apiPort returns the URL of a replica's API port, and a client that trusts promlet's certificate alone.
func (e *endToEnd) apiPort(t *testing.T) (*http.Client, string) {
	t.Helper()
	pods, err := e.client.CoreV1().Pods("promlet").List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	serving, err := e.client.CoreV1().Secrets("promlet").Get(t.Context(), "promlet-serving-cert", metav1.GetOptions{})
	require.NoError(t, err)
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(serving.Data["ca.crt"]))
	return &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       e.plane.Network().DialContext,
		TLSClientConfig:   &tls.Config{RootCAs: roots, ServerName: "promlet.promlet.svc", MinVersion: tls.VersionTLS12},
	}}, "https://" + pods.Items[0].Status.PodIP + ":6443"
}

// unmatchedRule looks for the Event of the rule in testdata/e2e/config.yaml that nothing
// exposes a series for, where kubectl describe pod shows it.
func (e *endToEnd) unmatchedRule(t *testing.T) {
	name := e.promletPods(t)[0]
	e.eventually(t, "an Event on promlet's Pod names the rule", func(ctx context.Context) error {
		described, err := e.tryKubectl(ctx, "", "-n", "promlet", "describe", "pod", name)
		if err != nil {
			return err
		}
		if !regexp.MustCompile(`Warning +RuleMatchesNothing .*externalRules\[2\]: seriesQuery \x60queue_size\{namespace!=""\}\x60 matches no series`).MatchString(described) {
			return errors.New(described)
		}
		return nil
	})
}
