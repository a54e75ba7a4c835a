package client

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// sampleHPAs are autoscalers in every state.
const sampleHPAs = `
- metadata: {name: fine}
  spec:
    scaleTargetRef: {apiVersion: apps/v1, kind: StatefulSet, name: sample}
    minReplicas: 2
    maxReplicas: 10
    metrics:
    - {type: Object, object: {describedObject: {apiVersion: v1, kind: Service, name: sample}, metric: {name: http_requests}, target: {type: Value, value: "30"}}}
    - {type: Pods, pods: {metric: {name: http_requests}, target: {type: AverageValue, averageValue: "15"}}}
    - {type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 80}}}
    - {type: External, external: {metric: {name: queue_length, selector: {matchLabels: {queue: mail}}}, target: {type: AverageValue, averageValue: "20"}}}
  status: {currentReplicas: 2, desiredReplicas: 2, currentMetrics: [{type: Resource, resource: {name: cpu, current: {averageUtilization: 75, averageValue: 150m}}}]}
- metadata: {name: busy}
  spec:
    scaleTargetRef: {apiVersion: apps/v1, kind: StatefulSet, name: sample}
    maxReplicas: 10
    metrics:
    - {type: Object, object: {describedObject: {apiVersion: v1, kind: Service, name: sample}, metric: {name: http_requests}, target: {type: Value, value: "10"}}}
  status: {currentReplicas: 2, desiredReplicas: 6}
- metadata: {name: broken}
  spec:
    scaleTargetRef: {apiVersion: apps/v1, kind: StatefulSet, name: none}
    maxReplicas: 3
    metrics:
    - {type: Object, object: {describedObject: {apiVersion: v1, kind: Service, name: sample}, metric: {name: nothing_such}, target: {type: Value, value: "10"}}}
    - {type: Pods, pods: {metric: {name: http_requests}, target: {type: AverageValue, averageValue: "15"}}}
    - {type: Resource, resource: {name: memory, target: {type: AverageValue, averageValue: 1Gi}}}
  status: {currentReplicas: 1, desiredReplicas: 1}
- metadata: {name: stuck}
  spec:
    scaleTargetRef: {apiVersion: apps/v1, kind: StatefulSet, name: sample}
    maxReplicas: 3
    metrics:
    - {type: Object, object: {describedObject: {apiVersion: v1, kind: Service, name: sample}, metric: {name: http_requests}, target: {type: Value, value: "30"}}}
  status: {currentReplicas: 2, desiredReplicas: 2, conditions: [{type: AbleToScale, status: "False", reason: FailedGetScale, message: the controller cannot read it}]}
- metadata: {name: usage}
  spec:
    scaleTargetRef: {apiVersion: apps/v1, kind: StatefulSet, name: sample}
    maxReplicas: 3
    metrics:
    - {type: ContainerResource, containerResource: {name: memory, container: web, target: {type: AverageValue, averageValue: 1Gi}}}
    - {type: Resource, resource: {name: cpu, target: {type: AverageValue, averageValue: 200m}}}
  status: {currentReplicas: 2, desiredReplicas: 2, currentMetrics: [{type: Resource, resource: {name: cpu, current: {averageValue: 250m}}}]}
- metadata: {name: zero}
  spec:
    scaleTargetRef: {apiVersion: apps/v1, kind: StatefulSet, name: asleep}
    minReplicas: 0
    maxReplicas: 3
    metrics:
    - {type: Pods, pods: {metric: {name: http_requests}, target: {type: AverageValue, averageValue: "15"}}}
    - {type: External, external: {metric: {name: queue_length, selector: {matchLabels: {queue: print}}}, target: {type: Value, value: "20"}}}
  status: {currentReplicas: 0, desiredReplicas: 0}
`

// hpas answers as the API server does about HPAs and what they scale.
func hpas(t *testing.T) *http.ServeMux {
	var list autoscalingv2.HorizontalPodAutoscalerList
	require.NoError(t, yaml.UnmarshalStrict([]byte(sampleHPAs), &list.Items))
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, object any) { _ = json.NewEncoder(w).Encode(object) }
	const path = "/apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers"
	for i := range list.Items {
		list.Items[i].Namespace = "default"
		mux.HandleFunc(strings.Replace(path, "{namespace}", "default", 1)+"/"+list.Items[i].Name, func(w http.ResponseWriter, _ *http.Request) { answer(w, list.Items[i]) })
	}
	mux.HandleFunc("/apis/autoscaling/v2/horizontalpodautoscalers", func(w http.ResponseWriter, _ *http.Request) { answer(w, list) })
	mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
		if r.PathValue("namespace") == "default" {
			answer(w, list)
		} else {
			answer(w, autoscalingv2.HorizontalPodAutoscalerList{})
		}
	})
	mux.HandleFunc("/apis/apps/v1/namespaces/default/statefulsets/sample/scale", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"status": {"selector": "app=sample"}}`))
	})
	mux.HandleFunc("/apis/apps/v1/namespaces/default/statefulsets/asleep/scale", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"status": {"selector": "app=asleep"}}`))
	})
	mux.HandleFunc("/apis/", func(w http.ResponseWriter, _ *http.Request) {
		answerStatus(w, http.StatusNotFound, metav1.StatusReasonNotFound, "it is not found")
	})
	return mux
}

func TestHPA(t *testing.T) {
	a := startMetricsAPI(t)
	out, err := a.run("hpa")
	require.NoError(t, err)
	require.Equal(t, `NAME     SCALES               REPLICAS        METRIC          OF                VALUE                 TARGET           STATE
broken   StatefulSet/none     1 (1-3)         nothing_such    services/sample   -                     10               no value
                                              http_requests   pods              -                     15 per pod       no value
                                              memory          pods              -                     1024Mi per pod   no value
usage    StatefulSet/sample   2 (1-3)         memory          container web     -                     1024Mi per pod   no value
                                              cpu             pods              250m per pod          200m per pod     above target
stuck    StatefulSet/sample   2 (1-3)         http_requests   services/sample   30                    30               cannot scale
busy     StatefulSet/sample   2 -> 6 (1-10)   http_requests   services/sample   30                    10               above target
zero     StatefulSet/asleep   0 (0-3)         http_requests   pods              -                     15 per pod       at zero
                                              queue_length    external          4                     20               at zero
fine     StatefulSet/sample   2 (2-10)        http_requests   services/sample   30                    30               ok
                                              http_requests   pods              15 per pod (2 pods)   15 per pod       ok
                                              cpu             pods              75%                   80%              ok
                                              queue_length    external          15 per pod            20 per pod       ok

default/broken: nothing_such of services/sample: no series has been collected that a rule serves under that name
default/broken: http_requests of pods: spec.scaleTargetRef: it is not found
default/broken: memory of pods: the controller has no value from metrics.k8s.io, which metrics-server or promlet serves
default/usage: memory of container web: the controller has no value from metrics.k8s.io, which metrics-server or promlet serves
default/stuck: the controller cannot read it
default/zero: http_requests of pods: the selector "app=asleep" matches no pods in namespace default
`, out)
	out, err = a.run("hpa", "busy", "--no-headers")
	require.NoError(t, err)
	require.Equal(t, "busy   StatefulSet/sample   2 -> 6 (1-10)   http_requests   services/sample   30   10   above target\n", out)
	out, err = a.run("hpa", "-A", "--no-headers")
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(out, "default   broken "), out)

	f := func(want string, args ...string) {
		t.Helper()
		out, err := a.run(args...)
		require.EqualError(t, err, want)
		require.Empty(t, out)
	}
	f("there is no HorizontalPodAutoscaler fin in namespace default (closest: fine)", "hpa", "fin")
	f("there is no HorizontalPodAutoscaler fin in namespace empty", "hpa", "fin", "-n", "empty")
	f("there is no HorizontalPodAutoscaler checkout in namespace default", "explain", "hpa/checkout")
	f("there are no HorizontalPodAutoscalers in namespace empty", "hpa", "-n", "empty")
	f("--all-namespaces: leave out either it or the NAME", "hpa", "x", "-A")
	f("--interval=1ms: give 1s or more", "hpa", "--interval", "1ms")
	f(`invalid name "..": it may not be '..'`, "hpa", "..")
}

func TestExplainHPA(t *testing.T) {
	a := startMetricsAPI(t)
	out, err := a.run("explain", "hpa/fine")
	require.NoError(t, err)
	for _, text := range []string{
		"http_requests of services/sample in namespace default is 30\n\n✓ object",
		"cpu of pods is 75% in the HPA's status: metrics.k8s.io serves it, but this promlet cannot explain it\n\n✓ rule",
		"external metric queue_length in namespace default is 30\n",
	} {
		require.Contains(t, out, text)
	}
	out, err = a.run("explain", "hpa/busy", "-o", "json")
	require.NoError(t, err)
	var all []map[string]any
	require.NoError(t, json.Unmarshal([]byte(out), &all))
	require.Len(t, all, 1)
	out, err = a.run("explain", "hpa/stuck")
	require.NoError(t, err)
	require.Contains(t, out, "\nThe controller cannot scale StatefulSet/sample: the controller cannot read it\n")
	out, err = a.run("explain", "services/sample", "nothing_such")
	require.ErrorIs(t, err, ErrReported)
	require.Contains(t, out, "has no value: ")
	_, err = a.run("explain", "hpa/broken")
	require.EqualError(t, err, "spec.metrics[1]: http_requests of pods: spec.scaleTargetRef: it is not found")
	for _, args := range [][]string{{"hpa", "busy"}, {"hpas", "busy"}, {"horizontalpodautoscaler", "busy"}, {"horizontalpodautoscalers", "busy"}, {"horizontalpodautoscalers/busy"}} {
		out, err := a.run(append([]string{"explain"}, args...)...)
		require.NoError(t, err, args)
		require.Contains(t, out, "http_requests of services/sample in namespace default is 30\n", args)
	}
	for command, want := range map[string]string{
		"explain hpa/ -n empty":          "hpa/: name the HorizontalPodAutoscaler, such as hpa/sample-metrics-app",
		"explain hpa":                    "hpa: name the HorizontalPodAutoscaler, such as hpa/sample-metrics-app",
		"explain hpa/busy http_requests": "hpa/busy: leave out http_requests: all metrics of the HorizontalPodAutoscaler are explained",
		"explain hpa busy http_requests": "hpa/busy: leave out http_requests: all metrics of the HorizontalPodAutoscaler are explained",
	} {
		_, err := a.run(strings.Fields(command)...)
		require.EqualError(t, err, want)
	}
}

func TestShortReason(t *testing.T) {
	m := readMetric{name: "depth", of: "services/billing"}
	const prefix = "the server could not find the metric depth for services billing: "
	require.Equal(t, "target 10.0.0.1 is down: refused", m.shortReason(prefix+"target 10.0.0.1 is down: refused", false))
	require.Equal(t, "depth of services/billing: target 10.0.0.1 is down: refused", m.shortReason(prefix+"target 10.0.0.1 is down: refused", true))
	require.Equal(t, "viewer may not", m.shortReason("viewer may not", true))
}

// The desired replicas of the status are shown only if they are a recommendation.
func TestReplicas(t *testing.T) {
	f := func(want string, least, most, current, desired int32, metrics ...readMetric) {
		t.Helper()
		h := readHPA{hpa: &autoscalingv2.HorizontalPodAutoscaler{}, metrics: metrics}
		h.hpa.Spec.MinReplicas, h.hpa.Spec.MaxReplicas = &least, most
		h.hpa.Status.CurrentReplicas, h.hpa.Status.DesiredReplicas = current, desired
		require.Equal(t, want, h.replicas())
	}
	with := readMetric{now: resource.NewQuantity(1, resource.DecimalSI)}
	f("1 (1-4)", 1, 4, 1, 0, readMetric{})
	f("1 (1-4)", 1, 4, 1, 0, with) // the controller has not seen the value yet
	f("1 (0-4)", 0, 4, 1, 0, readMetric{})
	f("1 -> 0 (0-4)", 0, 4, 1, 0, with)
	f("2 -> 4 (1-4)", 1, 4, 2, 4, readMetric{}, with)
	f("2 (1-4)", 1, 4, 2, 4, readMetric{}) // an earlier recommendation
	f("6 -> 4 (1-4)", 1, 4, 6, 4, readMetric{})
	f("1 -> 2 (2-4)", 2, 4, 1, 2, readMetric{})
}
