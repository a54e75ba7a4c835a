package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// quickly is how soon an HPA has its first value of a metric that nobody read
// before, though its targets are scraped once a minute.
const quickly = 10 * time.Second

// demand creates an HPA on a metric that nobody has read: it is listed, not stored,
// and has a value soon; without the HPA its collection ends. A loaded machine gets
// another try or two with another metric.
func (e *endToEnd) demand(t *testing.T) {
	metrics := []string{"jobs_first", "jobs_second", "jobs_third"}
	e.eventually(t, "the metrics are listed", func(ctx context.Context) error {
		out, err := e.tryKubectl(ctx, "", "get", "--raw", "/apis/custom.metrics.k8s.io/v1beta2")
		for _, metric := range metrics {
			if !strings.Contains(out, `"services/`+metric+`"`) {
				return errors.Join(err, fmt.Errorf("%s is not listed: %w", metric, errNotYet))
			}
		}
		return err
	})
	load := e.startLoad(t, "demand", "worker", 30)
	defer load.stop()
	var took time.Duration
	var tried string
	for _, tried = range metrics {
		require.NotContains(t, e.promletLogs(t), tried+"_total", "nobody has read it")
		took = e.firstValueOfHPA(t, tried)
		t.Logf("%s has its first value %s after its HPA was created", tried, took.Round(100*time.Millisecond))
		if took <= quickly {
			break
		}
	}
	require.LessOrEqual(t, took, quickly)

	client := e.client.AutoscalingV2().HorizontalPodAutoscalers("demand")
	require.NoError(t, client.DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{}))
	start := time.Now()
	e.eventually(t, "the collection ends", func(context.Context) error {
		for _, line := range strings.Split(e.promletLogs(t), "\n") {
			if strings.Contains(line, "collection has ended") && strings.Contains(line, tried+"_total") {
				return nil
			}
		}
		return errNotYet
	})
	// What is scraped once a minute would hold up what comes after.
	e.kubectl(t, "-n", "demand", "delete", "servicemonitor", "worker")
	t.Logf("collection ended %s after the HPA was deleted", time.Since(start).Round(100*time.Millisecond))
}

// firstValueOfHPA creates an HPA and returns how long it takes until its status has
// a value that is right: the load is 30 a second.
func (e *endToEnd) firstValueOfHPA(t *testing.T, metric string) time.Duration {
	target := resource.MustParse("1k")
	minReplicas := int32(2)
	hpa := &autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Namespace: "demand", Name: strings.ReplaceAll(metric, "_", "-")},
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "worker"},
			MinReplicas:    &minReplicas, MaxReplicas: 3,
			Metrics: []autoscalingv2.MetricSpec{{Type: autoscalingv2.ObjectMetricSourceType, Object: &autoscalingv2.ObjectMetricSource{
				DescribedObject: autoscalingv2.CrossVersionObjectReference{APIVersion: "v1", Kind: "Service", Name: "worker"},
				Metric:          autoscalingv2.MetricIdentifier{Name: metric},
				Target:          autoscalingv2.MetricTarget{Type: autoscalingv2.ValueMetricType, Value: &target},
			}}},
		},
	}
	client := e.client.AutoscalingV2().HorizontalPodAutoscalers("demand")
	_, err := client.Create(t.Context(), hpa, metav1.CreateOptions{})
	require.NoError(t, err)
	start := time.Now()
	var value float64
	e.eventually(t, "the HPA has a value", func(ctx context.Context) error {
		got, err := client.Get(ctx, hpa.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if len(got.Status.CurrentMetrics) == 0 || got.Status.CurrentMetrics[0].Object == nil {
			return fmt.Errorf("%v: %w", got.Status.Conditions, errNotYet)
		}
		value = got.Status.CurrentMetrics[0].Object.Current.Value.AsApproximateFloat64()
		return nil
	})
	took := time.Since(start)
	require.InDelta(t, 30, value, 15, "it is over what has been collected, not over the whole window")
	return took
}

// promletLogs are those of all pods of promlet, those that have ended as well.
func (e *endToEnd) promletLogs(t *testing.T) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(e.logs, "pod-promlet-*.log"))
	require.NoError(t, err)
	var all strings.Builder
	for _, file := range files {
		log, err := os.ReadFile(file)
		require.NoError(t, err)
		all.Write(log)
	}
	return all.String()
}
