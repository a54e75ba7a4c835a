package main

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ask polls a fake API for the metrics of an HPA.
func ask(t *testing.T, behaviour string, metrics ...autoscalingv2.MetricSpec) []row {
	t.Helper()
	server := httptest.NewTLSServer(fakePromlet(behaviour))
	defer server.Close()
	e, err := readExample(shippedDir)
	require.NoError(t, err)
	e.pods = []string{"sample-metrics-app-1", "sample-metrics-app-2"}
	if len(metrics) > 0 {
		e.hpa.Spec.Metrics = metrics
	}
	d := &demo{example: e, api: newAPI(strings.TrimPrefix(server.URL, "https://")), loads: []*load{newLoad("", 50), newLoad("", 100)}}
	for i, l := range d.loads { // a hundred a second, and two
		for s := range 20 {
			l.noted = append(l.noted, note{time.Now().Add(time.Duration(s-10) * time.Second), float64(100 * (i + 1) * s)})
		}
	}
	require.NoError(t, d.api.ready(t.Context()))
	return d.poll(t.Context())
}

func object(kind, apiVersion, name, metric string, selector *metav1.LabelSelector) autoscalingv2.MetricSpec {
	target := resource.MustParse("5")
	return autoscalingv2.MetricSpec{Type: autoscalingv2.ObjectMetricSourceType, Object: &autoscalingv2.ObjectMetricSource{
		DescribedObject: autoscalingv2.CrossVersionObjectReference{Kind: kind, APIVersion: apiVersion, Name: name},
		Metric:          autoscalingv2.MetricIdentifier{Name: metric, Selector: selector},
		Target:          autoscalingv2.MetricTarget{Type: autoscalingv2.ValueMetricType, Value: &target},
	}}
}

func pods(metric string) autoscalingv2.MetricSpec {
	target := resource.MustParse("50")
	return autoscalingv2.MetricSpec{Type: autoscalingv2.PodsMetricSourceType, Pods: &autoscalingv2.PodsMetricSource{
		Metric: autoscalingv2.MetricIdentifier{Name: metric},
		Target: autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: &target},
	}}
}

func TestRowsOfTheExample(t *testing.T) {
	rows := ask(t, "serves")
	require.Len(t, rows, 3)
	for i, want := range []struct {
		object, target, asks, value string
		load                        float64
	}{
		{"services/sample-metrics-app", "100", "3 replicas (has 2, may 2-10)", "149600m", 300},
		{"pods/sample-metrics-app-1", "", "", "49800m", 100},
		{"pods/sample-metrics-app-2", "", "", "99800m", 200},
	} {
		r := rows[i]
		require.NoError(t, r.err)
		require.Equal(t, want.object, r.object)
		require.Equal(t, "http_requests", r.metric)
		require.Equal(t, want.target, r.target)
		require.Equal(t, want.asks, r.asks)
		require.Equal(t, want.value, r.value.String())
		require.InDelta(t, want.load, r.load, 0.1)
		require.Equal(t, time.Second, r.window)
		require.WithinDuration(t, time.Now(), r.at, 5*time.Second)
		require.Equal(t, i == 0, r.scales)
		require.False(t, r.filling)
	}
	require.NoError(t, missing(rows))
}

func TestRowsOfOtherMetrics(t *testing.T) {
	tenant := &metav1.LabelSelector{MatchLabels: map[string]string{"tenant": "a"}}
	rows := ask(t, "serves",
		pods("http_requests"),
		object("Deployment", "apps/v1", "sample", "queue", tenant),
		object("Deployment", "apps/v1", "sample", "queue", nil),
		object("Service", "v1", "several", "http_requests", nil),
		pods("garbage"), pods("none"),
		autoscalingv2.MetricSpec{Type: autoscalingv2.ResourceMetricSourceType},
	)
	require.Len(t, rows, 8)
	require.Equal(t, "149600m", rows[0].value.String())
	require.Equal(t, "50 a pod", rows[0].target)
	require.Equal(t, "3 replicas (has 2, may 2-10)", rows[0].asks)
	require.InDelta(t, 300, rows[0].load, 0.1)

	require.Equal(t, "deployments.apps/sample", rows[1].object)
	require.NoError(t, rows[1].err)
	require.Zero(t, rows[1].window)
	require.InDelta(t, -1, rows[1].load, 0)

	require.EqualError(t, rows[2].err, "400: second line")
	require.EqualError(t, rows[3].err, "2 values instead of one")
	require.ErrorContains(t, rows[4].err, "invalid character '<'")
	require.EqualError(t, rows[5].err, "no values")
	require.ErrorContains(t, missing(rows), "deployments.apps/sample queue was not served: 400: second line")
	require.ErrorContains(t, missing(rows[6:]), "no Object or Pods metric")
}

func TestRowsWithoutValues(t *testing.T) {
	rows := ask(t, "serves nothing")
	require.Len(t, rows, 3)
	for _, r := range rows {
		require.EqualError(t, r.err, "404: no monitor selects it")
	}
	require.EqualError(t, missing(rows), "services/sample-metrics-app http_requests was not served: 404: no monitor selects it")
}
