package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

const servingCertSecret = "promlet-serving-cert"

// steadyLoad, in requests a second, is not enough for the HPA to add pods: that
// would change what the pods there are now have in their windows.
const steadyLoad = 40

// steady drives a load until the metric has settled, and reads it ten times a
// second from then on.
func (e *endToEnd) steady(t *testing.T) *reader {
	load := e.startLoad(t, "default", "sample-metrics-app", steadyLoad)
	load.rate(t.Context(), 30*time.Second) // what was before has left the window
	e.eventually(t, "the metric is steady", func(ctx context.Context) error {
		rate := load.rate(ctx, 5*time.Second)
		value, err := e.number(ctx, serviceMetric)
		if err != nil || value < 0.9*rate || value > 1.1*rate {
			return fmt.Errorf("the metric is %.1f at %.1f requests a second: %w", value, rate, errors.Join(err, errNotYet))
		}
		return nil
	})
	return e.startReading(t, serviceMetric)
}

// rollingRestart replaces both replicas while the metric is read. No read fails,
// and none answers from a window that is half empty.
func (e *endToEnd) rollingRestart(t *testing.T) {
	reading := e.steady(t)
	before := e.promletPods(t)
	e.kubectl(t, "-n", "promlet", "rollout", "restart", "deployment/promlet")
	e.eventually(t, "both replicas are replaced", func(ctx context.Context) error {
		for _, pod := range before {
			if _, err := e.client.CoreV1().Pods("promlet").Get(ctx, pod, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
				return fmt.Errorf("pod %s is still there: %w", pod, errors.Join(err, errNotYet))
			}
		}
		return e.replicas(ctx, "promlet", "promlet", 2)
	})
	time.Sleep(5 * time.Second) // and a while with the new ones alone
	reading.requireFlawless(t)
	require.Greater(t, reading.lowest, 0.75*steadyLoad, "a new replica answers when its window is full")
}

// certificateReplaced asks for a new serving certificate and then for a new CA, as
// a person does, while the metric is read.
func (e *endToEnd) certificateReplaced(t *testing.T) {
	reading := e.steady(t)
	serving := e.servingCert(t)
	e.emptySecretKey(t, "tls.crt")
	e.eventually(t, "a new serving certificate is in use", func(context.Context) error {
		if now := e.servingCert(t); now.SerialNumber.Cmp(serving.SerialNumber) == 0 {
			return errNotYet
		}
		return nil
	})
	issuer := e.servingCert(t).AuthorityKeyId
	require.Equal(t, serving.AuthorityKeyId, issuer, "of the same CA")
	e.emptySecretKey(t, "ca.key")
	e.eventually(t, "a certificate of a new CA is in use", func(context.Context) error {
		if string(e.servingCert(t).AuthorityKeyId) == string(issuer) {
			return errNotYet
		}
		return nil
	})
	time.Sleep(5 * time.Second)
	reading.requireFlawless(t)
	e.requireNoUnverifiedTLS(t)
}

// emptySecretKey is `kubectl patch secret` with an empty value.
func (e *endToEnd) emptySecretKey(t *testing.T, key string) {
	t.Helper()
	patch := fmt.Sprintf(`{"data": {%q: ""}}`, key)
	_, err := e.client.CoreV1().Secrets("promlet").Patch(t.Context(), servingCertSecret, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	require.NoError(t, err)
}

// servingCert returns the certificate that both replicas serve, once it is one.
func (e *endToEnd) servingCert(t *testing.T) *x509.Certificate {
	t.Helper()
	var found *x509.Certificate
	e.eventuallyQuietly(t, func() error {
		found = nil
		for _, pod := range e.promletPods(t) {
			cert, err := e.certOf(t, pod)
			if err != nil {
				return err
			}
			if found != nil && !found.Equal(cert) {
				return errors.New("replicas serve different certificates")
			}
			found = cert
		}
		return nil
	})
	return found
}

func (e *endToEnd) eventuallyQuietly(t *testing.T, check func() error) {
	t.Helper()
	var err error
	for start := time.Now(); time.Since(start) < e2ePatience; time.Sleep(200 * time.Millisecond) {
		if err = check(); err == nil {
			return
		}
	}
	require.NoError(t, err)
}

func (e *endToEnd) certOf(t *testing.T, pod string) (*x509.Certificate, error) {
	conn, err := e.plane.Network().DialContext(t.Context(), "tcp", e.address(t, pod))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	client := tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	if err := client.HandshakeContext(t.Context()); err != nil {
		return nil, err
	}
	return client.ConnectionState().PeerCertificates[0], nil
}

func (e *endToEnd) address(t *testing.T, pod string) string {
	t.Helper()
	object, err := e.client.CoreV1().Pods("promlet").Get(t.Context(), pod, metav1.GetOptions{})
	require.NoError(t, err)
	return net.JoinHostPort(object.Status.PodIP, "6443")
}

// direct asks a pod of promlet, and not through the aggregator.
func (e *endToEnd) direct(t *testing.T, pod, path, token string) (int, string) {
	t.Helper()
	client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		DialContext: e.plane.Network().DialContext, DisableKeepAlives: true,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
	}}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+e.address(t, pod)+path, http.NoBody)
	require.NoError(t, err)
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, string(body)
}

func (e *endToEnd) requireNoUnverifiedTLS(t *testing.T) {
	apiServices := schema.GroupVersionResource{Group: "apiregistration.k8s.io", Version: "v1", Resource: "apiservices"}
	list, err := e.objects.Resource(apiServices).List(t.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=promlet"})
	require.NoError(t, err)
	require.Len(t, list.Items, 3)
	for _, item := range list.Items {
		_, skips, err := unstructured.NestedBool(item.Object, "spec", "insecureSkipTLSVerify")
		require.NoError(t, err)
		require.False(t, skips, item.GetName())
		bundle, _, err := unstructured.NestedString(item.Object, "spec", "caBundle")
		require.NoError(t, err)
		require.NotEmpty(t, bundle, item.GetName())
	}
}

// apiServerStopped takes kube-apiserver away for a minute: promlet goes on
// scraping, is not restarted, and answers again when it is back.
func (e *endToEnd) apiServerStopped(t *testing.T) {
	pods := e.promletPods(t)
	e.plane.StopAPIServer()
	start := time.Now()
	for time.Since(start) < time.Minute {
		time.Sleep(15 * time.Second)
		for _, pod := range pods {
			e.eventuallyQuietly(t, func() error { return scrapes(t, e.web(pod)) })
		}
	}
	require.NoError(t, e.plane.StartAPIServer(t.Context()))
	e.eventually(t, "the metric has a value again", func(ctx context.Context) error {
		_, err := e.number(ctx, serviceMetric)
		return err
	})
	e.eventually(t, "both replicas are ready", func(ctx context.Context) error { return e.replicas(ctx, "promlet", "promlet", 2) })
	for _, pod := range pods {
		object, err := e.client.CoreV1().Pods("promlet").Get(t.Context(), pod, metav1.GetOptions{})
		require.NoError(t, err)
		require.Zero(t, object.Status.ContainerStatuses[0].RestartCount)
	}
	e.newPodIsFound(t)
}

// newPodIsFound shows that promlet watches again what it has watched before.
func (e *endToEnd) newPodIsFound(t *testing.T) {
	old := e.kubectl(t, "-n", "variants", "get", "pods", "-l", "app=counter", "-o", "name")
	e.kubectl(t, "-n", "variants", "delete", "pod", "-l", "app=counter", "--wait=false")
	e.eventually(t, "the new pods of counter are scraped", func(ctx context.Context) error {
		pods, err := e.client.CoreV1().Pods("variants").List(ctx, metav1.ListOptions{LabelSelector: "app=counter"})
		if err != nil {
			return err
		}
		items, err := e.metric(ctx, "namespaces/variants/pods/*/up")
		if err != nil {
			return err
		}
		values := map[string]int64{}
		for _, item := range items {
			values[item.DescribedObject.Name] = item.Value.Value()
		}
		for i := range pods.Items {
			if name := pods.Items[i].Name; values[name] != 1 || strings.Contains(old, name) {
				return fmt.Errorf("pod %s is not up or not new: %v", name, values)
			}
		}
		return nil
	})
}

// scrapes is an error unless a promlet has scraped every target lately; that is
// every 5 s.
func scrapes(t *testing.T, web string) error {
	p := &process{t: t, web: web, client: insecureClient()}
	targets := p.activeTargets()
	require.NotEmpty(t, targets)
	for _, target := range targets {
		if age := time.Since(target.LastScrape); target.LastError != "" || age > 15*time.Second {
			return fmt.Errorf("%v was scraped %s ago: %s: %w", target.Labels, age, target.LastError, errNotYet)
		}
	}
	return nil
}

// permissionMissing takes the ClusterRole away: a new replica says which
// permission it lacks, the old ones go on answering, and giving it back mends it.
// While the part about monitors is still missing, promlet is ready, and HPAs say so.
func (e *endToEnd) permissionMissing(t *testing.T) {
	ctx := t.Context()
	role, err := e.client.RbacV1().ClusterRoles().Get(ctx, "promlet", metav1.GetOptions{})
	require.NoError(t, err)
	before := e.promletPods(t)
	require.NoError(t, e.client.RbacV1().ClusterRoles().Delete(ctx, "promlet", metav1.DeleteOptions{}))
	e.kubectl(t, "-n", "promlet", "rollout", "restart", "deployment/promlet")
	const want = `cannot list resource "pods" in API group "" at the cluster scope`
	e.eventually(t, "the new replica's /readyz counts the problems, its log names the permission", func(context.Context) error {
		for _, pod := range without(e.promletPods(t), before) {
			if !e.started(t, pod) {
				continue
			}
			code, body := e.direct(t, pod, "/readyz", "")
			require.NotContains(t, body, "cannot list")
			if code != http.StatusInternalServerError || !strings.Contains(body, "waiting for the list of objects to scrape (problems: ") {
				return fmt.Errorf("%d %s: %w", code, body, errNotYet)
			}
			log, err := os.ReadFile(filepath.Join(e.logs, "pod-promlet-"+pod+".log"))
			require.NoError(t, err)
			if !strings.Contains(strings.ReplaceAll(string(log), `\"`, `"`), want) {
				return fmt.Errorf("the log does not name the permission: %w", errNotYet)
			}
			return nil
		}
		return errNotYet
	})
	e.eventually(t, "the old replicas answer", func(ctx context.Context) error {
		_, err := e.number(ctx, serviceMetric)
		return err
	})
	role.ResourceVersion, role.UID = "", ""
	all := role.Rules
	role.Rules = slices.DeleteFunc(slices.Clone(all), func(r rbacv1.PolicyRule) bool { return slices.Contains(r.Resources, "servicemonitors") })
	require.Less(t, len(role.Rules), len(all))
	role, err = e.client.RbacV1().ClusterRoles().Create(ctx, role, metav1.CreateOptions{})
	require.NoError(t, err)
	e.eventually(t, "an HPA says which permission is missing", func(ctx context.Context) error {
		return e.explained(ctx, []absence{{
			namespace: "default", name: "sample-metrics-app",
			says: "no monitor selects the Service: there is none for namespace default; permission missing: promlet may not list podmonitors, list servicemonitors",
		}}, map[string][]string{})
	})
	t.Log(e.kubectl(t, "describe", "hpa", "sample-metrics-app"))
	role.Rules = all
	_, err = e.client.RbacV1().ClusterRoles().Update(ctx, role, metav1.UpdateOptions{})
	require.NoError(t, err)
	e.eventually(t, "given the permission, the HPA has a value", func(ctx context.Context) error {
		_, err := e.number(ctx, serviceMetric)
		return err
	})
	e.eventually(t, "and promlet is ready", func(ctx context.Context) error { return e.replicas(ctx, "promlet", "promlet", 2) })
}

func (e *endToEnd) started(t *testing.T, pod string) bool {
	object, err := e.client.CoreV1().Pods("promlet").Get(t.Context(), pod, metav1.GetOptions{})
	require.NoError(t, err)
	return object.Status.PodIP != ""
}

func without(all, some []string) []string {
	known := map[string]bool{}
	for _, name := range some {
		known[name] = true
	}
	var rest []string
	for _, name := range all {
		if !known[name] {
			rest = append(rest, name)
		}
	}
	return rest
}

// namespaceDeletedWhileDown: with promlet gone, its APIServices fail discovery and
// so every deletion of a namespace; that ends as soon as it is back.
func (e *endToEnd) namespaceDeletedWhileDown(t *testing.T) {
	ctx := t.Context()
	namespaces := e.client.CoreV1().Namespaces()
	_, err := namespaces.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "doomed"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	e.kubectl(t, "-n", "promlet", "scale", "deployment/promlet", "--replicas=0")
	e.eventually(t, "promlet is down", func(ctx context.Context) error {
		if _, err := e.number(ctx, serviceMetric); err == nil {
			return errNotYet
		}
		return e.replicas(ctx, "promlet", "promlet", 0)
	})
	require.NoError(t, namespaces.Delete(ctx, "doomed", metav1.DeleteOptions{}))
	e.eventually(t, "the deletion waits for promlet", func(ctx context.Context) error {
		doomed, err := namespaces.Get(ctx, "doomed", metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, c := range doomed.Status.Conditions {
			if c.Type == corev1.NamespaceDeletionDiscoveryFailure && c.Status == corev1.ConditionTrue && strings.Contains(c.Message, "custom.metrics.k8s.io") {
				return nil
			}
		}
		return fmt.Errorf("%v: %w", doomed.Status.Conditions, errNotYet)
	})
	e.kubectl(t, "-n", "promlet", "scale", "deployment/promlet", "--replicas=2")
	e.eventually(t, "the namespace is gone", func(ctx context.Context) error {
		_, err := namespaces.Get(ctx, "doomed", metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return errors.Join(err, errNotYet)
	})
}
