package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	authenticationv1 "k8s.io/api/authentication/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// absence is an HPA whose metric has no value, and what its condition says of why.
type absence struct {
	namespace string // "" is absences
	name      string // of the HPA, and of the Service it reads
	metric    string
	kind      autoscalingv2.MetricSourceType // "" is Object
	says      string
}

// explainedAbsences are about what is in testdata/e2e/absences.yaml.
func explainedAbsences() []absence {
	const requests = "http_requests"
	return []absence{
		{name: "shop", metric: requests, says: "no monitor selects the Service; the closest is ServiceMonitor shop: it wants the label app=shopp, the Service has app=shop"},
		{namespace: "absences-unwatched", name: "shop", metric: requests, says: "no monitor selects the Service: namespace absences-unwatched has none, and no monitor of another namespace selects it"},
		{name: "portless", metric: requests, says: `ServiceMonitor portless selects the Service, but wants a port named "web", and the Service has "http"`},
		{name: "unready", metric: requests, says: "no ready endpoints: not ready: unready-"},
		{name: "podless", metric: requests, says: "ServiceMonitor podless finds no target in it: no pod matches the Service's selector app=podles"},
		{name: "refusing", metric: requests, says: "connect: connection refused"},
		{name: "pathless", metric: requests, says: "/metrics is down: server returned HTTP status 404 Not Found"},
		{name: "garbled", metric: requests, says: "/garbled is down: line 12"},
		{name: "slow", metric: requests, says: "/slow is down: timed out after 1s without an answer"},
		{name: "misnamed", metric: "orders", says: "/orders is up, but exposes no orders or orders_total (closest metric: order)"},
		{name: "stripped", metric: requests, says: "metricRelabelings of its monitor drop it"},
		{name: "relabelled", metric: requests, says: "relabelings of its monitor drop it"},
		{name: "dropped", metric: requests, says: "the relabelings of its monitor drop all of its targets"},
		{name: "starting", metric: "jobs_done", says: "first rate in about"},
		{name: "nan", metric: "temperature", says: "NaN"},
		{name: "rejected", metric: requests, says: "ServiceMonitor rejected is rejected: spec.endpoints[0].relabelings[0]"},
		{name: "elsewhere", metric: requests, says: "a ServiceMonitor of another namespace is rejected: its Events say why"},
		{name: "mixed", metric: "orders", says: "/mixed is up, but exposes no orders or orders_total"},
		{name: "gone", metric: requests, says: "there is no service gone in namespace absences"},
		{name: "pods", metric: requests, kind: autoscalingv2.PodsMetricSourceType, says: `the selector "app=idle" matches no pods in namespace absences`},
		{name: "plain", metric: requests, kind: autoscalingv2.PodsMetricSourceType, says: "no metrics returned from custom metrics API"},
		{name: "mail", metric: "mail_backlog", kind: autoscalingv2.ExternalMetricSourceType, says: "targets are up, but none of them exposes mail_backlog"},
		{name: "unruled", metric: "mail_count", kind: autoscalingv2.ExternalMetricSourceType, says: "no rule of externalRules makes a metric called mail_count"},
	}
}

func (a absence) of() string { return a.namespace + "/" + a.name }

// scales is the Deployment that the HPA scales.
func (a absence) scales() string {
	if a.name == "plain" {
		return a.name
	}
	return "idle"
}

// metricSpec makes what an HPA scales on.
func metricSpec(kind autoscalingv2.MetricSourceType, metric, service, target string) autoscalingv2.MetricSpec {
	identifier := autoscalingv2.MetricIdentifier{Name: metric}
	quantity := resource.MustParse(target)
	average := autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: &quantity}
	spec := autoscalingv2.MetricSpec{Type: kind}
	switch kind {
	case autoscalingv2.PodsMetricSourceType:
		spec.Pods = &autoscalingv2.PodsMetricSource{Metric: identifier, Target: average}
	case autoscalingv2.ExternalMetricSourceType:
		spec.External = &autoscalingv2.ExternalMetricSource{Metric: identifier, Target: average}
	default:
		spec.Type = autoscalingv2.ObjectMetricSourceType
		spec.Object = &autoscalingv2.ObjectMetricSource{
			DescribedObject: autoscalingv2.CrossVersionObjectReference{APIVersion: "v1", Kind: "Service", Name: service}, Metric: identifier,
			Target: autoscalingv2.MetricTarget{Type: autoscalingv2.ValueMetricType, Value: &quantity},
		}
	}
	return spec
}

func (e *endToEnd) createHPA(t *testing.T, namespace, name, deployment string, metric autoscalingv2.MetricSpec) {
	t.Helper()
	_, err := e.client.AutoscalingV2().HorizontalPodAutoscalers(namespace).Create(t.Context(), &autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: deployment},
			MaxReplicas:    2, Metrics: []autoscalingv2.MetricSpec{metric},
		},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
}

// absences makes HPAs without a value, each for another reason, and reads the reasons
// where people do: in the HPAs' conditions and events. What is true of another
// namespace is in none of them.
func (e *endToEnd) absences(t *testing.T) {
	e.kubectl(t, "apply", "--server-side", "-f", "testdata/e2e/absences.yaml")
	t.Cleanup(func() { e.removeAbsences(t) })
	all := explainedAbsences()
	for i := range all {
		if all[i].namespace == "" {
			all[i].namespace = "absences"
		}
		e.createHPA(t, all[i].namespace, all[i].name, all[i].scales(), metricSpec(all[i].kind, all[i].metric, all[i].name, "1"))
	}
	e.createHPA(t, "absences", "queue", "worker", metricSpec(autoscalingv2.ExternalMetricSourceType, "queue_length", "", "15"))
	said := map[string][]string{}
	defer func() {
		for _, a := range all {
			t.Logf("%s: %s", a.of(), strings.Join(said[a.of()], "\n  "))
		}
	}()
	e.eventually(t, "every HPA says what is missing", func(ctx context.Context) error { return e.explained(ctx, all, said) })
	e.eventually(t, "an external metric has its HPA ask for 2", func(ctx context.Context) error {
		hpa, err := e.client.AutoscalingV2().HorizontalPodAutoscalers("absences").Get(ctx, "queue", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if hpa.Status.DesiredReplicas != 2 {
			return fmt.Errorf("%d replicas, %v: %w", hpa.Status.DesiredReplicas, hpa.Status.Conditions, errNotYet)
		}
		return nil
	})
	for _, a := range all {
		for _, message := range said[a.of()] {
			require.NotContains(t, message, "decoy")
			require.NotContains(t, message, "xorders")
		}
	}
	for _, a := range all[:3] {
		e.eventually(t, "an Event says so too", func(ctx context.Context) error { return e.eventOfHPA(ctx, a) })
	}
	t.Log(e.kubectl(t, "-n", "absences", "describe", "hpa", "shop"))
	t.Run("Widgets", e.widgets)
	viewer := e.viewerOf(t, "absences")
	t.Run("Explain", func(t *testing.T) { e.explain(t, viewer) })
	t.Run("Plugin", func(t *testing.T) { e.plugin(t, viewer) })
}

// explained is an error unless each HPA has said what is missing. What it says is
// added to said.
func (e *endToEnd) explained(ctx context.Context, all []absence, said map[string][]string) error {
	var missing error
	for _, a := range all {
		hpa, err := e.client.AutoscalingV2().HorizontalPodAutoscalers(a.namespace).Get(ctx, a.name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, c := range hpa.Status.Conditions {
			if c.Type == autoscalingv2.ScalingActive && c.Status == corev1.ConditionFalse && !slices.Contains(said[a.of()], c.Message) {
				said[a.of()] = append(said[a.of()], c.Message)
			}
		}
		if !slices.ContainsFunc(said[a.of()], func(message string) bool { return strings.Contains(message, a.says) }) {
			missing = errors.Join(missing, fmt.Errorf("%s says %q, not %q: %w", a.of(), said[a.of()], a.says, errNotYet))
		}
	}
	return missing
}

// eventOfHPA is an error unless there is an Event on an HPA that says what is missing.
func (e *endToEnd) eventOfHPA(ctx context.Context, a absence) error {
	events, err := e.client.CoreV1().Events(a.namespace).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.kind=HorizontalPodAutoscaler,involvedObject.name=" + a.name})
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(events.Items, func(event corev1.Event) bool { return strings.Contains(event.Message, a.says) }) {
		return fmt.Errorf("%d events on %s, none of which says %q: %w", len(events.Items), a.of(), a.says, errNotYet)
	}
	return nil
}

// removeAbsences leaves no targets behind that are down, or seldom scraped.
func (e *endToEnd) removeAbsences(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), e2ePatience)
	defer cancel()
	for _, namespace := range []string{"absences", "absences-unwatched", "decoy"} {
		_, err := e.tryKubectl(ctx, "", "-n", namespace, "delete", "servicemonitors,podmonitors,horizontalpodautoscalers", "--all")
		require.NoError(t, err)
		_, err = e.tryKubectl(ctx, "", "delete", "namespace", namespace, "--wait=false")
		require.NoError(t, err)
	}
}

// widgets: a kind that is installed while promlet runs has metrics by the pods that
// it owns.
func (e *endToEnd) widgets(t *testing.T) {
	const path = "namespaces/absences/widgets.example.com/first/http_requests_in_flight"
	_, err := e.number(t.Context(), path)
	require.ErrorContains(t, err, "resolve resource widgets.example.com")
	e.kubectl(t, "apply", "--server-side", "-f", "testdata/e2e/widgets.yaml")
	e.kubectl(t, "wait", "--for=condition=Established", "--timeout=1m", "crd/widgets.example.com")
	widget := func() (string, error) {
		return e.tryKubectl(t.Context(), "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: first, namespace: absences}\n", "create", "-o", "jsonpath={.metadata.uid}", "-f", "-")
	}
	var uid string
	e.eventually(t, "there is a Widget", func(context.Context) (err error) {
		uid, err = widget()
		return err
	})
	pod := fmt.Sprintf(`apiVersion: v1
kind: Pod
metadata: {name: of-first, namespace: absences, labels: {app: widget}, ownerReferences: [{apiVersion: example.com/v1, kind: Widget, name: first, uid: %s}]}
spec:
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: 5
  containers: [{name: sample-metrics-app, image: sample-metrics-app:dev, ports: [{name: web, containerPort: 8080}]}]
`, uid)
	_, err = e.tryKubectl(t.Context(), pod, "create", "-f", "-")
	require.NoError(t, err)
	e.eventually(t, "the Widget has the value of its pod", func(ctx context.Context) error {
		value, err := e.number(ctx, path)
		if err == nil && value != 0 {
			err = fmt.Errorf("%v requests in flight", value)
		}
		return err
	})
}

// explain runs promlet explain as a person who may view one namespace.
func (e *endToEnd) explain(t *testing.T, kubeconfig string) {
	explain := func(args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), os.Args[0], append([]string{"explain", "--kubeconfig", kubeconfig}, args...)...)
		cmd.Env = append(os.Environ(), asPromlet+"=1")
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	e.eventually(t, "whoever may view the namespace has a metric explained", func(context.Context) error {
		if out, err := explain("services/shop", "http_requests", "-n", "absences"); !strings.Contains(out, "has no value: ") {
			return fmt.Errorf("%w: %s", errors.Join(err, errNotYet), out)
		}
		return nil
	})
	f := func(want []string, args ...string) {
		t.Helper()
		out, err := explain(args...)
		if strings.Contains(out, " has no value: ") {
			require.Error(t, err, "the exit status says so")
		} else {
			require.NoError(t, err, out)
		}
		t.Logf("promlet explain %s\n%s", strings.Join(args, " "), out)
		for _, text := range want {
			require.Contains(t, out, text)
		}
		require.NotContains(t, out, "decoy")
		require.NotContains(t, out, "xorders")
	}
	f([]string{"✓ object", "✓ autoscaler", "HorizontalPodAutoscaler shop scales on it", "✓ rule", "✗ monitor", "the closest is ServiceMonitor shop",
		"http_requests of services/shop in namespace absences has no value: "}, "services/shop", "http_requests", "-n", "absences")
	f([]string{"✓ monitor", "✓ endpoints", "✓ targets", "✗ series"}, "svc/misnamed", "orders", "-n", "absences")
	f([]string{"✗ monitor", "of another namespace"}, "services/elsewhere", "http_requests", "-n", "absences")
	f([]string{"✗ series"}, "services/mixed", "orders", "-n", "absences")
	f([]string{"✓ value", "external metric queue_length in namespace absences is 30"}, "--external", "queue_length", "-n", "absences")
	f([]string{"✓ monitor", "0 of 1 have a value", "✗ series"}, "pods", "http_requests", "-l", "app=plain", "-n", "absences")
	e.eventually(t, "a Widget's metric is explained, by either replica", func(context.Context) error {
		for range 4 { // each has looked at what is installed within 30 s
			out, err := explain("widgets.example.com/first", "http_requests_in_flight", "-n", "absences")
			if err != nil || !strings.Contains(out, "✓ value") {
				return fmt.Errorf("%s: %w", out, errors.Join(err, errNotYet))
			}
		}
		return nil
	})
	for _, namespace := range []string{"decoy", "absences-unwatched"} {
		out, err := explain("services/shop", "http_requests", "-n", namespace)
		require.Error(t, err, out)
		require.Contains(t, out, `cannot get resource "services/http_requests" in API group "custom.metrics.k8s.io" in the namespace "`+namespace+`"`)
		t.Log(out)
	}
}

// viewerOf makes a ServiceAccount that may view a namespace, and returns the path of
// its kubeconfig.
func (e *endToEnd) viewerOf(t *testing.T, namespace string) string {
	t.Helper()
	path, _ := e.userOf(t, namespace, "view")
	return path
}

// userOf makes a user who has a ClusterRole in a namespace, and returns its kubeconfig and token.
func (e *endToEnd) userOf(t *testing.T, namespace, role string) (path, bearer string) {
	t.Helper()
	ctx, name := t.Context(), role+"er"
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}
	_, err := e.client.CoreV1().ServiceAccounts(namespace).Create(ctx, account, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = e.client.RbacV1().RoleBindings(namespace).Create(ctx, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: namespace, Name: name}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	token, err := e.client.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, name, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	require.NoError(t, err)
	config := clientcmdapi.NewConfig()
	config.Clusters["c"] = &clientcmdapi.Cluster{Server: e.config.Host, CertificateAuthority: e.config.CAFile, CertificateAuthorityData: e.config.CAData}
	config.AuthInfos[name] = &clientcmdapi.AuthInfo{Token: token.Status.Token}
	config.Contexts["c"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: name}
	config.CurrentContext = "c"
	path = filepath.Join(t.TempDir(), "kubeconfig")
	require.NoError(t, clientcmd.WriteToFile(*config, path))
	return path, token.Status.Token
}
