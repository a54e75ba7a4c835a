// Package recipes tests each recipe with played exporters.
package recipes

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
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
	"github.com/promlet/promlet/discovery/manifests"
	"github.com/promlet/promlet/scrape"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is the timeout for a value. A loaded machine is slow.
const patience = time.Minute

// exporters are what a recipe expects in the cluster: pods behind a Service, each with the body testdata/RECIPE.txt.
type exporters struct {
	namespace, service string
	labels             string // of the Service and of its pods
	port, path         string
	token              string // the Secret with the token that they want
	pods               []string
	also               []string // Services and pods in default that the body names
	want               []float64
}

// Expected values are those of the HPA's metrics in turn. That of a Pods metric is the average over the pods.
var recipes = map[string]exporters{
	"vllm": {
		service: "vllm", labels: "app: vllm", port: "http", path: "/metrics", pods: []string{"vllm-0", "vllm-1"},
		want: []float64{12, 0.8714},
	},
	"rabbitmq": {
		service: "rabbitmq", labels: "app.kubernetes.io/component: rabbitmq", port: "prometheus", path: "/metrics/detailed?family=queue_coarse_metrics",
		pods: []string{"rabbitmq-server-0"}, want: []float64{124},
	},
	"kafka-lag": {
		service: "kafka-exporter", labels: "app: prometheus-kafka-exporter", port: "exporter-port", path: "/metrics", pods: []string{"kafka-exporter-0"},
		want: []float64{4000},
	},
	"ingress-nginx": {
		namespace: "ingress-nginx", service: "ingress-nginx-controller-metrics", port: "metrics", path: "/metrics",
		labels: "app.kubernetes.io/name: ingress-nginx, app.kubernetes.io/component: controller",
		pods:   []string{"ingress-nginx-controller-0", "ingress-nginx-controller-1"}, also: []string{"Service/shop"}, want: []float64{64},
	},
	"scale-to-zero": {
		service: "redis-exporter", labels: "app.kubernetes.io/name: prometheus-redis-exporter", port: "redis-exporter", path: "/metrics",
		pods: []string{"redis-exporter-0"}, want: []float64{37},
	},
	"triton": {
		service: "triton", labels: "app: triton", port: "metrics", path: "/metrics", pods: []string{"triton-0", "triton-1"}, want: []float64{6.5},
	},
	"istio": {
		service: "shop", labels: "security.istio.io/tlsMode: istio", port: "http-envoy-prom", path: "/stats/prometheus",
		pods: []string{"shop-0", "shop-1"}, want: []float64{42},
	},
	"spring-boot": {
		service: "spring-boot", labels: "app: spring-boot", port: "http", path: "/actuator/prometheus", pods: []string{"spring-boot-0", "spring-boot-1"},
		want: []float64{30, 42},
	},
	"dcgm": {
		namespace: "gpu-operator", service: "nvidia-dcgm-exporter", labels: "app: nvidia-dcgm-exporter", port: "gpu-metrics", path: "/metrics",
		pods: []string{"nvidia-dcgm-exporter-0"}, also: []string{"Pod/trainer-0", "Pod/trainer-1"}, want: []float64{60}, // of 87 and 33
	},
	"dotnet": {
		service: "dotnet", labels: "app: dotnet", port: "http", path: "/metrics", pods: []string{"dotnet-0", "dotnet-1"}, want: []float64{20},
	},
	"node": {
		service: "node-app", labels: "app: node-app", port: "http", path: "/metrics", pods: []string{"node-app-0", "node-app-1"}, want: []float64{0.1326, 60},
	},
	"python": {
		service: "python-app", labels: "app: python-app", port: "http", path: "/metrics", pods: []string{"python-app-0", "python-app-1"}, want: []float64{30, 6},
	},
	"llm-d": {
		service: "llm-pool-epp", labels: "app.kubernetes.io/name: llm-pool-epp", port: "http-metrics", path: "/metrics", token: "inference-gateway-sa-metrics-reader-secret",
		pods: []string{"llm-pool-epp-0"}, want: []float64{15, 58},
	},
}

// Each directory is a recipe that is tested, whose README is short and in the index.
func TestRecipesAreKnown(t *testing.T) {
	index, err := os.ReadFile("README.md")
	require.NoError(t, err)
	directories, err := filepath.Glob("*/kustomization.yaml")
	require.NoError(t, err)
	require.Len(t, directories, len(recipes))
	for name := range recipes {
		require.Contains(t, string(index), "]("+name+")")
		readme, err := os.ReadFile(filepath.Join(name, "README.md"))
		require.NoError(t, err)
		lines := strings.Count(string(readme), "\n")
		require.True(t, 15 <= lines && lines <= 35, "%s has %d lines", name, lines)
	}
}

// What a recipe installs gives each metric of its HPA the expected value.
func TestRecipes(t *testing.T) {
	for name, cluster := range recipes {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // they wait for scrapes
			if cluster.namespace == "" {
				cluster.namespace = "default"
			}
			text, hpa := read(t, name)
			source, err := manifests.FromText([]byte(text + cluster.manifests(t, name)))
			require.NoError(t, err)
			p := run(t, name, source)
			require.Len(t, hpa.Spec.Metrics, len(cluster.want))
			for i, metric := range hpa.Spec.Metrics {
				require.EventuallyWithT(t, func(c *assert.CollectT) {
					got, err := value(t.Context(), p, hpa, metric)
					if assert.NoError(c, err) {
						assert.InEpsilon(c, cluster.want[i], got, 0.1)
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

// manifests are the exporters' Service, and the pods with their EndpointSlices, which run on loopback.
func (e exporters) manifests(t *testing.T, recipe string) string {
	t.Helper()
	var b strings.Builder
	service := func(namespace, name, labels string) {
		fmt.Fprintf(&b, `
---
apiVersion: v1
kind: Service
metadata: {name: %s, namespace: %s, labels: {%s}}
spec: {selector: {%s}, ports: [{name: %s, port: 80}]}
`, name, namespace, labels, labels, e.port)
	}
	service(e.namespace, e.service, e.labels)
	if e.token != "" {
		fmt.Fprintf(&b, "---\napiVersion: v1\nkind: Secret\nmetadata: {name: %s, namespace: %s}\nstringData: {token: %s}\n", e.token, e.namespace, e.token)
	}
	for _, pod := range e.pods {
		host, port, err := net.SplitHostPort(e.play(t, recipe))
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
`, pod, e.namespace, e.labels, e.port, port, host, e.service)
	}
	for _, object := range e.also {
		kind, name, _ := strings.Cut(object, "/")
		if kind == "Service" {
			service("default", name, "app: "+name)
			continue
		}
		fmt.Fprintf(&b, "---\napiVersion: v1\nkind: Pod\nmetadata: {name: %s, namespace: default}\nstatus: {podIP: 127.0.0.2, phase: Running}\n", name)
	}
	return b.String()
}

// rising is a counter's value in a body: how much it rises in a second.
var rising = regexp.MustCompile(`(?m) ([0-9.]+)/s$`)

// play serves a recipe's body, and returns its address.
func (e exporters) play(t *testing.T, recipe string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", recipe+".txt"))
	require.NoError(t, err)
	start := time.Now()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RequestURI() != e.path {
			http.NotFound(w, r)
			return
		}
		if e.token != "" && r.Header.Get("Authorization") != "Bearer "+e.token {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		if strings.HasSuffix(string(data), "# EOF\n") {
			w.Header().Set("Content-Type", "application/openmetrics-text; version=1.0.0; charset=utf-8")
		}
		body := rising.ReplaceAllStringFunc(string(data), func(s string) string {
			rate, _ := strconv.ParseFloat(strings.TrimSuffix(s[1:], "/s"), 64) // the pattern takes nothing else
			return " " + strconv.FormatFloat(1000+rate*time.Since(start).Seconds(), 'f', -1, 64)
		})
		_, _ = w.Write([]byte(body)) // a scrape that fails is tried again
	}))
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}
