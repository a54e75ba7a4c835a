package adapter

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"github.com/promlet/promlet/adapter/objects"
	"github.com/promlet/promlet/adapter/rules"
)

// asked is a request, the answer and the queries that were evaluated for it. An
// error is wanted as "code … a part of the message".
type asked struct {
	path, want string
	queries    []string
}

func ask(path, want string, queries ...string) asked { return asked{path, want, queries} }

// ruleFile reads a configuration in testdata/rules.
func ruleFile(name string) (rules.Config, error) {
	data, err := os.ReadFile(filepath.Join("testdata", "rules", name+".yaml"))
	if err != nil {
		return rules.Config{}, err
	}
	return parseRules(data)
}

// parseRules reads a configuration as the program does.
func parseRules(data []byte) (rules.Config, error) {
	var cfg rules.Config
	asJSON, err := yaml.YAMLToJSONStrict(data)
	if err != nil {
		return cfg, err
	}
	unknown, err := json.UnmarshalStrict(asJSON, &cfg)
	return cfg, errors.Join(append(unknown, err)...)
}

// mapperWithCRDs knows the kinds that are no part of Kubernetes in the files.
func mapperWithCRDs(t testing.TB) meta.RESTMapper {
	t.Helper()
	mapper, ok := objects.BuiltinMapper().(*meta.DefaultRESTMapper)
	require.True(t, ok)
	mapper.Add(schema.GroupVersionKind{Group: "cheese.io", Version: "v1", Kind: "Brand"}, meta.RESTScopeRoot)
	return mapper
}

// try answers the requests by the rules of a file, in a namespace with
// the pods web-1 and web-2 of the Deployment and the Service web, and a Service
// cf-cfapi without pods. There is a node-1.
func (r ruleFiles) try(file string, series []string, requests ...asked) {
	r.t.Helper()
	r.run(file, func(f *fixture, log *queryLog) {
		f.namespaces("default")
		f.pod("web-1", "web")
		f.pod("web-2", "web")
		f.service("web", "web-1", "web-2")
		f.service("cf-cfapi")
		f.add(schema.GroupResource{Resource: "nodes"}, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-1"}})
		f.start = f.start.Add(-10 * time.Minute) // room for a window of 15m
		f.now = f.start
		f.load(series...)
		for _, request := range requests {
			log.queries = nil
			r.check(f, request, f.ask(request.path), log.queries)
		}
	})
}

// tryExternal answers the requests by the external rules of a file.
func (r ruleFiles) tryExternal(file string, series []string, requests ...asked) {
	r.t.Helper()
	r.run(file, func(f *fixture, log *queryLog) {
		f.load(series...)
		for _, request := range requests {
			log.queries = nil
			r.check(f, request, f.askExternal(request.path), log.queries)
		}
	})
}

// Every file says where it is from, and is taken.
func TestRuleFilesLoad(t *testing.T) {
	files, err := filepath.Glob("testdata/rules/*.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		require.True(t, strings.HasPrefix(string(data), "# Source: "), file)
		cfg, err := ruleFile(strings.TrimSuffix(filepath.Base(file), ".yaml"))
		require.NoError(t, err, file)
		newFixtureWith(t, Options{Rules: rules.Set{Custom: cfg.Rules, External: cfg.ExternalRules}, Mapper: mapperWithCRDs(t)})
	}
}

// The Helm chart's rules rate over 5 minutes, those for containers leave POD out,
// and the others take every label that is the name of a resource: also job.
func (r ruleFiles) ofTheChart() {
	r.try("chart-defaults", []string{
		`container_cpu_usage_seconds_total{namespace="default",pod="web-1",container="app"} 0+3x30`,
		`container_cpu_usage_seconds_total{namespace="default",pod="web-1",container="POD"} 0+6x30`,
		`container_cpu_usage_seconds_total{namespace="default",pod="web-2",container="app"} 0+6x30`,
		`container_network_receive_bytes_total{namespace="default",pod="web-1",interface="eth0"} 0+1500x30`,
		`container_memory_working_set_bytes{namespace="default",pod="web-1",container="app"} 1048576x30`,
		`http_requests_total{namespace="default",pod="web-1",service="web",job="web",code="200"} 0+150x30`,
		`http_requests_total{namespace="default",pod="web-2",service="web",job="web",code="500"} 0+300x30`,
		`gc_seconds_total{namespace="default",pod="web-1"} 0+1.5x30`,
		`queue_depth{namespace="default",pod="web-1",queue="mail"} 3x30`,
		`queue_depth{namespace="default",pod="web-1",queue="print"} 4x30`,
		`kube_node_info{namespace="monitoring",node="node-1"} 1x30`,
		`kube_deployment_status_replicas{namespace="default",deployment="web"} 2x30`,
	},
		ask("default/pods/*/cpu_usage", "web-1=200m@300s web-2=400m@300s",
			`sum(rate(container_cpu_usage_seconds_total{namespace="default",pod=~"web-1|web-2",container!="POD"}[5m])) by (pod)`),
		ask("default/pods/web-1/network_receive_bytes", "web-1=100@300s",
			`sum(rate(container_network_receive_bytes_total{namespace="default",pod="web-1",container!="POD"}[5m])) by (pod)`),
		ask("/namespaces/default/memory_working_set_bytes", "default=1048576@instant",
			`sum(container_memory_working_set_bytes{namespace="default",container!="POD"}) by (namespace)`),
		ask("default/services/web/http_requests", "web=30@300s",
			`sum(rate(http_requests_total{namespace="default",service="web"}[5m])) by (service)`),
		ask("default/jobs.batch/web/http_requests", "web=30@300s",
			`sum(rate(http_requests_total{namespace="default",job="web"}[5m])) by (job)`),
		ask("default/services/web/http_requests??code=200", "web=10@300s",
			`sum(rate(http_requests_total{code="200",namespace="default",service="web"}[5m])) by (service)`),
		ask("default/pods/*/http_requests??code in (200,204),!canary", "web-1=10@300s",
			`sum(rate(http_requests_total{canary="",code=~"200|204",namespace="default",pod=~"web-1|web-2"}[5m])) by (pod)`),
		ask("default/pods/*/http_requests??code notin (200),job", "web-2=20@300s",
			`sum(rate(http_requests_total{code!~"200",job!="",namespace="default",pod=~"web-1|web-2"}[5m])) by (pod)`),
		ask("default/pods/web-1/gc", "web-1=100m@300s",
			`sum(rate(gc_seconds_total{namespace="default",pod="web-1"}[5m])) by (pod)`),
		ask("default/pods/web-1/queue_depth??queue!=mail", "web-1=4@instant",
			`sum(queue_depth{queue!="mail",namespace="default",pod="web-1"}) by (pod)`),
		ask("/nodes/node-1/kube_node_info", "node-1=1@instant",
			`sum(kube_node_info{node="node-1"}) by (node)`),
		ask("default/deployments.apps/web/kube_deployment_status_replicas", "web=2@instant",
			`sum(kube_deployment_status_replicas{namespace="default",deployment="web"}) by (deployment)`),
		ask("default/pods/web-1/http_requests_total", "404 … no series has been collected that a rule serves under that name"),
	)
	r.try("chart-custom", []string{
		`some_metric_count{namespace="default",pod="web-1",service="web"} 5x30`,
		`some_metric_count{namespace="default",pod="web-2",service="web"} 6x30`,
	},
		ask("default/services/web/my_custom_metric", "web=11@instant",
			`sum(some_metric_count{namespace="default",service="web"}) by (service)`),
	)
}

func (r ruleFiles) ofTheDocumentation() {
	requests := []string{
		`http_requests_total{namespace="default",pod="web-1",service="web",job="web"} 0+150x30`,
		`http_requests_total{namespace="default",pod="web-2",service="web",job="web"} 0+300x30`,
	}
	r.try("docs-walkthrough", requests,
		ask("default/pods/*/http_requests", "web-1=10@60s web-2=20@60s",
			"sum by (pod) (\n  irate (\n    http_requests_total{namespace=\"default\",pod=~\"web-1|web-2\"}[1m]\n  )\n)\n"),
		ask("/namespaces/default/http_requests??pod=web-1", "default=10@60s",
			"sum by (namespace) (\n  irate (\n    http_requests_total{pod=\"web-1\",namespace=\"default\"}[1m]\n  )\n)\n"),
	)
	r.try("docs-config-walkthrough", []string{
		`http_requests_total{method="GET",kubernetes_namespace="default",kubernetes_pod_name="web-1"} 0+0.24x30`,
		`http_requests_total{method="GET",kubernetes_namespace="default",kubernetes_pod_name="web-2"} 0+0.33x30`,
		`http_requests_total{method="GET",namespace="default",pod="web-2"} 0+150x30`, // not by the labels that it asks for
	},
		ask("default/pods/*/http_requests_per_second", "web-1=16m@120s web-2=22m@120s",
			`sum(rate(http_requests_total{kubernetes_namespace="default",kubernetes_pod_name=~"web-1|web-2"}[2m])) by (kubernetes_pod_name)`),
		ask("/namespaces/default/http_requests_per_second", "default=38m@120s",
			`sum(rate(http_requests_total{kubernetes_namespace="default"}[2m])) by (kubernetes_namespace)`),
	)
	r.try("docs-sample-config", append(requests,
		`container_cpu_usage_seconds_total{namespace="default",pod="web-1",container="app"} 0+3x30`,
		`container_fs_writes_total{namespace="default",pod="web-1",container="app"} 0+15x30`,
		`cheddar{sharp="true",brand="roquefort"} 1x30`,
		`cheddar{sharp="false",brand="gouda"} 1x30`,
	),
		ask("default/pods/web-1/cpu_usage", "web-1=200m@120s",
			`sum(rate(container_cpu_usage_seconds_total{namespace="default",pod="web-1",container!="POD"}[2m])) by (pod)`),
		ask("default/pods/web-1/fs_writes", "web-1=1@120s",
			`sum(rate(container_fs_writes_total{namespace="default",pod="web-1",container!="POD"}[2m])) by (pod)`),
		ask("default/pods/web-1/container_fs_writes", "web-1=1@120s",
			`sum(rate(container_fs_writes_total{namespace="default",pod="web-1",container!="POD"}[2m])) by (pod)`),
		ask("default/services/web/http_requests", "web=30@120s",
			`sum(rate(http_requests_total{namespace="default",service="web",container!="POD"}[2m])) by (service)`),
		// The count carries no label that names a brand: there, too, it is of none.
		ask("/brands.cheese.io/roquefort/cheesy_goodness", "404 … could not find the metric cheesy_goodness for brands.cheese.io roquefort",
			`count(cheddar{sharp="true"})`),
	)
	r.try("docs-config-template", []string{
		`container_fs_writes_total{namespace="prod",team="default",pod="web-1",container="app",microservice="web",kube_apps_statefulset="db"} 0+15x30`,
		`container_fs_writes_total{namespace="prod",team="default",pod="web-2",container="app",microservice="web",kube_apps_statefulset="db"} 0+30x30`,
		`container_cpu_usage_seconds_total{namespace="prod",team="default",pod="web-1",container="app",microservice="web"} 0+3x30`,
	},
		ask("default/deployments.apps/web/container_fs_writes_per_second", "web=3@120s",
			`sum(rate(container_fs_writes_total{team="default",microservice="web",container!="POD"}[2m])) by (microservice)`),
		ask("default/statefulsets.apps/db/container_fs_writes_per_second", "db=3@120s",
			`sum(rate(container_fs_writes_total{team="default",kube_apps_statefulset="db",container!="POD"}[2m])) by (kube_apps_statefulset)`),
		ask("/namespaces/default/container_fs_writes_per_second", "default=3@120s",
			`sum(rate(container_fs_writes_total{team="default",container!="POD"}[2m])) by (team)`),
		ask("default/deployments.apps/web/container_cpu_usage_seconds_per_second", "404 … no series has been collected that a rule serves under that name"),
	)
	r.try("docs-faq-two-metrics", []string{
		`foo_total{system_name="node-1",code="a"} 3x30`,
		`foo_total{system_name="node-1",code="b"} 4x30`,
		`foo_count{system_name="node-1"} 2x30`,
	},
		ask("/nodes/node-1/foo", "node-1=3500m@instant",
			`sum(foo_total{system_name="node-1"}) by (system_name) / sum(foo_count{system_name="node-1"}) by (system_name)`),
		ask("/nodes/*/foo??code=a", "",
			`sum(foo_total{code="a",system_name="node-1"}) by (system_name) / sum(foo_count{code="a",system_name="node-1"}) by (system_name)`),
	)
}
