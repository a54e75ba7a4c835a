package adapter

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apilabels "k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/cache"

	"github.com/promlet/promlet/adapter/catalog"
	"github.com/promlet/promlet/adapter/demand"
	"github.com/promlet/promlet/adapter/explain"
	"github.com/promlet/promlet/adapter/rules"
	"github.com/promlet/promlet/adapter/values"
)

// monitored is a fixture with a Service that a monitor selects. Each link of its chain can
// be broken.
type monitored struct {
	*fixture
	services    map[string]explain.Reach
	pods        map[string]explain.Reach
	exposed     map[string][]catalog.Exposed
	problems    []string
	otherShards []values.Target
	notStored   string
	outOfBounds map[string]time.Time

	dropped, seen int // samples
}

// newMonitored has the Service shop with one pod, a monitor that selects it, and a target
// that exposes http_requests_total. Nothing is stored yet.
func newMonitored(t *testing.T) *monitored {
	th := &monitored{
		services: map[string]explain.Reach{"shop": {Counted: 1, Monitors: []explain.Reaching{{
			Kind: "ServiceMonitor", Namespace: "default", Name: "shop", Jobs: []explain.ReachedJob{{Name: "job", Targets: 1}},
		}}}},
		pods: map[string]explain.Reach{},
		exposed: map[string][]catalog.Exposed{"job": {
			{Name: "http_requests_total", LabelNames: []string{"container", "instance", "job", "namespace", "pod", "service"}},
			{Name: "queue_depth", LabelNames: []string{"instance", "job", "namespace", "pod", "service"}},
		}},
	}
	th.fixture = newFixtureWith(t, Options{Explain: th.explaining()})
	th.objects[schema.GroupResource{Group: "autoscaling", Resource: "horizontalpodautoscalers"}] = cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc})
	th.namespaces("default", "other")
	th.pod("shop-1", "shop")
	th.service("shop", "shop-1")
	of := labels.FromStrings("namespace", "default", "pod", "shop-1", "service", "shop", "container", "app", "job", "shop", "instance", "10.0.0.1:80")
	th.targets = []values.Target{{Job: "job", Address: "10.0.0.1:80/metrics", Labels: of, Discovered: of, Interval: step, LastScrape: th.now}}
	return th
}

func (th *monitored) explaining() explain.Options {
	return explain.Options{
		Service:     func(_, name string) explain.Reach { return th.services[name] },
		Pod:         func(_, name string) explain.Reach { return th.pods[name] },
		ExposedBy:   func(job string) []catalog.Exposed { return th.exposed[job] },
		Dropped:     func(string) (int, int) { return th.dropped, th.seen },
		NotStored:   func(string) string { return th.notStored },
		Problems:    func() []string { return th.problems },
		OtherShards: func() []values.Target { return th.otherShards },
		OutOfBounds: func(_, series string) (time.Time, bool) { at, ok := th.outOfBounds[series]; return at, ok },
	}
}

// startCollection makes collection depend on demand, and asks for http_requests for the first time.
func (th *monitored) startCollection() {
	th.provide(Options{Explain: th.explaining(), Demand: demand.Options{FirstValue: 5 * time.Second}})
	th.Demand.Read(rules.Metric{API: rules.CustomAPI, Name: "http_requests"})
}

// reason is why the Service shop has no value, in the message of the 404.
func (th *monitored) reason(metric string) string {
	th.t.Helper()
	got := th.ask("default/services/shop/" + metric)
	_, reason, ok := strings.Cut(got, "404: the server could not find the metric "+metric+" for services shop: ")
	require.True(th.t, ok, got)
	return reason
}

// Each broken link, as the message of the 404 has it.
func TestExplanations(t *testing.T) {
	f := func(name, want string, breakIt func(th *monitored)) {
		t.Run(name, func(t *testing.T) {
			th := newMonitored(t)
			breakIt(th)
			require.Equal(t, want, th.reason("http_requests"))
		})
	}
	up := func(th *monitored) *values.Target { return &th.targets[0] }
	f("no monitor", "no monitor selects the Service: there is none for namespace default", func(th *monitored) {
		th.services, th.targets = nil, nil
	})
	f("nearest monitor", "no monitor selects the Service; the closest is ServiceMonitor shops: it wants the label app=shops", func(th *monitored) {
		th.services["shop"] = explain.Reach{Counted: 1, Nearest: "ServiceMonitor shops: it wants the label app=shops"}
		th.targets = nil
	})
	f("no monitor is near", "no monitor selects the Service (labels app=shop); a monitor of another namespace selects it only if its namespaceSelector includes namespace default", func(th *monitored) {
		th.services["shop"], th.targets = explain.Reach{Counted: 1, Labels: "app=shop"}, nil
	})
	f("permission missing", "no monitor selects the Service: there is none for namespace default; permission missing: promlet may not list podmonitors, list servicemonitors (applying deploy/ again grants it)", func(th *monitored) {
		th.services, th.targets = nil, nil
		th.problems = []string{"watch pods: connection refused", "list podmonitors: podmonitors is forbidden: User x cannot", "list servicemonitors: servicemonitors is forbidden: User x cannot", "read Secret other/s: secrets is forbidden"}
	})
	f("no monitor of its namespace", "no monitor selects the Service: namespace default has none, and no monitor of another namespace selects it", func(th *monitored) {
		th.services["shop"], th.targets = explain.Reach{Counted: 1}, nil
		th.pods["shop-1"] = explain.Reach{Counted: 1}
	})
	f("rejected", "ServiceMonitor shop is rejected: spec.endpoints[0].port: empty", func(th *monitored) {
		th.services["shop"].Monitors[0].Err = errors.New("spec.endpoints[0].port: empty")
	})
	f("rejected elsewhere", "a ServiceMonitor of another namespace is rejected: its Events say why", func(th *monitored) {
		m := &th.services["shop"].Monitors[0]
		m.Namespace, m.Err = "other", errors.New("secret-of-other")
	})
	f("no port", `ServiceMonitor shop selects the Service, but wants a port named "web", and the Service has "http"`, func(th *monitored) {
		th.services["shop"].Monitors[0].Jobs[0] = explain.ReachedJob{Name: "job", Missing: `the Service has no port named "web" (it has "http")`}
		th.targets = nil
	})
	f("not ready", "no ready endpoints: not ready: shop-1", func(th *monitored) {
		up(th).Err = errors.New("connection refused")
		obj, _, err := th.objects[endpointSliceResource].GetByKey("default/shop-x")
		require.NoError(th.t, err)
		no := false
		slice := obj.(*discoveryv1.EndpointSlice).DeepCopy() //nolint:forcetypeassert // Added above.
		slice.Endpoints[0].Conditions.Ready = &no
		th.add(endpointSliceResource, slice)
	})
	f("timed out", "target 10.0.0.1:80/metrics is down: timed out after 10s without an answer", func(th *monitored) {
		up(th).Err = errors.New("timed out after 10s without an answer: context deadline exceeded")
	})
	f("down", "target 10.0.0.1:80/metrics is down: dial tcp 10.0.0.1:80: connect: connection refused", func(th *monitored) {
		up(th).Err = errors.New("Get http://10.0.0.1:80/metrics?token=secret: dial tcp 10.0.0.1:80: connect: connection refused")
	})
	f("several down", "target 10.0.0.1:80/metrics is down: line 12: expected value (and 1 more)", func(th *monitored) {
		up(th).Err = errors.New("line 12: expected value")
		th.targets = append(th.targets, th.targets[0])
	})
	f("not scraped yet", "its target has not been scraped yet", func(th *monitored) { up(th).LastScrape = time.Time{} })
	f("relabelings drop it", "the relabelings of its monitor drop all of its targets", func(th *monitored) { th.targets = nil })
	f("another shard's", "another shard scrapes its targets (1)", func(th *monitored) { th.otherShards, th.targets = th.targets, nil })
	f("another shard's, of another object", "the relabelings of its monitor drop all of its targets", func(th *monitored) {
		th.otherShards, th.targets = []values.Target{{Job: "job", Discovered: labels.FromStrings("namespace", "other")}}, nil
	})
	f("not exposed", "target 10.0.0.1:80/metrics is up, but exposes no http_requests or http_requests_total (closest metric: http_request)", func(th *monitored) {
		th.exposed["job"][0].Name = "http_request_total"
	})
	f("not exposed by several", "2 targets are up, but none of them exposes http_requests or http_requests_total (closest metric: http_request)", func(th *monitored) {
		th.exposed["job"][0].Name = "http_request_total"
		th.targets = append(th.targets, th.targets[0])
	})
	f("not left by metricRelabelings", "target 10.0.0.1:80/metrics is up, but no http_requests or http_requests_total is left after the metricRelabelings of its monitor, which drop 1 of 2 samples", func(th *monitored) {
		th.exposed["job"], th.dropped, th.seen = th.exposed["job"][1:], 1, 2
	})
	f("not left by metricRelabelings, of several", "2 targets are up, but no http_requests or http_requests_total is left after the metricRelabelings of their monitor, which drop 4 of 4 samples", func(th *monitored) {
		th.exposed["job"], th.dropped, th.seen = nil, 4, 4
		th.targets = append(th.targets, th.targets[0])
	})
	f("not exposed, and the job has targets elsewhere", "target 10.0.0.1:80/metrics is up, but exposes no http_requests or http_requests_total", func(th *monitored) {
		th.exposed["job"][0].Name = "http_request_total"
		th.targets = append(th.targets, values.Target{Job: "job", Discovered: labels.FromStrings("namespace", "other"), Interval: step})
	})
	starting := func(series string) func(*monitored) {
		return func(th *monitored) {
			th.exposed["job"][0].Name = series
			th.targets = append(th.targets, values.Target{Job: "job", Discovered: labels.FromStrings("namespace", "other"), Interval: step})
			th.startCollection()
		}
	}
	f("collection has started, perhaps elsewhere", "collection of it has started, first value in about 5s", starting("http_requests_total"))
	f("nothing to be collected, here or elsewhere", "target 10.0.0.1:80/metrics is up, but exposes no http_requests or http_requests_total", starting("http_request_total"))
	f("label dropped by metricRelabelings", "http_requests_total is exposed, but without a label namespace, by which a default rule knows the namespace: metricRelabelings of its monitor drop it", func(th *monitored) {
		th.exposed["job"][0].LabelNames = []string{"instance", "job", "pod"}
	})
	f("label dropped by relabelings", "http_requests_total is exposed, but without a label namespace, by which a default rule knows the namespace: relabelings of its monitor drop it", func(th *monitored) {
		th.exposed["job"][0].LabelNames = []string{"instance", "job", "pod"}
		up(th).Labels = labels.FromStrings("pod", "shop-1")
	})
	f("not stored", "nothing of it is stored for this object yet", func(*monitored) {})
	f("refused", "9 series of job are not stored: series limit reached", func(th *monitored) {
		th.notStored = "9 series of job are not stored: series limit reached"
	})
	f("stamped by the exporter, and refused", "samples of http_requests_total are not stored: the exporter sets their timestamps itself, the last one 3h0m0s ago: set honorTimestamps: false on the endpoint of its monitor", func(th *monitored) {
		th.outOfBounds = map[string]time.Time{"http_requests_total": th.now.Add(-3 * time.Hour)}
	})
	f("stamped with the future", "samples of http_requests_total are not stored: the exporter sets their timestamps itself, the last one in the future: set honorTimestamps: false on the endpoint of its monitor", func(th *monitored) {
		th.outOfBounds = map[string]time.Time{"http_requests_total": th.now.Add(time.Hour)}
	})
	f("one sample", "one sample of http_requests_total so far, first rate in about 15s", func(th *monitored) {
		th.load(`http_requests_total{namespace="default",pod="shop-1",service="shop",container="app",job="shop"} 1`)
	})
	f("one sample, and down", "target 10.0.0.1:80/metrics is down: refused", func(th *monitored) {
		th.load(`http_requests_total{namespace="default",pod="shop-1",service="shop",container="app",job="shop"} 1`)
		up(th).Err = errors.New("refused")
	})
	nothing := func(th *monitored, of demand.Options) {
		rule := rules.Rule{
			SeriesQuery: "http_requests_total", Resources: rules.Defaults(rules.DefaultRateWindow)[0].Resources, Name: rules.Name{As: "http_requests"},
			MetricsQuery: "sum(<<.Series>>{<<.LabelMatchers>>} > 1e9) by (<<.GroupBy>>)",
		}
		th.provide(Options{Explain: th.explaining(), Demand: of, Rules: rules.Set{Custom: []rules.Rule{rule}}})
		th.load(`http_requests_total{namespace="default",pod="shop-1",service="shop",container="app",job="shop"} 0+1x4`)
		th.Demand.Read(rules.Metric{API: rules.CustomAPI, Name: "http_requests"})
	}
	f("nothing yet, as collection has started", "collection of http_requests_total has started, first value in about 5s", func(th *monitored) {
		nothing(th, demand.Options{FirstValue: 5 * time.Second})
	})
	f("nothing", `the query of rules[0] returns nothing for it: no result satisfies the comparison http_requests_total{namespace="default",pod="shop-1"} > 1000000000`, func(th *monitored) {
		nothing(th, demand.Options{})
	})
	f("not refreshed", "the last sample of http_requests_total is 1m0s old: it has not been refreshed within two scrape intervals of 15s", func(th *monitored) {
		th.load(`http_requests_total{namespace="default",pod="shop-1",service="shop",container="app",job="shop"} 0+1x4`)
		th.now = th.now.Add(time.Minute)
	})
	f("stamped by the exporter", "the exporter sets the timestamps of http_requests_total itself, the last one 7m0s ago, but the query looks back only 2m: "+
		"look back further with a function such as max_over_time, or set honorTimestamps: false on the endpoint of its monitor", func(th *monitored) {
		const series = `http_requests_total{namespace="default",pod="shop-1",service="shop",container="app",job="shop"}`
		th.load(series + " 0+1x4")
		th.now = th.now.Add(7 * time.Minute)
		for _, source := range th.sources {
			source.Target.LastScrape = th.now
		}
		th.append("up", "shop-1", 1)
	})
	f("not refreshed, and down", "target 10.0.0.1:80/metrics is down: timed out after 10s", func(th *monitored) {
		th.load(`http_requests_total{namespace="default",pod="shop-1",service="shop",container="app",job="shop"} 0+1x4`)
		th.now = th.now.Add(time.Minute)
		up(th).Err = errors.New("timed out after 10s")
	})
}

// An object, a metric, a value or a selector may be what is wrong.
func TestExplanationsOfRequests(t *testing.T) {
	th := newMonitored(t)
	th.load(`queue_depth{namespace="default",pod="shop-1",service="shop",container="app",job="shop"} 3x4`)
	f := func(path, want string) {
		t.Helper()
		require.Contains(t, th.ask(path), want)
	}
	f("default/services/shops/queue_depth", "for services shops: there is no service shops in namespace default (closest: shop)")
	f("default/services/nothing/queue_depth", "for services nothing: there is no service nothing in namespace default")
	f("default/services/shop/queue_dept", "is up, but exposes no queue_dept or queue_dept_total (closest metric: queue_depth)")
	f("default/services/shop/http_requests_total", "for services shop: http_requests_total is served as http_requests, per second: use that name")
	f("default/pods/*/http_requests_total", "for pods: http_requests_total is served as http_requests, per second: use that name")
	f("default/services/shop/queue_depth??code=5", "its series of queue_depth does not match the metric selector")
	f("default/deployments.apps/shops/queue_depth", "no series names it, and it owns no pods in namespace default")
	f("default/pods/*/queue_depths", "is up, but exposes no queue_depths")
	th.now = th.now.Add(time.Second)
	th.append("ratio", "shop-1", math.NaN())
	f("default/pods/shop-1/ratio", "the value is NaN")
	f("default/services/shop/queue_depth", "shop=3@instant")
}

// The whole chain, to a value and to where it ends.
func TestExplain(t *testing.T) {
	th := newMonitored(t)
	hpas := th.objects[schema.GroupResource{Group: "autoscaling", Resource: "horizontalpodautoscalers"}]
	require.NoError(t, hpas.Add(&autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "shop"},
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{Metrics: []autoscalingv2.MetricSpec{{Object: &autoscalingv2.ObjectMetricSource{
			DescribedObject: autoscalingv2.CrossVersionObjectReference{Kind: "Service", Name: "shop"},
			Metric:          autoscalingv2.MetricIdentifier{Name: "http_requests"},
		}}}},
	}))
	chain := func(q explain.Question) string {
		t.Helper()
		told, err := th.Explainer.Explain(t.Context(), q)
		require.NoError(t, err)
		var steps []string
		for _, s := range told.Steps {
			steps = append(steps, fmt.Sprintf("%s %s", s.State, s.Link))
		}
		return strings.Join(steps, ", ") + " = " + told.Value + told.Reason
	}
	service := explain.Question{Metric: "http_requests", Object: serviceResource, Namespace: "default", Name: "shop"}
	require.Equal(t, "ok object, ok autoscaler, ok rule, ok monitor, ok endpoints, ok targets, ok series, broken samples = nothing of it is stored for this object yet", chain(service))
	th.load(`http_requests_total{namespace="default",pod="shop-1",service="shop",container="app",job="shop"} 0+15x16`)
	require.Equal(t, "ok object, ok autoscaler, ok rule, ok monitor, ok endpoints, ok targets, ok value = 1", chain(service))
	th.targets[0].Err = errors.New("refused")
	require.Equal(t, "ok object, ok autoscaler, ok rule, ok monitor, ok endpoints, note targets, ok value = 1", chain(service), "there is a value all the same")
	require.Equal(t, "ok object, ok value = 1 value", chain(explain.Question{Metric: "http_requests", Object: podResource, Namespace: "default"}))
	require.Equal(t, `broken object = the selector "app=x" matches no pods in namespace default`,
		chain(explain.Question{Metric: "http_requests", Object: podResource, Namespace: "default", Selector: apilabels.SelectorFromSet(apilabels.Set{"app": "x"})}))
	th.pod("shop-2", "shop")
	require.Contains(t, chain(explain.Question{Metric: "http_requests", Object: podResource, Namespace: "default"}), "ok object, note object, ok object, note autoscaler, ok rule, broken monitor")
	require.Contains(t, chain(explain.Question{Metric: "x", Object: schema.GroupResource{Resource: "widgets"}, Namespace: "default", Name: "x"}), "broken object = ")
	require.Equal(t, "note autoscaler, broken rule = no rule of externalRules makes a metric called x", chain(explain.Question{Metric: "x", Namespace: "default", External: true}))
	_, err := th.Explainer.Explain(t.Context(), explain.Question{})
	require.ErrorContains(t, err, "name the metric and the object")

	told, err := th.Explainer.Explain(t.Context(), service)
	require.NoError(t, err)
	written, err := json.Marshal(told)
	require.NoError(t, err)
	require.Contains(t, string(written), `{"metric":"http_requests","object":"services/shop","namespace":"default","value":"1","steps":[{"link":"object","state":"ok",`)
}

// Without the permission to list HorizontalPodAutoscalers, an explanation does not say that there are none.
func TestExplainForbiddenAutoscalers(t *testing.T) {
	th := newMonitored(t)
	f := func(want string, problems ...string) {
		th.problems = problems
		told, err := th.Explainer.Explain(t.Context(), explain.Question{Metric: "http_requests", Object: serviceResource, Namespace: "default", Name: "shop"})
		require.NoError(t, err)
		require.Contains(t, told.Steps, explain.Step{Link: explain.LinkAutoscaler, State: explain.StateNote, Text: want})
	}
	f("no HorizontalPodAutoscaler in namespace default scales on it", "list nodes: nodes is forbidden: User x cannot")
	f("unknown: promlet may not list HorizontalPodAutoscalers", "list horizontalpodautoscalers: horizontalpodautoscalers.autoscaling is forbidden: User x cannot")
}

// What is true of other namespaces is not told.
func TestExplanationsTellNothingOfOtherNamespaces(t *testing.T) {
	th := newMonitored(t)
	th.add(podResource, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "other", Name: "treasure-1"}})
	th.add(serviceResource, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "other", Name: "treasure"}})
	of := labels.FromStrings("namespace", "other", "pod", "treasure-1", "service", "treasure", "job", "treasure")
	th.targets = append(th.targets, values.Target{Job: "treasure-job", Address: "10.9.9.9:80/treasure", Labels: of, Discovered: of, Err: errors.New("treasure")})
	th.exposed["treasure-job"] = []catalog.Exposed{{Name: "treasure_total", LabelNames: []string{"namespace"}}}
	m := &th.services["shop"].Monitors[0]
	m.Namespace, m.Name = "other", "treasure"
	th.load(`treasure_total{namespace="other",pod="treasure-1",service="treasure",job="treasure"} 0+15x16`)
	for _, q := range []explain.Question{
		{Metric: "treasure", Object: serviceResource, Name: "shop"},
		{Metric: "treasur", Object: serviceResource, Name: "shop"},
		{Metric: "treasure", Object: serviceResource, Name: "treasur"},
		{Metric: "treasure", Object: podResource, Name: "treasure-1"},
		{Metric: "treasure", Object: podResource},
		{Metric: "treasure", Object: namespaceResource, Name: "default"},
	} {
		asked := q.Metric + q.Name
		q.Namespace = "default"
		told, err := th.Explainer.Explain(t.Context(), q)
		require.NoError(t, err)
		for _, s := range told.Steps {
			text := strings.NewReplacer(q.Metric, "", q.Name, "").Replace(s.Text)
			require.NotContains(t, text, "treasure", asked)
			require.NotContains(t, text, "10.9.9.9", asked)
		}
	}
}

// An explanation has the query, the windows, and, if the question requests them, the pods.
func TestExplanationOfTheQuery(t *testing.T) {
	th := newMonitored(t)
	th.pod("shop-2", "shop")
	th.service("shop", "shop-1", "shop-2")
	th.load(`http_requests_total{namespace="default",pod="shop-1",service="shop",container="app",job="shop"} 0+15x3`)
	service := explain.Question{Metric: "http_requests", Object: serviceResource, Namespace: "default", Name: "shop"}
	told, err := th.Explainer.Explain(t.Context(), service)
	require.NoError(t, err)
	require.Equal(t, `sum by (service) (rate(http_requests_total{namespace="default",service="shop"}[2m]))`, told.Query)
	require.Equal(t, 2*time.Minute, told.WindowAsked)
	require.Equal(t, 45*time.Second, told.Window, "what there is")
	require.Empty(t, told.Pods, "who may read services need not be allowed to read pods")

	service.Pods = true
	told, err = th.Explainer.Explain(t.Context(), service)
	require.NoError(t, err)
	require.Equal(t, []explain.PodValue{{Pod: "shop-1", Value: "1", Last: th.now}, {Pod: "shop-2", Reason: "no value"}}, told.Pods)
	require.Zero(t, told.MorePods)

	var names []string
	for i := range 150 {
		names = append(names, fmt.Sprintf("many-%03d", i))
		th.pod(names[i], "many")
	}
	th.service("many", names...)
	service.Name = "many"
	told, err = th.Explainer.Explain(t.Context(), service)
	require.NoError(t, err)
	require.Len(t, told.Pods, 100)
	require.Equal(t, 50, told.MorePods)

	external := rules.Set{External: []rules.Rule{aRule("http_requests_total")}}
	require.NoError(t, th.SetRules(external))
	told, err = th.Explainer.Explain(t.Context(), explain.Question{Metric: "m", Namespace: "default", External: true, Pods: true})
	require.NoError(t, err)
	require.Contains(t, told.Query, `http_requests_total{namespace="default"}`)
	require.Empty(t, told.Pods)
}
