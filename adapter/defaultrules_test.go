package adapter

import (
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"

	"github.com/promlet/promlet/adapter/values"
)

// counted requires the same answer for the Services, the pod, its Deployment and its
// namespace.
func (f *fixture) counted(t *testing.T, want string) {
	t.Helper()
	require.Equal(t, "sample-1="+want+"@120s", f.ask("default/pods/*/http_requests"))
	require.Equal(t, "one="+want+"@120s", f.ask("default/services/one/http_requests"))
	require.Equal(t, "two="+want+"@120s", f.ask("default/services/two/http_requests"))
	require.Equal(t, "sample="+want+"@120s", f.ask("default/deployments.apps/sample/http_requests"))
	require.Equal(t, "default="+want+"@120s", f.ask("/namespaces/default/http_requests"))
}

// However a pod is found, it counts once.
func TestPodsCountOnce(t *testing.T) {
	const pod = `http_requests_total{namespace="default",pod="sample-1",`
	f := func(name, want string, series ...string) {
		t.Run(name, func(t *testing.T) {
			fix := newFixture(t)
			fix.namespaces("default")
			fix.pod("sample-1", "sample")
			fix.service("one", "sample-1")
			fix.service("two", "sample-1")
			for i := range series {
				series[i] = pod + series[i]
			}
			fix.load(series...)
			fix.counted(t, want)
		})
	}
	const one, two = `service="one",job="one",endpoint="web",instance="10.0.0.1:80"`, `service="two",job="two",endpoint="web",instance="10.0.0.1:80"`
	f("two Services", "10",
		one+`,container="app"} 0+150x16`, two+`,container="app"} 0+150x16`)
	f("two monitors of a Service, one with a job label of its own", "10",
		one+`,container="app"} 0+150x16`, `service="one",job="other",endpoint="web",instance="10.0.0.1:80",container="app"} 0+150x16`)
	f("a ServiceMonitor and a PodMonitor", "10",
		one+`,container="app"} 0+150x16`, `job="default/pods",endpoint="web",instance="10.0.0.1:80",container="app"} 0+150x16`)
	f("two ports of a container are two sources", "20",
		one+`,container="app"} 0+150x16`, `service="one",job="one",endpoint="admin",instance="10.0.0.1:81",container="app"} 0+150x16`)
	f("two ports, one of them not declared", "20",
		one+`,container="app"} 0+150x16`, `service="one",job="one",endpoint="admin",instance="10.0.0.1:81"} 0+150x16`)
	f("two ports, none of them declared", "20",
		one+`} 0+150x16`, `service="one",job="one",endpoint="admin",instance="10.0.0.1:81"} 0+150x16`)
	f("a sidecar on another port is another container", "11",
		one+`,container="app"} 0+150x16`, `service="one",job="one",endpoint="sidecar",instance="10.0.0.1:90",container="sidecar"} 0+15x16`)
	f("a sidecar that two monitors reach, and the application by two Services", "11",
		one+`,container="app"} 0+150x16`, two+`,container="app"} 0+150x16`,
		`service="one",job="one",endpoint="sidecar",instance="10.0.0.1:90",container="sidecar"} 0+15x16`,
		`service="two",job="two",endpoint="sidecar",instance="10.0.0.1:90",container="sidecar"} 0+15x16`,
		`job="default/pods",endpoint="sidecar",instance="10.0.0.1:90",container="sidecar"} 0+15x16`)
	f("the application's own labels tell series apart", "12",
		one+`,container="app",code="200"} 0+150x16`, one+`,container="app",code="500"} 0+30x16`,
		two+`,container="app",code="200"} 0+150x16`, two+`,container="app",code="500"} 0+30x16`)
}

// Labels that a monitor gives to its targets, of Services or nodes, tell no pods
// apart; the same labels of an application do.
func TestPodsCountOnceWithTargetLabels(t *testing.T) {
	f := newFixture(t)
	f.namespaces("default")
	f.pod("sample-1", "sample")
	f.service("one", "sample-1")
	f.service("two", "sample-1")
	plain := labels.FromStrings("namespace", "default", "pod", "sample-1", "container", "app", "service", "one", "job", "one", "endpoint", "web", "instance", "10.0.0.1:80")
	more := labels.NewBuilder(plain).Set("job", "two").Set("service", "two").Set("team", "blue").Set("node", "a").Labels()
	f.targets = []values.Target{{Job: "a", Labels: plain, Interval: step}, {Job: "b", Labels: more, Interval: step}}
	f.load(
		`http_requests_total`+plain.String()+` 0+150x16`,
		`http_requests_total`+more.String()+` 0+150x16`,
	)
	f.counted(t, "10")
}

// What is no pod's is told apart by its instance.
func TestInstancesOutsideOfPods(t *testing.T) {
	f := newFixture(t)
	f.namespaces("default")
	f.service("external")
	f.load(
		`http_requests_total{namespace="default",service="external",job="external",endpoint="web",instance="192.0.2.1:80"} 0+150x16`,
		`http_requests_total{namespace="default",service="external",job="external",endpoint="web",instance="192.0.2.2:80"} 0+150x16`,
		`http_requests_total{namespace="default",service="external",job="again",endpoint="web",instance="192.0.2.2:80"} 0+150x16`,
	)
	require.Equal(t, "external=20@120s", f.ask("default/services/external/http_requests"))
	require.Equal(t, "default=20@120s", f.ask("/namespaces/default/http_requests"))
}

// cAdvisor has series of containers, of the pause container and of the pod as a whole.
func TestContainersOfCadvisor(t *testing.T) {
	f := newFixture(t)
	f.namespaces("default")
	f.pod("sample-1", "sample")
	const pod = `{namespace="default",pod="sample-1",job="kubelet",endpoint="cadvisor",service="kubelet",instance="192.0.2.1:10250",node="a",`
	f.load(
		`container_cpu_usage_seconds_total`+pod+`container="app",id="/p/1",name="x"} 0+15x16`,
		`container_cpu_usage_seconds_total`+pod+`container="sidecar",id="/p/2",name="y"} 0+30x16`,
		`container_cpu_usage_seconds_total`+pod+`container="POD",id="/p/3",name="z"} 0+1x16`,
		`container_cpu_usage_seconds_total`+pod+`id="/p"} 0+46x16`,
		`container_network_receive_bytes_total`+pod+`id="/p",interface="eth0"} 0+150x16`,
		`container_network_receive_bytes_total`+pod+`id="/p",interface="eth1"} 0+15x16`,
		`container_memory_working_set_bytes`+pod+`container="app",id="/p/1",name="x"} 100x16`,
		`container_memory_working_set_bytes`+pod+`id="/p"} 120x16`,
	)
	require.Equal(t, "sample-1=3@120s", f.ask("default/pods/*/cpu_usage"))
	require.Equal(t, "sample-1=11@120s", f.ask("default/pods/*/network_receive_bytes"))
	require.Equal(t, "sample-1=100@instant", f.ask("default/pods/*/memory_working_set_bytes"))
}

// An exporter that is asked about several things has an instance for each: these are
// not one container's.
func TestInstancesOfAnExporter(t *testing.T) {
	f := newFixture(t)
	f.namespaces("default")
	f.pod("sample-1", "sample")
	target := func(job, instance string) values.Target {
		of := labels.FromStrings("namespace", "default", "pod", "sample-1", "container", "exporter", "job", job, "instance", instance)
		return values.Target{Job: job, Address: "10.0.0.1:9121/scrape", Labels: of, Discovered: of, Interval: step}
	}
	f.targets = []values.Target{target("a", "redis-a"), target("a", "redis-b")}
	for _, target := range f.targets {
		f.load(`redis_keys` + target.Labels.String() + map[string]string{"redis-a": " 10x8", "redis-b": " 30x8"}[target.Labels.Get("instance")])
	}
	require.Equal(t, "sample-1=40@instant", f.ask("default/pods/*/redis_keys"))

	again := target("b", "redis-a")
	f.targets = append(f.targets, again)
	f.targetsVersion++
	f.load(`redis_keys` + again.Labels.String() + " 10x8")
	require.Equal(t, "sample-1=40@instant", f.ask("default/pods/*/redis_keys"), "one of them twice")
}

// Series about a pod from an exporter in another namespace count by the exporter's targets.
func TestSeriesOfOtherNamespacesTargets(t *testing.T) {
	f := newFixture(t)
	f.namespaces("default")
	f.pod("sample-1", "sample")
	exporter := func(instance string) values.Target {
		of := labels.FromStrings("namespace", "monitoring", "job", "kube-state-metrics", "instance", instance)
		return values.Target{Job: "ksm", Address: instance + "/metrics", Labels: of, Discovered: of, Interval: time.Minute}
	}
	app := labels.FromStrings("namespace", "default", "pod", "sample-1", "job", "app", "instance", "10.0.0.1:80")
	f.targets = []values.Target{exporter("10.1.0.1:80"), exporter("10.1.0.2:80"), {Job: "app", Address: "10.0.0.1:80/metrics", Labels: app, Discovered: app, Interval: step}}
	f.load(
		`kube_pod_weight{namespace="default",pod="sample-1",job="kube-state-metrics",instance="10.1.0.1:80"} 5 _ _ _ 5 _ _ _ 5`,
		`kube_pod_weight{namespace="default",pod="sample-1",job="kube-state-metrics",instance="10.1.0.2:80"} 5 _ _ _ 5 _ _ _ 5`,
		`kube_pod_restarts_total{namespace="default",pod="sample-1",job="kube-state-metrics",instance="10.1.0.1:80"} 0 _ _ _ 60 _ _ _ 120 _ _ _ 180 _ _ _ 240`,
	)
	f.now = f.now.Add(45 * time.Second)
	require.Equal(t, "sample-1=1@120s", f.ask("default/pods/*/kube_pod_restarts"))
	f.now = f.start.Add(8*step + 50*time.Second)
	require.Equal(t, "sample-1=10@instant", f.ask("default/pods/*/kube_pod_weight"))
}

// An application's own label of the name is not collapsed where no target has it.
func TestLabelsThatNoTargetHas(t *testing.T) {
	f := newFixture(t)
	f.namespaces("default")
	f.pod("sample-1", "sample")
	port := func(instance string) values.Target {
		of := labels.FromStrings("namespace", "default", "pod", "sample-1", "container", "app", "job", "default/pods", "instance", instance)
		return values.Target{Job: "pods", Address: instance + "/metrics", Labels: of, Discovered: of, Interval: step}
	}
	f.targets = []values.Target{port("10.0.0.1:80"), port("10.0.0.1:81")}
	for _, target := range f.targets {
		for _, endpoint := range []string{"/a", "/b"} {
			f.load(`queue_depth` + labels.NewBuilder(target.Labels).Set("endpoint", endpoint).Labels().String() + " 10x8")
		}
	}
	require.Equal(t, "sample-1=20@instant", f.ask("default/pods/*/queue_depth"))
}

// Of several Services each has the value that it has by its name.
func TestServicesAreListedAsTheyAreNamed(t *testing.T) {
	f := scenario(t)
	f.service("headless", "sample-2")
	f.service("empty")
	require.Equal(t, "headless=20@120s", f.ask("default/services/headless/http_requests"))
	require.Equal(t, "headless=20@120s sample=30@120s", f.ask("default/services/*/http_requests"))
}

// A Service whose monitor has gone, and whose pods are reached by another's, has what
// these have at once: not what is left of its own series.
func TestServiceWhoseMonitorHasGone(t *testing.T) {
	f := newFixture(t)
	f.namespaces("default")
	f.pod("sample-1", "sample")
	f.service("sample", "sample-1")
	of := labels.FromStrings("namespace", "default", "pod", "sample-1", "container", "app", "job", "default/pods", "endpoint", "web", "instance", "10.0.0.1:80")
	f.targets = []values.Target{{Job: "pods", Address: "10.0.0.1:80/metrics", Labels: of, Discovered: of, Interval: step}}
	f.load(
		`http_requests_total`+of.String()+` 0+150x16`,
		`http_requests_total`+labels.NewBuilder(of).Set("job", "sample").Set("service", "sample").Labels().String()+` 0+150x15 stale`,
	)
	require.Equal(t, "sample=10@120s", f.ask("default/services/sample/http_requests"))
	require.Equal(t, "sample-1=10@120s", f.ask("default/pods/*/http_requests"))
}
