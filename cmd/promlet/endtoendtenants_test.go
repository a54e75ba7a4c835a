package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/metrics/pkg/apis/custom_metrics/v1beta2"

	"github.com/promlet/promlet/bench/controlplane"
)

// tenants has two tenants, each with the right to edit in its own namespace only, and two
// promlets: one that isolates them, and one with the defaults, to see that what tenant-b
// tries would work. Each line of what a tenant can make promlet do is a subtest.
type tenants struct {
	*endToEnd
	isolated, open  *process
	ofA, ofB        string // tokens
	nodeName        string
	victimsReadings []string // distinct answers for tenant-a's metric, read all the time
	stopReading     func()
}

// victimsMetric is what tenant-a serves, and tenant-b wants to forge.
const victimsMetric = "namespaces/tenant-a/services/shop/earnings"

func (e *endToEnd) tenants(t *testing.T) {
	n := e.startTenants(t)
	for _, attack := range []string{"honor-labels", "relabelings", "metric-relabelings", "target-labels"} {
		t.Run("CannotForgeBy/"+attack, func(t *testing.T) { n.cannotForge(t, attack) })
	}
	t.Run("CannotForgeBy/annotations", func(t *testing.T) {
		n.eventually(t, "it is scraped", func(context.Context) error {
			return n.namespacesOf(n.open, `earnings{job="tenant-b/annotated"}`, "tenant-b")
		})
		n.eventually(t, "it is scraped", func(context.Context) error {
			return n.namespacesOf(n.isolated, `earnings{job="tenant-b/annotated"}`, "tenant-b")
		})
	})
	t.Run("IsToldThatItIsOverruled", n.isTold)
	t.Run("IsShownWhereItIsNot", n.isShown)
	t.Run("CannotSelectOtherNamespaces", n.cannotSelect)
	t.Run("CannotConnectToLoopback", n.cannotConnect)
	t.Run("CannotReadSecretsOfOthers", func(t *testing.T) { n.isRejected(t, "secret", "spec.endpoints[0].authorization") })
	t.Run("CannotReadFiles", func(t *testing.T) { n.isRejected(t, "file", "spec.endpoints[0].bearerTokenFile") })
	t.Run("CannotReadMetricsOfOthers", n.cannotRead)
	t.Run("CanReadItsOwn", n.canReadItsOwn)
	t.Run("CanCopyWhatTheNetworkLetsPromletReach", func(t *testing.T) {
		n.eventually(t, "it is in its own namespace", func(context.Context) error {
			return n.namespacesOf(n.isolated, `earnings{attack="address"} == 100`, "tenant-b")
		})
	})
	n.stopReading()
	require.Equal(t, []string{"100"}, n.victimsReadings, "tenant-a's value was never another")
}

// startTenants makes the tenants and what they run, and starts the promlets.
func (e *endToEnd) startTenants(t *testing.T) *tenants {
	n := &tenants{endToEnd: e}
	e.kubectl(t, "apply", "--server-side", "-f", "testdata/e2e/tenants.yaml")
	t.Cleanup(func() {
		for _, namespace := range []string{"tenant-a", "tenant-b"} {
			require.NoError(t, e.client.CoreV1().Namespaces().Delete(context.WithoutCancel(t.Context()), namespace, metav1.DeleteOptions{}))
		}
	})
	nodes, err := e.client.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	n.nodeName = nodes.Items[0].Name
	kubeconfigs := map[string]string{}
	kubeconfigs["tenant-a"], n.ofA = e.userOf(t, "tenant-a", "edit")
	kubeconfigs["tenant-b"], n.ofB = e.userOf(t, "tenant-b", "edit")
	for namespace, kubeconfig := range kubeconfigs {
		e.eventually(t, namespace+" has its rights", func(ctx context.Context) error {
			return e.apply(ctx, kubeconfig, namespace, "testdata/e2e/tenant.yaml", "NODE", n.nodeName)
		})
	}
	flags := []string{"--kubeconfig", e.kubeconfig, "--bind-address", "127.0.0.1", "--ingest", "all", "--scrape-interval", "2s", "--scrape-timeout", "1s", "--data-dir"}
	env := []string{podNetwork + "=" + e.plane.Network().Socket()}
	n.isolated = startPromlet(t, env, append(flags, t.TempDir(), "--enforce-namespace-label", "--ignore-namespace-selectors")...)
	n.open = startPromlet(t, env, append(flags, t.TempDir())...)
	var address string
	for _, p := range []*process{n.isolated, n.open} {
		e.eventually(t, "tenant-a has its value", func(ctx context.Context) error {
			address, err = e.victimsAddress(ctx)
			if got := n.ask(p, n.ofA, victimsMetric); got != "100" || err != nil {
				return fmt.Errorf("%s, address %s: %w", got, address, errNotYet)
			}
			return nil
		})
	}
	n.readAllTheTime(t)
	require.NoError(t, e.apply(t.Context(), kubeconfigs["tenant-b"], "tenant-b", "testdata/e2e/tenant-attacks.yaml",
		"ADDRESS", address+":8080", "LOOPBACK", strings.TrimPrefix(n.isolated.web, "http://")))
	return n
}

func (e *endToEnd) victimsAddress(ctx context.Context) (string, error) {
	pods, err := e.client.CoreV1().Pods("tenant-a").List(ctx, metav1.ListOptions{LabelSelector: "app=shop"})
	if err != nil || len(pods.Items) == 0 || pods.Items[0].Status.PodIP == "" {
		return "", fmt.Errorf("tenant-a has no pod: %w", errNotYet)
	}
	return pods.Items[0].Status.PodIP, nil
}

// apply applies a file with the rights of a user, with words replaced.
func (e *endToEnd) apply(ctx context.Context, kubeconfig, namespace, file string, words ...string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	cmd := controlplane.Kubectl(ctx, e.binary, kubeconfig, "-n", namespace, "apply", "-f", "-")
	cmd.Stdin = strings.NewReader(strings.NewReplacer(words...).Replace(string(text)))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("apply %s: %w: %s", file, err, out)
	}
	return nil
}

// readAllTheTime reads tenant-a's metric twice a second until stopReading.
func (n *tenants) readAllTheTime(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ; ctx.Err() == nil; time.Sleep(500 * time.Millisecond) {
			if got := n.ask(n.isolated, n.ofA, victimsMetric); !slices.Contains(n.victimsReadings, got) {
				n.victimsReadings = append(n.victimsReadings, got)
			}
		}
	}()
	n.stopReading = func() { stop(); <-done }
	t.Cleanup(n.stopReading)
}

// ask asks a promlet for a metric with the rights of a tenant: the value, or the code and why.
func (n *tenants) ask(p *process, token, path string) string {
	request, err := http.NewRequest(http.MethodGet, p.api+"/apis/custom.metrics.k8s.io/v1beta2/"+path, http.NoBody)
	if err != nil {
		return err.Error()
	}
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := p.client.Do(request)
	if err != nil {
		return err.Error()
	}
	defer response.Body.Close()
	var answer struct {
		v1beta2.MetricValueList
		Message string
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return err.Error()
	}
	if response.StatusCode != http.StatusOK || len(answer.Items) == 0 {
		return fmt.Sprintf("%d %s", response.StatusCode, answer.Message)
	}
	return answer.Items[0].Value.String()
}

// namespacesOf is an error unless a promlet has stored a selector's series under exactly
// these namespaces.
func (n *tenants) namespacesOf(p *process, selector string, want ...string) error {
	_, body, err := p.get(p.web + "/api/v1/query?query=" + url.QueryEscape("count by (namespace) ("+selector+")"))
	if err != nil {
		return err
	}
	var answer struct {
		Data struct {
			Result []struct{ Metric map[string]string }
		}
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return fmt.Errorf("%w: %s", err, body)
	}
	var got []string
	for _, r := range answer.Data.Result {
		got = append(got, r.Metric["namespace"])
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		return fmt.Errorf("%s has series in %q, want %q: %w", selector, got, want, errNotYet)
	}
	return nil
}

// cannotForge waits until an attack works where nothing is enforced, and to no effect where it is.
func (n *tenants) cannotForge(t *testing.T, attack string) {
	selector := fmt.Sprintf("earnings{attack=%q}", attack)
	n.eventually(t, "it works without enforcement", func(context.Context) error { return n.namespacesOf(n.open, selector, "tenant-a") })
	n.eventually(t, "it does not with it", func(context.Context) error { return n.namespacesOf(n.isolated, selector, "tenant-b") })
	require.NoError(t, n.namespacesOf(n.isolated, fmt.Sprintf(`{attack=%q,namespace="tenant-a"}`, attack)), "nor does any other series")
}

// isTold has an Event on each monitor that is overruled, and on no other.
func (n *tenants) isTold(t *testing.T) {
	n.eventually(t, "Events", func(ctx context.Context) error {
		events, err := n.client.CoreV1().Events("tenant-b").List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		var told []string
		for _, event := range events.Items {
			if event.Reason == "NamespaceOverruled" && event.Count <= 1 {
				told = append(told, event.InvolvedObject.Name)
			}
		}
		slices.Sort(told)
		if want := []string{"honor-labels", "metric-relabelings", "relabelings", "target-labels"}; !slices.Equal(told, want) {
			return fmt.Errorf("%v, want one each on %v: %w", told, want, errNotYet)
		}
		return nil
	})
}

// isShown has the page Targets and a metric name what is written into another namespace.
func (n *tenants) isShown(t *testing.T) {
	n.eventually(t, "the page and the metric", func(context.Context) error {
		page, metrics := n.open.page("/targets?q=honor-labels"), n.open.page("/metrics")
		if !strings.Contains(page, "series of other namespaces, such as tenant-a") ||
			!strings.Contains(metrics, `promlet_scrape_foreign_namespace_series{job="serviceMonitor/tenant-b/honor-labels/0"} 1`) {
			return errNotYet
		}
		return nil
	})
	require.Contains(t, n.isolated.page("/targets?q=honor-labels"), "were given to namespace tenant-b")
	require.Contains(t, n.isolated.page("/metrics"), `promlet_scrape_foreign_namespace_series{job="serviceMonitor/tenant-b/honor-labels/0"} 0`)
}

// cannotSelect: tenant-a's Service has no targets of tenant-b's monitor.
func (n *tenants) cannotSelect(t *testing.T) {
	n.eventually(t, "it works by default", func(context.Context) error {
		return n.namespacesOf(n.open, `up{attack="any"}`, "tenant-a", "tenant-b")
	})
	n.eventually(t, "it selects its own", func(context.Context) error { return n.namespacesOf(n.isolated, `up{attack="any"}`, "tenant-b") })
	targets, err := n.jobTargets(n.isolated, "serviceMonitor/tenant-b/any/0")
	require.NoError(t, err)
	require.Len(t, targets, 1)
}

// jobTargets returns the targets of a job.
func (n *tenants) jobTargets(p *process, job string) (of []activeTarget, err error) {
	_, body, err := p.get(p.web + "/api/v1/targets?scrapePool=" + url.QueryEscape(job))
	if err != nil {
		return nil, err
	}
	var answer struct {
		Data struct {
			ActiveTargets []struct {
				activeTarget
				ScrapePool string
			}
		}
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, fmt.Errorf("%w: %s", err, body)
	}
	for _, target := range answer.Data.ActiveTargets {
		if target.ScrapePool == job {
			of = append(of, target.activeTarget)
		}
	}
	return of, nil
}

// cannotConnect: what listens on loopback for promlet's own sake is not scraped.
func (n *tenants) cannotConnect(t *testing.T) {
	n.eventually(t, "it is down", func(context.Context) error {
		targets, err := n.jobTargets(n.isolated, "serviceMonitor/tenant-b/loopback/0")
		if err != nil || len(targets) != 1 || !strings.Contains(targets[0].LastError, "it is a loopback address") {
			return fmt.Errorf("%+v: %w: %w", targets, err, errNotYet)
		}
		return nil
	})
}

func (n *tenants) isRejected(t *testing.T, monitor, field string) {
	n.eventually(t, "it is rejected", func(context.Context) error {
		if page := n.isolated.page("/targets?q=" + monitor); !strings.Contains(page, "rejected") || !strings.Contains(page, field) {
			return errNotYet
		}
		return nil
	})
	targets, err := n.jobTargets(n.isolated, "serviceMonitor/tenant-b/"+monitor+"/0")
	require.NoError(t, err)
	require.Empty(t, targets)
}

// cannotRead has every way of asking for tenant-a's metric refused.
func (n *tenants) cannotRead(t *testing.T) {
	for _, path := range []string{
		victimsMetric, victimsMetric + "?explain=", "namespaces/tenant-a/pods/*/earnings", "namespaces/tenant-a/metrics/earnings",
		"namespaces/*/metrics/earnings", "namespaces/tenant-a/nodes/" + n.nodeName + "/earnings", "nodes/" + n.nodeName + "/earnings",
	} {
		require.Contains(t, n.ask(n.isolated, n.ofB, path), "403 ", path)
	}
	for _, path := range []string{"namespaces/tenant-b/metrics/earnings", "namespaces/tenant-b/nodes/" + n.nodeName + "/earnings"} {
		require.Contains(t, n.ask(n.isolated, n.ofA, path), "403 ", path)
	}
}

// canReadItsOwn: of a node as well, each has what is of its own namespace.
func (n *tenants) canReadItsOwn(t *testing.T) {
	require.Equal(t, "100", n.ask(n.isolated, n.ofA, "namespaces/tenant-a/nodes/"+n.nodeName+"/earnings"))
	require.Equal(t, "100", n.ask(n.isolated, n.ofB, "namespaces/tenant-b/nodes/"+n.nodeName+"/earnings"))
	require.Equal(t, "100", n.ask(n.isolated, n.ofA, "namespaces/tenant-a/metrics/earnings"))
	require.NotContains(t, n.ask(n.isolated, n.ofB, "namespaces/tenant-b/metrics/earnings"), " ")
}
