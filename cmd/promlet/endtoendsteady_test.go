package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/http/httputil"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/api"
	prometheusv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	prometheusbuild "github.com/promlet/promlet/bench/upstream"
)

const (
	// steadyShare is what a pod has per second where each has its own load, and sharedLoad
	// what all have together where they share one.
	steadyShare, sharedLoad = 50., 400.
	// steadyGrace is how long after a pod is ready what it does must be known.
	steadyGrace = 10 * time.Second
	// steadyPath is followed by what is asked about, and by the metric.
	steadyPath = "namespaces/steady/"
)

// steadyLoads gives each pod that is ready its load, as the EndpointSlices say it.
type steadyLoads struct {
	e      *endToEnd
	file   string
	shared bool // sharedLoad is shared by all; otherwise each has steadyShare

	mu    sync.Mutex
	ready map[string]time.Time // pods, since when
	late  time.Time            // when the machine last stood still, or the loads could not be set
}

// steadyReading is one look at everything.
type steadyReading struct {
	at         time.Time
	ready      map[string]time.Time
	service    float64
	pods       map[string]float64
	prometheus float64 // NaN where there is none
	failed     error
}

// replicasComeAndGo holds values while pods come and go against what the pods do, and beside a real
// Prometheus that scrapes the same pods.
func (e *endToEnd) replicasComeAndGo(t *testing.T) {
	built, err := prometheusbuild.Build(t.Context(), "../../bench/prometheus")
	require.NoError(t, err)
	loads := &steadyLoads{e: e, file: filepath.Join(e.logs, "shares.json"), ready: map[string]time.Time{}}
	e.kubectl(t, "apply", "--server-side", "-f", "testdata/e2e/steady.yaml")
	prometheus, _, _ := e.prometheusBeside(t, built.Prometheus, "steady")
	ctx, cancel := context.WithCancel(t.Context())
	var running errgroup.Group
	running.Go(func() error { return loads.run(ctx) })
	t.Cleanup(func() {
		cancel()
		require.NoError(t, running.Wait())
		_, err := e.tryKubectl(context.WithoutCancel(t.Context()), "", "delete", "namespace", "steady", "--wait=false")
		require.NoError(t, err)
	})
	e.eventually(t, "3 replicas", func(ctx context.Context) error { return e.replicas(ctx, "steady", "steady", 3) })

	t.Run("LateHPA", func(t *testing.T) {
		e.hpaOnSteadyJobs(t)
		readings := loads.read(t, prometheus, "steady_jobs", 30*time.Second)
		loads.requireShares(t, readings, readings[0].at)
	})
	t.Run("ScaleUp", func(t *testing.T) {
		var readings []steadyReading
		for _, replicas := range []string{"5", "8"} {
			e.kubectl(t, "-n", "steady", "scale", "deployment", "steady", "--replicas", replicas)
			readings = append(readings, loads.read(t, prometheus, "http_requests", 35*time.Second)...)
		}
		loads.requireShares(t, readings, time.Time{})
	})
	t.Run("RollingUpdate", func(t *testing.T) {
		loads.share()
		time.Sleep(25 * time.Second) // until the window holds nothing else
		e.kubectl(t, "-n", "steady", "rollout", "restart", "deployment", "steady")
		readings := loads.read(t, prometheus, "http_requests", 110*time.Second)
		loads.requireShared(t, readings)
	})
}

// share has the pods share one load from now on.
func (l *steadyLoads) share() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.shared = true
}

// run sets the loads whenever pods become ready or cease to be.
func (l *steadyLoads) run(ctx context.Context) error {
	for last := time.Now(); ctx.Err() == nil; last = time.Now() {
		if err := l.set(ctx); err != nil && ctx.Err() == nil || time.Since(last) > standstill {
			l.mu.Lock()
			l.late = time.Now()
			l.mu.Unlock()
		}
		time.Sleep(50 * time.Millisecond)
	}
	return nil
}

func (l *steadyLoads) set(ctx context.Context) error {
	slices, err := l.e.client.DiscoveryV1().EndpointSlices("steady").List(ctx, metav1.ListOptions{ResourceVersion: "0"})
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	ready := map[string]time.Time{}
	for i := range slices.Items {
		for _, endpoint := range slices.Items[i].Endpoints {
			if endpoint.Conditions.Ready == nil || !*endpoint.Conditions.Ready || endpoint.TargetRef == nil {
				continue
			}
			since, known := l.ready[endpoint.TargetRef.Name]
			if !known {
				since = time.Now()
			}
			ready[endpoint.TargetRef.Name] = since
		}
	}
	l.ready = ready
	shares := map[string]float64{}
	for pod := range ready {
		if shares[pod] = steadyShare; l.shared {
			shares[pod] = sharedLoad / float64(len(ready))
		}
	}
	text, err := json.Marshal(shares)
	if err != nil {
		return err
	}
	if err := os.WriteFile(l.file+".new", text, 0o600); err != nil {
		return err
	}
	return os.Rename(l.file+".new", l.file)
}

// read looks twice a second.
func (l *steadyLoads) read(t *testing.T, prometheus prometheusv1.API, metric string, long time.Duration) (readings []steadyReading) {
	t.Helper()
	end := time.Now().Add(long)
	for next := time.Now(); next.Before(end); next = next.Add(500 * time.Millisecond) {
		time.Sleep(time.Until(next))
		r := steadyReading{at: time.Now(), pods: map[string]float64{}, prometheus: math.NaN()}
		l.mu.Lock()
		r.ready = l.ready // replaced, never changed
		l.mu.Unlock()
		r.service, r.failed = l.e.number(t.Context(), steadyPath+"services/steady/"+metric)
		items, err := l.e.metric(t.Context(), steadyPath+"pods/*/"+metric)
		for i := range items {
			r.pods[items[i].DescribedObject.Name] = items[i].Value.AsApproximateFloat64()
		}
		if err != nil {
			t.Logf("%s: pods: %v", r.at.Format(time.TimeOnly), err)
		}
		value, _, err := prometheus.Query(t.Context(), `sum(rate(http_requests_total{namespace="steady"}[20s]))`, r.at)
		if vector, ok := value.(model.Vector); err == nil && ok && len(vector) == 1 {
			r.prometheus = float64(vector[0].Value)
		}
		readings = append(readings, r)
	}
	return readings
}

// excused reports whether the machine stood still shortly before a reading.
func (l *steadyLoads) excused(r steadyReading) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return r.at.Sub(l.late) < aftermath && !r.at.Before(l.late.Add(-aftermath))
}

// requireShares holds readings against pods that have steadyShare each, from steadyGrace after
// they are ready, or after another time.
func (l *steadyLoads) requireShares(t *testing.T, readings []steadyReading, after time.Time) {
	t.Helper()
	judged, lowestPod, lowestPart := 0, math.Inf(1), math.Inf(1)
	for _, r := range readings {
		if l.excused(r) {
			continue
		}
		known := 0
		for pod, since := range r.ready {
			if r.at.Sub(since) < steadyGrace || r.at.Sub(after) < steadyGrace {
				continue
			}
			known++
			value, ok := r.pods[pod]
			require.True(t, ok, "%s: pod %s has no value (%v)", r.at.Format(time.TimeOnly), pod, r.failed)
			lowestPod = min(lowestPod, value)
			require.InDelta(t, steadyShare, value, 0.05*steadyShare, "%s: pod %s", r.at.Format(time.TimeOnly), pod)
		}
		if known == 0 {
			continue
		}
		judged++
		require.NoError(t, r.failed, "%s", r.at.Format(time.TimeOnly))
		lowestPart = min(lowestPart, r.service/(steadyShare*float64(known)))
		require.GreaterOrEqual(t, r.service, 0.95*steadyShare*float64(known), "%s: the Service, of whose pods %d are known", r.at.Format(time.TimeOnly), known)
		require.LessOrEqual(t, r.service, 1.05*steadyShare*float64(len(r.ready)), "%s: the Service, with %d pods ready", r.at.Format(time.TimeOnly), len(r.ready))
	}
	require.GreaterOrEqual(t, judged, len(readings)/4)
	t.Logf("%d readings judged of %d: a pod's value was never below %.2f of %g, the Service's never below %.1f %%", judged, len(readings), lowestPod, steadyShare, 100*lowestPart)
}

// requireShared holds readings against one load that the pods share.
func (l *steadyLoads) requireShared(t *testing.T, readings []steadyReading) {
	t.Helper()
	settled, worst, worstSettled, worstPrometheus := 0, 0., 0., 0.
	for _, r := range readings {
		if l.excused(r) {
			continue
		}
		require.NoError(t, r.failed, "%s", r.at.Format(time.TimeOnly))
		off := math.Abs(r.service/sharedLoad - 1)
		worst = max(worst, off)
		if !math.IsNaN(r.prometheus) {
			worstPrometheus = max(worstPrometheus, math.Abs(r.prometheus/sharedLoad-1))
		}
		all := true
		for _, since := range r.ready {
			all = all && r.at.Sub(since) >= steadyGrace
		}
		if all {
			settled++
			worstSettled = max(worstSettled, off)
		}
		t.Logf("%s: %d ready, Service %.1f, Prometheus %.1f", r.at.Format(time.TimeOnly), len(r.ready), r.service, r.prometheus)
	}
	t.Logf("promlet is off by %.1f %% at most, by %.1f %% once all pods have been ready for %s; Prometheus by %.1f %%", 100*worst, 100*worstSettled, steadyGrace, 100*worstPrometheus)
	require.GreaterOrEqual(t, settled, 10)
	require.LessOrEqual(t, worstSettled, 0.05)
	require.LessOrEqual(t, worst, max(worstPrometheus, 0.05), "further off than Prometheus")
}

// hpaOnSteadyJobs creates an HPA on a metric that nobody has read, of pods that have run for long.
func (e *endToEnd) hpaOnSteadyJobs(t *testing.T) {
	target := resource.MustParse("100k")
	_, err := e.client.AutoscalingV2().HorizontalPodAutoscalers("steady").Create(t.Context(), &autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Name: "jobs"},
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			// It scales nothing: the test does.
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "nothing"},
			MaxReplicas:    2,
			Metrics: []autoscalingv2.MetricSpec{{Type: autoscalingv2.ObjectMetricSourceType, Object: &autoscalingv2.ObjectMetricSource{
				DescribedObject: autoscalingv2.CrossVersionObjectReference{APIVersion: "v1", Kind: "Service", Name: "steady"},
				Metric:          autoscalingv2.MetricIdentifier{Name: "steady_jobs"},
				Target:          autoscalingv2.MetricTarget{Type: autoscalingv2.ValueMetricType, Value: &target},
			}}},
		},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
}

// prometheusBeside runs a Prometheus until stop or the end of the test. It finds the pods of a namespace as the operator
// would have it find them, and reaches them through a proxy into the pod network.
func (e *endToEnd) prometheusBeside(t *testing.T, binary, namespace string) (client prometheusv1.API, url string, stop func()) {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	transport := &http.Transport{DialContext: e.plane.Network().DialContext, DisableKeepAlives: true}
	proxy := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: &httputil.ReverseProxy{Rewrite: func(*httputil.ProxyRequest) {}, Transport: transport}}
	served := make(chan error, 1)
	go func() { served <- proxy.Serve(listener) }()
	t.Cleanup(func() {
		require.NoError(t, proxy.Close())
		require.ErrorIs(t, <-served, http.ErrServerClosed)
	})
	dir := t.TempDir()
	config := filepath.Join(dir, "prometheus.yml")
	require.NoError(t, os.WriteFile(config, fmt.Appendf(nil, `
scrape_configs:
- job_name: %[3]s
  scrape_interval: 5s
  scrape_timeout: 5s
  proxy_url: http://%[1]s
  kubernetes_sd_configs: [{role: endpointslice, kubeconfig_file: %[2]q, namespaces: {names: [%[3]s]}}]
  relabel_configs:
  - {source_labels: [__meta_kubernetes_namespace], target_label: namespace}
  - {source_labels: [__meta_kubernetes_pod_name], target_label: pod}
  - {source_labels: [__meta_kubernetes_service_name], target_label: service}
`, listener.Addr(), e.kubeconfig, namespace), 0o600))
	url, stop, err = prometheusbuild.Start(t.Context(), binary, config, filepath.Join(dir, "data"))
	require.NoError(t, err)
	t.Cleanup(stop)
	connection, err := api.NewClient(api.Config{Address: url})
	require.NoError(t, err)
	return prometheusv1.NewAPI(connection), url, stop
}
