package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	authenticationv1 "k8s.io/api/authentication/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

const serviceMetric = "namespaces/default/services/sample-metrics-app/http_requests"

// promlet on a real control plane, installed from deploy/ under the RBAC that is
// there, read through the aggregation layer by the real HPA controller. The parts
// build on one another, so they run in this order.
func TestEndToEnd(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes minutes and a control plane")
	}
	e := startEndToEnd(t)
	e.install(t)
	e.firstValue(t)
	t.Run("AppliesAsShipped", e.appliesAsShipped)
	t.Run("Together", func(t *testing.T) { // they wait most of their time
		together := map[string]func(*testing.T){"Scenario": e.scenario}
		if e.plane != nil {
			together["WrongMonitor"] = e.wrongMonitor
			together["TargetsFollowPods"] = e.targetsFollowPods
			together["CredentialsFromSecrets"] = e.credentialsFromSecrets
			together["Absences"] = e.absences
		}
		for name, part := range together {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				part(t)
			})
		}
	})
	if e.plane != nil {
		t.Run("ReplicasComeAndGo", e.replicasComeAndGo)
		t.Run("Demand", e.demand)
		t.Run("Tenants", e.tenants)
		t.Run("UnmatchedRule", e.unmatchedRule)
		t.Run("ScrapesItself", e.scrapesItself)
		t.Run("Queries", e.queries)
		t.Run("Recipes", e.recipes)
	}
	t.Run("Callers", e.callers)
	t.Run("RollingRestart", e.rollingRestart)
	if e.plane == nil {
		return // what follows breaks things
	}
	t.Run("CertificateReplaced", e.certificateReplaced)
	t.Run("APIServerStopped", e.apiServerStopped)
	t.Run("PermissionMissing", e.permissionMissing)
	t.Run("NamespaceDeletedWhileDown", e.namespaceDeletedWhileDown)
	t.Run("Resources", e.resources)
	t.Run("MovesFromPrometheusAdapter", e.movesFromPrometheusAdapter) // uninstalls promlet
}

// firstValue waits until promlet is installed and answers.
func (e *endToEnd) firstValue(t *testing.T) {
	e.eventually(t, "two replicas of promlet are ready", func(ctx context.Context) error { return e.replicas(ctx, "promlet", "promlet", 2) })
	e.eventually(t, "the APIServices are available", func(ctx context.Context) error { return available(ctx, e.objects) })
	e.eventually(t, "the metric has a value", func(ctx context.Context) error {
		_, err := e.number(ctx, serviceMetric)
		return err
	})
}

// scenario drives load at the sample application: the HPA goes from 2 replicas to
// 10 and, when the load has ended, back to 2. Beside it, three HPAs read another
// application's metric in three other ways.
func (e *endToEnd) scenario(t *testing.T) {
	e.eventually(t, "2 replicas before the load", func(ctx context.Context) error { return e.replicas(ctx, "default", "sample-metrics-app", 2) })
	load := e.startLoad(t, "default", "sample-metrics-app", 150)
	other := e.startLoad(t, "variants", "counter", 40)
	e.eventually(t, "10 replicas under load", func(ctx context.Context) error { return e.replicas(ctx, "default", "sample-metrics-app", 10) })
	e.eventually(t, "the value is the rate of requests", func(ctx context.Context) error {
		rate := load.rate(ctx, 20*time.Second)
		value, err := e.number(ctx, serviceMetric)
		if err != nil || value < 0.8*rate || value > 1.2*rate {
			return fmt.Errorf("the metric is %.1f at %.1f requests a second: %w", value, rate, errors.Join(err, errNotYet))
		}
		t.Logf("the metric is %.1f at %.1f requests a second", value, rate)
		return nil
	})
	e.rawReads(t)
	e.eventually(t, "the HPA on Pods with a selector asks for 3", func(ctx context.Context) error { return e.desired(ctx, "by-pods", "http_requests", 3) })
	e.eventually(t, "the HPA on a Deployment asks for 2", func(ctx context.Context) error { return e.desired(ctx, "by-deployment", "http_requests", 2) })
	e.eventually(t, "the HPA on a Namespace asks for 2", func(ctx context.Context) error { return e.desired(ctx, "by-namespace", "http_requests", 2) })
	load.stop()
	other.stop()
	e.eventually(t, "2 replicas after the load", func(ctx context.Context) error { return e.replicas(ctx, "default", "sample-metrics-app", 2) })
}

var errNotYet = errors.New("not as it should be yet")

// rawReads are what a person types.
func (e *endToEnd) rawReads(t *testing.T) {
	for _, version := range []string{"v1beta1", "v1beta2"} {
		out := e.kubectl(t, "get", "--raw", "/apis/custom.metrics.k8s.io/"+version+"/"+serviceMetric)
		var list struct {
			Kind, APIVersion string
			Items            []struct {
				DescribedObject corev1.ObjectReference
				Value           string
			}
		}
		require.NoError(t, json.Unmarshal([]byte(out), &list), out)
		require.Equal(t, "MetricValueList", list.Kind)
		require.Equal(t, "custom.metrics.k8s.io/"+version, list.APIVersion)
		require.Len(t, list.Items, 1, out)
		require.Equal(t, corev1.ObjectReference{Kind: "Service", Namespace: "default", Name: "sample-metrics-app", APIVersion: "v1"}, list.Items[0].DescribedObject)
		require.NotEmpty(t, list.Items[0].Value)
		t.Logf("%s", strings.TrimSpace(out))
	}
	out := e.kubectl(t, "get", "--raw", "/apis/custom.metrics.k8s.io/v1beta2")
	require.Contains(t, out, `"services/http_requests"`)
}

// desired is an error unless an HPA of the variants reads its metric and asks for
// so many replicas.
func (e *endToEnd) desired(ctx context.Context, name, metric string, want int32) error {
	hpa, err := e.client.AutoscalingV2().HorizontalPodAutoscalers("variants").Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	for _, c := range hpa.Status.Conditions {
		if c.Type == autoscalingv2.ScalingActive && c.Status != corev1.ConditionTrue {
			return fmt.Errorf("%s: %s: %s", name, c.Reason, c.Message)
		}
	}
	if hpa.Status.DesiredReplicas != want {
		return fmt.Errorf("%s asks for %d replicas for %s, want %d", name, hpa.Status.DesiredReplicas, metric, want)
	}
	return nil
}

// callers checks who may read: nobody without credentials, nobody without rights,
// and whoever may view the namespace.
func (e *endToEnd) callers(t *testing.T) {
	const path = "/apis/custom.metrics.k8s.io/v1beta2/" + serviceMetric
	ctx, accounts := t.Context(), e.client.CoreV1().ServiceAccounts("default")
	_, err := accounts.Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "viewer"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	defer func() { _ = accounts.Delete(context.WithoutCancel(ctx), "viewer", metav1.DeleteOptions{}) }()
	token, err := accounts.CreateToken(ctx, "viewer", &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	require.NoError(t, err)
	as := func(token string) rest.Interface {
		config := rest.AnonymousClientConfig(e.config)
		config.BearerToken = token
		return clientFor(t, config).RESTClient()
	}
	err = as("wrong").Get().AbsPath(path).Do(ctx).Error()
	require.True(t, apierrors.IsUnauthorized(err), "%v", err)
	viewer := as(token.Status.Token)
	err = viewer.Get().AbsPath(path).Do(ctx).Error()
	require.True(t, apierrors.IsForbidden(err), "%v", err)
	if e.plane != nil {
		e.directCallers(t, token.Status.Token)
	}

	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "viewer"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "view"},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: "default", Name: "viewer"}},
	}
	_, err = e.client.RbacV1().RoleBindings("default").Create(ctx, binding, metav1.CreateOptions{})
	require.NoError(t, err)
	defer func() {
		_ = e.client.RbacV1().RoleBindings("default").Delete(context.WithoutCancel(ctx), "viewer", metav1.DeleteOptions{})
	}()
	e.eventually(t, "whoever may view reads the metric", func(ctx context.Context) error { return viewer.Get().AbsPath(path).Do(ctx).Error() })
}

// directCallers does not go through kube-apiserver, which would refuse first.
func (e *endToEnd) directCallers(t *testing.T, token string) {
	for _, pod := range e.promletPods(t) {
		for credentials, want := range map[string]int{"": 401, "wrong": 401, token: 403} {
			code, body := e.direct(t, pod, "/apis/custom.metrics.k8s.io/v1beta2/"+serviceMetric, credentials)
			require.Equal(t, want, code, body)
		}
		code, body := e.direct(t, pod, "/readyz", "")
		require.Equal(t, 200, code, body)
		code, _ = e.direct(t, pod, "/metrics", "")
		require.Equal(t, 401, code)
	}
}

// appliesAsShipped has the API server look at the files of deploy/ as they are. A warning, such as that about a deprecated
// version, is an error.
func (e *endToEnd) appliesAsShipped(t *testing.T) {
	dryRun := []string{"apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict", "--warnings-as-errors"}
	const deprecated = `{"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "deprecated", "namespace": "default"}}`
	_, err := e.tryKubectl(t.Context(), deprecated, append(dryRun, "-f", "-")...)
	require.ErrorContains(t, err, "v1 Endpoints is deprecated")

	deploy := repository(t, "deploy")
	e.kubectl(t, append(dryRun, "-f", deploy+"/install.yaml")...)
	e.kubectl(t, append(dryRun, "-k", deploy)...)
	e.kubectl(t, append(dryRun, "-k", deploy+"/example")...)
	components, err := os.ReadDir(deploy + "/components")
	require.NoError(t, err)
	for _, component := range components {
		if component.Name() == "alerts" {
			continue // its CRD is not here
		}
		overlay := t.TempDir()
		base, err := filepath.Rel(overlay, deploy)
		require.NoError(t, err)
		text := fmt.Sprintf("resources: [%s]\ncomponents: [%[1]s/components/%s]\n", base, component.Name())
		require.NoError(t, os.WriteFile(filepath.Join(overlay, "kustomization.yaml"), []byte(text), 0o600))
		e.kubectl(t, append(dryRun, "-k", overlay)...)
	}
}
