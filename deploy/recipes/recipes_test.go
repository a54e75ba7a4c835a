// Package recipes tests each recipe with played exporters.
package recipes

import (
	"context"
	"fmt"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apilabels "k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider"
	"sigs.k8s.io/yaml"

	"github.com/promlet/promlet/adapter/embedded"
	"github.com/promlet/promlet/cmd/promlet/configfile"
	"github.com/promlet/promlet/deploy/recipes/played"
	"github.com/promlet/promlet/discovery/manifests"
	"github.com/promlet/promlet/scrape"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is the timeout for a value. A loaded machine is slow.
const patience = time.Minute

// Each directory is a recipe that is tested, whose README is short and in the index.
func TestRecipesAreKnown(t *testing.T) {
	index, err := os.ReadFile("README.md")
	require.NoError(t, err)
	directories, err := filepath.Glob("*/kustomization.yaml")
	require.NoError(t, err)
	require.Len(t, directories, len(played.Programs()))
	for name := range played.Programs() {
		require.Contains(t, string(index), "]("+name+")")
		readme, err := os.ReadFile(filepath.Join(name, "README.md"))
		require.NoError(t, err)
		lines := strings.Count(string(readme), "\n")
		require.True(t, 15 <= lines && lines <= 35, "%s has %d lines", name, lines)
	}
}

// What a recipe installs gives each metric of its HPA the expected value.
func TestRecipes(t *testing.T) {
	for name, program := range played.Programs() {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // they wait for scrapes
			text, hpa := read(t, name)
			source, err := manifests.FromText([]byte(text + manifestsOf(t, name, program)))
			require.NoError(t, err)
			p := run(t, name, source)
			require.Len(t, hpa.Spec.Metrics, len(program.Want))
			for i, metric := range hpa.Spec.Metrics {
				require.EventuallyWithT(t, func(c *assert.CollectT) {
					got, err := value(t.Context(), p, hpa, metric)
					if assert.NoError(c, err) {
						assert.InEpsilon(c, program.Want[i], got, 0.1)
					}
				}, patience, 100*time.Millisecond)
			}
			require.Empty(t, p.Problems())
			for _, m := range p.Discoverer.Monitors() {
				require.NoError(t, m.Err)
			}
		})
	}
}

// read returns the manifests that a recipe's kustomization lists, scraped every second, and its HPA.
func read(t *testing.T, recipe string) (text string, hpa autoscalingv2.HorizontalPodAutoscaler) {
	t.Helper()
	var kustomization struct{ Resources []string }
	data, err := os.ReadFile(filepath.Join(recipe, "kustomization.yaml"))
	require.NoError(t, err)
	require.NoError(t, yaml.Unmarshal(data, &kustomization))
	for _, name := range kustomization.Resources {
		data, err := os.ReadFile(filepath.Join(recipe, name))
		require.NoError(t, err)
		if name == "hpa.yaml" {
			require.NoError(t, yaml.UnmarshalStrict(data, &hpa))
		}
		text += regexp.MustCompile(`interval: \d+s`).ReplaceAllString(string(data), "interval: 1s") + "---\n"
	}
	return text, hpa
}

// run runs promlet with the recipe's rules.
func run(t *testing.T, recipe string, source *manifests.Text) *embedded.Promlet {
	t.Helper()
	var config configfile.File
	data, err := os.ReadFile(filepath.Join(recipe, "rules.yaml"))
	if err == nil {
		config, err = configfile.Parse(data)
		require.NoError(t, err)
		report, err := config.Check(configfile.Collection{RateWindow: time.Minute, ScrapeInterval: 5 * time.Second, Retention: time.Hour})
		require.NoError(t, err)
		require.Empty(t, report.Warnings)
	}
	p, err := embedded.New(embedded.Options{
		Source: source, Dir: t.TempDir(), Rules: config.AdapterRules(10 * time.Second), Scrape: scrape.Options{},
	})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
		require.NoError(t, p.Close())
	})
	return p
}

// value asks for a metric as the HPA's controller does.
func value(ctx context.Context, p *embedded.Promlet, hpa autoscalingv2.HorizontalPodAutoscaler, metric autoscalingv2.MetricSpec) (float64, error) {
	var identifier autoscalingv2.MetricIdentifier
	resource := "services"
	if metric.Object != nil {
		identifier = metric.Object.Metric
	} else {
		resource, identifier = "pods", metric.Pods.Metric
	}
	selector := apilabels.Everything()
	if identifier.Selector != nil {
		var err error
		if selector, err = metav1.LabelSelectorAsSelector(identifier.Selector); err != nil {
			return 0, err
		}
	}
	info := provider.CustomMetricInfo{GroupResource: schema.GroupResource{Resource: resource}, Namespaced: true, Metric: identifier.Name}
	if metric.Object != nil {
		v, err := p.Provider.GetMetricByName(ctx, types.NamespacedName{Namespace: hpa.Namespace, Name: metric.Object.DescribedObject.Name}, info, selector)
		if err != nil {
			return 0, err
		}
		return v.Value.AsApproximateFloat64(), nil
	}
	list, err := p.Provider.GetMetricBySelector(ctx, hpa.Namespace, apilabels.Everything(), info, selector)
	if err != nil {
		return 0, err
	}
	sum := 0.0
	for _, v := range list.Items {
		sum += v.Value.AsApproximateFloat64()
	}
	return sum / float64(len(list.Items)), nil
}

// manifestsOf returns the program's Service, and the pods with their EndpointSlices, which run on loopback.
func manifestsOf(t *testing.T, recipe string, p played.Program) string {
	t.Helper()
	var b strings.Builder
	service := func(namespace, name, labels string) {
		fmt.Fprintf(&b, `
---
apiVersion: v1
kind: Service
metadata: {name: %s, namespace: %s, labels: {%s}}
spec: {selector: {%s}, ports: [{name: %s, port: 80}]}
`, name, namespace, labels, labels, p.Port)
	}
	service(p.Namespace, p.Service, p.Labels)
	if p.Token != "" {
		fmt.Fprintf(&b, "---\napiVersion: v1\nkind: Secret\nmetadata: {name: %s, namespace: %s}\nstringData: {token: %s}\n", p.Token, p.Namespace, p.Token)
	}
	for _, pod := range p.Pods {
		host, port, err := net.SplitHostPort(play(t, recipe, p))
		require.NoError(t, err)
		fmt.Fprintf(&b, `---
apiVersion: v1
kind: Pod
metadata: {name: %[1]s, namespace: %[2]s, labels: {%[3]s}}
spec: {containers: [{name: main, ports: [{name: %[4]s, containerPort: %[5]s}]}]}
status: {podIP: %[6]s, podIPs: [{ip: %[6]s}], phase: Running, conditions: [{type: Ready, status: "True"}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: %[1]s, namespace: %[2]s, labels: {kubernetes.io/service-name: %[7]s}}
addressType: IPv4
endpoints: [{addresses: [%[6]s], conditions: {ready: true}, targetRef: {kind: Pod, name: %[1]s, namespace: %[2]s}}]
ports: [{name: %[4]s, port: %[5]s}]
`, pod, p.Namespace, p.Labels, p.Port, port, host, p.Service)
	}
	for _, object := range p.Also {
		kind, name, _ := strings.Cut(object, "/")
		if kind == "Service" {
			service("default", name, "app: "+name)
			continue
		}
		fmt.Fprintf(&b, "---\napiVersion: v1\nkind: Pod\nmetadata: {name: %s, namespace: default}\nstatus: {podIP: 127.0.0.2, phase: Running}\n", name)
	}
	return b.String()
}

// play serves a recipe's body, and returns its address.
func play(t *testing.T, recipe string, p played.Program) string {
	t.Helper()
	server := httptest.NewServer(p.Handler(func() ([]byte, error) { return os.ReadFile(filepath.Join("testdata", recipe+".txt")) }))
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}
