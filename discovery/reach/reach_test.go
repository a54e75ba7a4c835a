package reach_test

import (
	"strings"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/promlet/promlet/discovery"
	"github.com/promlet/promlet/discovery/internal/runtest"
	"github.com/promlet/promlet/discovery/internal/samples"
	"github.com/promlet/promlet/discovery/internal/storetest"
	"github.com/promlet/promlet/discovery/monitors"
	"github.com/promlet/promlet/discovery/objects"
	"github.com/promlet/promlet/discovery/reach"
)

// reachService asks for one Service after targets have been computed.
func reachService(t *testing.T, opts discovery.Options, name string, objects ...string) reach.Report {
	t.Helper()
	d := discovery.New(storetest.Load(t, objects...), opts)
	runtest.Resolve(t, d)
	return d.ReachService("default", name)
}

func reachPod(t *testing.T, opts discovery.Options, name string, objects ...string) reach.Report {
	t.Helper()
	d := discovery.New(storetest.Load(t, objects...), opts)
	runtest.Resolve(t, d)
	return d.ReachPod("default", name)
}

// only returns the one job of the one monitor.
func only(t *testing.T, r reach.Report) reach.Job {
	t.Helper()
	require.Len(t, r.Monitors, 1)
	require.Len(t, r.Monitors[0].Jobs, 1)
	require.Nil(t, r.Nearest)
	return r.Monitors[0].Jobs[0]
}

func TestReachServiceMissing(t *testing.T) {
	const service = `
apiVersion: v1
kind: Service
metadata: {name: web, labels: {app: web}}
spec: `
	const noEndpoints = `
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, labels: {kubernetes.io/service-name: web}}
ports: [{name: http, port: 8080}]
endpoints: []`
	slice := func(rest string) string { return strings.Replace(noEndpoints, "endpoints: []", rest, 1) }
	webPod := func(status string) string {
		return `
apiVersion: v1
kind: Pod
metadata: {name: web-a, labels: {app: web}}
spec: {containers: [{name: c, ports: [{name: http, containerPort: 8080}, {containerPort: 9090}]}]}
status: ` + status
	}
	const onPod = `endpoints: [{addresses: [10.0.0.1], targetRef: {kind: Pod, name: web-a}}]`
	const http = `{selector: {matchLabels: {app: web}}, endpoints: [{port: http}]}`
	const any = `{selector: {matchLabels: {app: web}}, endpoints: [{}]}`
	running := webPod(`{podIP: 10.0.0.1, phase: Running}`)
	f := func(want, spec string, objects ...string) {
		t.Helper()
		j := only(t, reachService(t, discovery.Options{}, "web", append(objects, samples.ServiceMonitor(spec))...))
		require.Equal(t, reach.Job{Name: "serviceMonitor/default/m/0", Field: "spec.endpoints[0]", Missing: want}, j)
	}
	target := func(port string) string {
		return `{selector: {matchLabels: {app: web}}, endpoints: [{targetPort: ` + port + `}]}`
	}

	// The port.
	const web1 = service + `{selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}, {name: grpc, port: 81}]}`
	f(`the Service has no port named "metrics" (it has "grpc", "http")`, strings.Replace(http, "http", "metrics", 1), web1, slice(onPod), running)
	f(`the Service has no port named "m.*" (it has 80)`, strings.Replace(http, "http", "m.*", 1), service+`{ports: [{port: 80}]}`, slice(onPod), running)
	f(`the Service has no port named "80": 80 is a number; give the port of the Service a name, or use targetPort with the number of the container's port`, strings.Replace(http, "http", `"80"`, 1), service+`{ports: [{port: 80}]}`, slice(onPod), running)
	f(`the Service has no port named "metrics" (it has "http")`, strings.Replace(http, "http", "metrics", 1), service+`{}`, slice(onPod))
	f(`the Service has no ports`, http, service+`{}`, strings.Replace(slice(onPod), "{name: http, port: 8080}", "", 1), running)
	f(`the Service has no ports`, any, service+`{}`, strings.Replace(slice(onPod), "{name: http, port: 8080}", "", 1), running)
	f(`no endpoint of the Service has its port "grpc"`, strings.Replace(http, "http", "grpc", 1), web1, slice(onPod), running)
	f(`no endpoint of the Service has its port "http"`, http, service+`{}`, slice(`endpoints: []`),
		strings.NewReplacer("web-1", "web-2", "http", "grpc").Replace(slice(onPod)), running)
	f(`no endpoint of the Service has a container port named "prom", the targetPort of its port "metrics" (its pods have "http", 9090)`,
		strings.Replace(http, "http", "metrics", 1), service+`{ports: [{name: metrics, port: 81, targetPort: prom}]}`, slice(onPod), running)
	f(`no endpoint of the Service has a container port named "prom", the targetPort of its port 81 (its pods have "http", 9090)`,
		target("prom"), service+`{ports: [{port: 81, targetPort: prom}]}`, strings.Replace(slice(onPod), "{name: http, port: 8080}", "", 1), running)
	f(`no endpoint of the Service has its port "metrics"`,
		strings.Replace(http, "http", "metrics", 1), service+`{ports: [{name: metrics, port: 81, targetPort: http}]}`, slice(onPod), running)
	f(`no endpoint of the Service has a container port named "metrics" (its pods have "http", 9090)`, target("metrics"), web1, slice(onPod), running)
	f(`no endpoint of the Service has a container port 8081 (its pods have 8080, 9090)`, target("8081"), web1, slice(onPod), running)
	f(`no endpoint of the Service has a container port 8081 (no pod is known behind them)`, target("8081"), web1, slice(`endpoints: [{addresses: [10.0.0.1]}]`))
	f(`no endpoint of the Service has a container port 8081 (its pods have none)`, target("8081"), web1, slice(onPod),
		strings.Replace(running, ", ports: [{name: http, containerPort: 8080}, {containerPort: 9090}]", "", 1))
	f(`the pods of the Service have a container port 9090, but none of its endpoints leads there`, target("9090"), web1, slice(onPod), webPod(`{}`))

	// The endpoints.
	f(`no pod matches the Service's selector app=web,tier=b`, http, service+`{selector: {tier: b, app: web}}`, noEndpoints, running)
	f(`no pod matches the Service's selector app=web`, http, service+`{selector: {app: web}}`, strings.Replace(running, "name: web-a", "name: web-a, namespace: other", 1)+`
---
apiVersion: v1
kind: Pod
metadata: {name: web-a, labels: {app: wev}}`)
	f(`the Service has no endpoints: no pod that its selector matches has an IP address yet`, http, service+`{selector: {app: web}}`, webPod(`{phase: Pending}`))
	f(`the Service has no EndpointSlice yet`, http, service+`{selector: {app: web}}`, running)
	f(`the Service has no endpoints`, http, service+`{selector: {app: web}}`, noEndpoints, running)
	f(`the Service has no endpoints`, http, service+`{}`, noEndpoints)
	f(`the Service has no selector, and nobody has made an EndpointSlice for it`, http, service+`{}`)
	f(`the Service is of type ExternalName, which has no endpoints`, http, service+`{type: ExternalName, externalName: example.com}`)
	f(`no endpoint of the Service has an address`, http, web1, slice(`endpoints: [{addresses: []}]`))
	f(`all endpoints of the Service with the port are terminating`, `{serviceDiscoveryRole: Endpoints, selector: {}, endpoints: [{port: http}]}`, web1,
		slice(strings.Replace(onPod, "targetRef", "conditions: {terminating: true}, targetRef", 1)), running)
	f(`all endpoints of the Service are terminating`, `{serviceDiscoveryRole: Endpoints, selector: {}, endpoints: [{}]}`, web1,
		slice(strings.Replace(onPod, "targetRef", "conditions: {terminating: true}, targetRef", 1)), running)
	f(`the endpoints of the Service have IPv6 addresses only, and of its two families the first is scraped, IPv4`, http,
		service+`{ipFamilyPolicy: RequireDualStack, ipFamilies: [IPv4, IPv6]}`, "addressType: IPv6"+slice(onPod))
	f(`no EndpointSlice of the Service has the labels that the selector wants, and by RoleSelector theirs count`,
		`{selectorMechanism: RoleSelector, selector: {matchLabels: {app: web}}, endpoints: [{port: http}]}`, web1, slice(onPod), running)

	// The pods.
	f(`no pod of the Service with the port is running (Succeeded)`, http, web1, slice(onPod), webPod(`{podIP: 10.0.0.1, phase: Succeeded}`))
	f(`no pod of the Service is running (Failed)`, any, web1, slice(onPod), webPod(`{podIP: 10.0.0.1, phase: Failed}`))
	f(`the Service has no port named "metrics" (it has "grpc", "http")`, strings.Replace(http, "http", "metrics", 1), web1, slice(onPod),
		webPod(`{podIP: 10.0.0.1, phase: Succeeded}`))
}

func TestReachPodMissing(t *testing.T) {
	f := func(want, name, spec string) {
		t.Helper()
		j := only(t, reachPod(t, discovery.Options{}, name, samples.Apps, samples.PodMonitor(spec)))
		require.Equal(t, reach.Job{Name: "podMonitor/default/m/0", Field: "spec.podMetricsEndpoints[0]", Missing: want}, j)
	}
	f(`no container of the pod has a port named "web" (they have "http", "metrics")`, "a", `{selector: {}, podMetricsEndpoints: [{port: web}]}`)
	f(`no container of the pod has a port 80 (they have 9090)`, "b", `{selector: {}, podMetricsEndpoints: [{portNumber: 80}]}`)
	f(`the pod is not running (Succeeded)`, "ended", `{selector: {}, podMetricsEndpoints: [{port: metrics}]}`)
	f(`no container of the pod has a port named "web" (they have "metrics")`, "ended", `{selector: {}, podMetricsEndpoints: [{port: web}]}`)
	f(`the pod has no IP address yet`, "starting", `{selector: {}, podMetricsEndpoints: [{port: metrics}]}`)
	f(`the pod is on no node, and attachMetadata.node wants one`, "a", `{attachMetadata: {node: true}, selector: {}, podMetricsEndpoints: [{port: metrics}]}`)
	f(`the pod has no IP address yet`, "starting", `{attachMetadata: {node: true}, selector: {}, podMetricsEndpoints: [{port: metrics}]}`)

	const bare = `{apiVersion: v1, kind: Pod, metadata: {name: bare}, spec: {nodeName: gone}, status: {podIP: 10.0.0.9, phase: Pending}}`
	j := only(t, reachPod(t, discovery.Options{}, "bare", bare, samples.PodMonitor(`{selector: {}, podMetricsEndpoints: [{}]}`)))
	require.Equal(t, "the pod has no containers", j.Missing)
	const placed = `{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {nodeName: gone, containers: [{name: c}]}, status: {podIP: 10.0.0.9}}`
	j = only(t, reachPod(t, discovery.Options{}, "p", placed, samples.PodMonitor(`{attachMetadata: {node: true}, selector: {}, podMetricsEndpoints: [{}]}`)))
	require.Equal(t, `the pod's node "gone" is not known, and attachMetadata.node wants it`, j.Missing)
	j = only(t, reachPod(t, discovery.Options{}, "p", strings.Replace(placed, "podIP: 10.0.0.9", "phase: Pending", 1), samples.PodMonitor(`{selector: {}, podMetricsEndpoints: [{}]}`)))
	require.Equal(t, `the pod has no IP address yet (Pending)`, j.Missing)
}

func TestReachAnnotated(t *testing.T) {
	const yes = `prometheus.io/scrape: "true"`
	opts := discovery.Options{Annotations: true}
	service := func(want reach.Job, objects ...string) {
		t.Helper()
		want.Name, want.Field = "annotations/services", "metadata.annotations"
		require.Equal(t, want, only(t, reachService(t, opts, "s", objects...)))
	}
	pod := func(want reach.Job, objects ...string) {
		t.Helper()
		want.Name, want.Field = "annotations/pods", "metadata.annotations"
		require.Equal(t, want, only(t, reachPod(t, opts, "s-a", objects...)))
	}
	annotated, tcp := samples.AnnotatedService("s", yes), samples.AnnotatedPod("s-a", yes, "")
	service(reach.Job{Targets: 4}, annotated)
	service(reach.Job{Missing: "the Service has no selector, and nobody has made an EndpointSlice for it"},
		`{apiVersion: v1, kind: Service, metadata: {name: s, annotations: {prometheus.io/scrape: "true"}}}`)
	noTCP := strings.NewReplacer("port: 8080}", "port: 8080, protocol: UDP}", "port: 9090}", "port: 9090, protocol: UDP}").Replace(annotated)
	service(reach.Job{Missing: "the Service has no TCP port, and the annotation prometheus.io/port names none"}, noTCP)
	service(reach.Job{Missing: "no endpoint of the Service has an address"}, strings.NewReplacer("[10.0.0.1]", "[]", "[10.0.0.9]", "[]").Replace(annotated))
	ended := strings.Replace(tcp, "podIP: 10.0.0.1", "podIP: 10.0.0.1, phase: Failed", 1)
	service(reach.Job{Missing: "no pod of the Service is running (Failed)"}, strings.Replace(annotated, "- {addresses: [10.0.0.9]}\n", "", 1), ended)
	service(reach.Job{Missing: "the endpoints of the Service have IPv4 addresses only, and of its two families the first is scraped, IPv6"},
		strings.Replace(annotated, `"true"}}`, `"true"}}`+"\nspec: {ipFamilyPolicy: RequireDualStack, ipFamilies: [IPv6, IPv4]}", 1))

	pod(reach.Job{Targets: 3}, tcp)
	pod(reach.Job{Missing: "the pod is scraped through the annotated Service s already"}, annotated, tcp)
	pod(reach.Job{Missing: "the pod is not running (Failed)"}, ended)
	pod(reach.Job{Missing: "the pod has no IP address yet"}, strings.Replace(tcp, "status: {podIP: 10.0.0.1}", "", 1))
	pod(reach.Job{Missing: "no container of the pod declares a TCP port, and the annotation prometheus.io/port names none"},
		`{apiVersion: v1, kind: Pod, metadata: {name: s-a, annotations: {prometheus.io/scrape: "true"}}, spec: {containers: [{name: c}]}, status: {podIP: 10.0.0.1}}`)

	bad := samples.AnnotatedService("s", yes+`, prometheus.io/port: http`)
	r := reachService(t, opts, "s", bad)
	require.Len(t, r.Monitors, 1)
	require.EqualError(t, r.Monitors[0].Err, `metadata.annotations[prometheus.io/port]: "http" is not a port number`)
	require.Empty(t, r.Monitors[0].Jobs)
	require.Equal(t, reach.Report{}, reachService(t, discovery.Options{}, "s", annotated), "annotations do not count")

	// Monitors come beside the annotations.
	all := `{namespaceSelector: {any: true}, selector: {}, endpoints: [{port: http}]}`
	r = reachService(t, opts, "s", annotated, samples.Named("ServiceMonitor", "default", "m", all))
	require.Len(t, r.Monitors, 2)
	require.Equal(t, []string{"Service", "ServiceMonitor"}, []string{r.Monitors[0].Kind, r.Monitors[1].Kind})
	require.Equal(t, []monitors.Origin{monitors.OriginAnnotation, monitors.OriginCluster}, []monitors.Origin{r.Monitors[0].Origin, r.Monitors[1].Origin})
}

func TestReachListsAllThatSelect(t *testing.T) {
	const two = `{namespaceSelector: {any: true}, selector: {matchLabels: {app: web}}, endpoints: [{port: metrics}, {port: nope}]}`
	inline := storetest.Monitor(t, samples.Named("ServiceMonitor", "default", "b", two))
	const unfit = `{selector: {matchLabels: {app: unfit}}, endpoints: [{}]}`
	inlineUnfit := storetest.Monitor(t, samples.Named("ServiceMonitor", "default", "unfit", unfit))
	r := reachService(t, discovery.Options{ServiceMonitors: []*monitoringv1.ServiceMonitor{inline, inlineUnfit}}, "web", samples.Web,
		samples.Named("ServiceMonitor", "default", "b", two), samples.Named("ServiceMonitor", "default", "a", two), samples.Named("ServiceMonitor", "afar", "z", two),
		samples.Named("ServiceMonitor", "default", "bad", `{selector: {}, endpoints: [{interval: often}]}`),
		samples.Named("ServiceMonitor", "default", "none", `{selector: {}, endpoints: []}`),
		samples.Named("ServiceMonitor", "default", "unfit", unfit),
		samples.Named("ServiceMonitor", "afar", "looks-elsewhere", `{selector: {}, endpoints: [{}]}`),
		samples.Named("PodMonitor", "default", "p", `{selector: {}, podMetricsEndpoints: [{}]}`))
	require.Nil(t, r.Nearest)
	require.Equal(t, 8, r.Counted, "all but what looks elsewhere")
	jobs := func(name string) []reach.Job {
		return []reach.Job{
			{Name: "serviceMonitor/" + name + "/0", Field: "spec.endpoints[0]", Targets: 2},
			{Name: "serviceMonitor/" + name + "/1", Field: "spec.endpoints[1]", Missing: `the Service has no port named "nope" (it has "http", "metrics")`},
		}
	}
	require.Len(t, r.Monitors, 6)
	for i := range r.Monitors {
		if err := r.Monitors[i].Err; err != nil {
			require.Contains(t, []string{`spec.endpoints[0].interval: not a valid duration string: "often"`,
				`metadata.name: another ServiceMonitor has this namespace and name`}, err.Error())
			r.Monitors[i].Err = nil
			require.Empty(t, r.Monitors[i].Jobs)
		}
	}
	require.Equal(t, []reach.Monitor{
		{Kind: "ServiceMonitor", Namespace: "afar", Name: "z", Origin: monitors.OriginCluster, Jobs: jobs("afar/z")},
		{Kind: "ServiceMonitor", Namespace: "default", Name: "a", Origin: monitors.OriginCluster, Jobs: jobs("default/a")},
		{Kind: "ServiceMonitor", Namespace: "default", Name: "b", Origin: monitors.OriginCluster, Jobs: jobs("default/b")},
		{Kind: "ServiceMonitor", Namespace: "default", Name: "b", Origin: monitors.OriginInline},
		{Kind: "ServiceMonitor", Namespace: "default", Name: "bad", Origin: monitors.OriginCluster},
		{Kind: "ServiceMonitor", Namespace: "default", Name: "none", Origin: monitors.OriginCluster},
	}, r.Monitors)

	r = reachPod(t, discovery.Options{}, "a", samples.Apps, samples.Named("PodMonitor", "default", "p", `{selector: {matchLabels: {app: x}}, podMetricsEndpoints: [{port: http}, {port: metrics}]}`))
	require.Equal(t, []reach.Job{
		{Name: "podMonitor/default/p/0", Field: "spec.podMetricsEndpoints[0]", Targets: 1},
		{Name: "podMonitor/default/p/1", Field: "spec.podMetricsEndpoints[1]", Targets: 2},
	}, r.Monitors[0].Jobs)
}

// TestReachOfWhatIsNotKnown: nothing is said of objects that there are not, and nothing
// at all before targets have been computed.
func TestReachOfWhatIsNotKnown(t *testing.T) {
	d := discovery.New(storetest.Load(t, samples.Web, samples.WebMonitor()), discovery.Options{Annotations: true})
	require.Equal(t, reach.Report{}, d.ReachService("default", "web"))
	require.Equal(t, reach.Report{}, d.ReachPod("default", "web-a"))
	runtest.Resolve(t, d)
	require.Len(t, d.ReachService("default", "web").Monitors, 1)
	require.Equal(t, reach.Report{Counted: 1}, d.ReachService("default", "nope"))
	require.Equal(t, reach.Report{}, d.ReachService("other", "web"))
	require.Equal(t, reach.Report{}, d.ReachPod("default", "nope"))
}

// TestReachWhileASecretIsAwaited: until it has been read, the monitor goes on as it was,
// and that is what is told.
func TestReachWhileASecretIsAwaited(t *testing.T) {
	o := storetest.Load(t, samples.Web, samples.WebMonitor())
	d := discovery.New(o, discovery.Options{})
	runtest.Resolve(t, d)
	o.References().Follow()
	m := objects.Get[monitoringv1.ServiceMonitor](o, "default/m").DeepCopy()
	m.Spec.Selector.MatchLabels["app"] = "other"
	m.Spec.Endpoints[0].BasicAuth = &monitoringv1.BasicAuth{
		Username: corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "s"}, Key: "user"},
	}
	require.NoError(t, storetest.ServiceMonitors(o).Update(m))
	_, groups := runtest.Resolve(t, d)
	require.Equal(t, runtest.WantLines(samples.WebTargets), runtest.Lines(groups))
	require.Equal(t, 2, only(t, d.ReachService("default", "web")).Targets)
}

// TestReachTellsNothingOfOtherNamespaces: an EndpointSlice may name a pod of another
// namespace, and a monitor of all namespaces counts it.
func TestReachTellsNothingOfOtherNamespaces(t *testing.T) {
	const slice = `
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: s-1, labels: {kubernetes.io/service-name: s}}
ports: [{name: http, port: 8080}]
endpoints: [{addresses: [10.0.0.1], targetRef: {kind: Pod, name: secret, namespace: other}}]
---
{apiVersion: v1, kind: Service, metadata: {name: s}}
---
{apiVersion: v1, kind: Pod, metadata: {name: secret, namespace: other}, spec: {containers: [{name: c, ports: [{name: hidden, containerPort: 1}]}]}, status: {phase: Failed}}`
	const any = `namespaceSelector: {any: true}, selector: {}`
	j := only(t, reachService(t, discovery.Options{}, "s", slice, samples.ServiceMonitor(`{`+any+`, endpoints: [{targetPort: metrics}]}`)))
	require.Equal(t, `no endpoint of the Service has a container port named "metrics" (no pod is known behind them)`, j.Missing)
	j = only(t, reachService(t, discovery.Options{}, "s", slice, samples.ServiceMonitor(`{`+any+`, endpoints: [{port: http}]}`)))
	require.Equal(t, `no pod of the Service with the port is running`, j.Missing)
}

// TestReachWhileThingsChange is for the race detector.
func TestReachWhileThingsChange(t *testing.T) {
	o := storetest.Load(t, samples.Web, samples.Apps, samples.WebMonitor(), samples.PodMonitor(`{selector: {}, podMetricsEndpoints: [{port: metrics}]}`),
		samples.AnnotatedService("s", `prometheus.io/scrape: "true"`), samples.AnnotatedPod("s-a", `prometheus.io/scrape: "true"`, ""))
	d := discovery.New(o, discovery.Options{Annotations: true})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 200 {
			p := objects.Get[corev1.Pod](o, "default/s-a").DeepCopy()
			p.Labels = map[string]string{"i": string(rune('a' + i%26))}
			_ = storetest.Pods(o).Update(p)
			d.SetInline(nil, []*monitoringv1.PodMonitor{{ObjectMeta: metav1.ObjectMeta{Name: "inline"}}, nil}[:1+i%2])
			_, _, _ = d.Resolve()
		}
	}()
	for range 200 {
		_ = d.ReachService("default", "web")
		_ = d.ReachService("default", "s")
		_ = d.ReachPod("default", "s-a")
		_ = d.ReachPod("default", "a")
	}
	<-done
	require.Equal(t, 2, only(t, d.ReachService("default", "web")).Targets)
}
