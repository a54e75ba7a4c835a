package answers

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/promlet/promlet/adapter/catalog"
	"github.com/promlet/promlet/adapter/values"
	"github.com/promlet/promlet/bench/internal/harness"
	"github.com/promlet/promlet/discovery/objects"
	"github.com/promlet/promlet/tsdb"
)

const (
	scrapeInterval = 15 * time.Second
	rateWindow     = 2 * time.Minute
	// Samples begin before the server does, and go on for as long as it is asked.
	past, future = 5 * time.Minute, 5 * time.Minute

	// Each pod exposes podSeries series of a counter, which grow by one a second, if the
	// fleet says nothing else, and a gauge.
	podSeries   = 4
	counter     = "http_requests_total"
	counterRate = "http_requests" // the name of its rate
	gauge       = "queue_depth"
)

// fleet is what there is to ask about.
type fleet struct {
	Namespaces int
	Apps       int // Deployments in each namespace, each behind a Service of its name
	Pods       int // of each
	Series     int // of the counter in each pod; 0 is podSeries
	Names      int // of further metrics, which targets expose and nobody has asked for
}

// String says how many of what.
func (f fleet) String() string {
	in := "one namespace"
	if f.Namespaces > 1 {
		in = fmt.Sprintf("%d namespaces", f.Namespaces)
	}
	return fmt.Sprintf("%s Deployments of %d pods in %s", harness.Grouped(f.Namespaces*f.Apps), f.Pods, in)
}

// namespace names the i-th namespace, app an application, pod the i-th pod of one, as
// its ReplicaSet would.
func namespace(i int) string {
	if i == 0 {
		return "default"
	}
	return fmt.Sprintf("team-%d", i)
}

func app(i int) string { return fmt.Sprintf("app-%d", i) }

const templateHash = "6d4cf56db6"

func pod(app string, i int) string {
	const letters = "bcdfghjklmnpqrstvwxz2456789"
	suffix := make([]byte, 5)
	for at := range suffix {
		suffix[at] = letters[i%len(letters)]
		i /= len(letters)
	}
	return app + "-" + templateHash + "-" + string(suffix)
}

// workload is an application's Deployment and Service.
type workload struct {
	namespace, app string
	number         int
}

// workloads are all applications.
func (f fleet) workloads() []workload {
	all := make([]workload, f.Namespaces*f.Apps)
	for i := range all {
		all[i] = workload{namespace: namespace(i / f.Apps), app: app(i % f.Apps), number: i}
	}
	return all
}

// member is a pod of an application.
type member struct {
	workload
	pod    string
	number int
}

// members are all pods.
func (f fleet) members() (all []member) {
	for _, w := range f.workloads() {
		for i := range f.Pods {
			all = append(all, member{workload: w, pod: pod(w.app, i), number: w.number*f.Pods + i})
		}
	}
	return all
}

// objects are the fleet's, as promlet holds them.
func (f fleet) objects() (*objects.Store, error) {
	store := objects.NewStore()
	pods, _ := store.Indexer(corev1.Resource("pods"))
	services, _ := store.Indexer(corev1.Resource("services"))
	slices, _ := store.Indexer(discoveryv1.Resource("endpointslices"))
	namespaces, _ := store.Indexer(corev1.Resource("namespaces"))
	for i := range f.Namespaces {
		if err := namespaces.Add(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace(i)}}); err != nil {
			return nil, err
		}
	}
	for _, w := range f.workloads() {
		meta := metav1.ObjectMeta{Namespace: w.namespace, Name: w.app, Labels: map[string]string{"app": w.app}}
		if err := services.Add(&corev1.Service{ObjectMeta: meta}); err != nil {
			return nil, err
		}
		slice := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{
			Namespace: w.namespace, Name: w.app + "-x", Labels: map[string]string{discoveryv1.LabelServiceName: w.app},
		}}
		for i := range f.Pods {
			ref := &corev1.ObjectReference{Kind: "Pod", Name: pod(w.app, i)}
			slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{TargetRef: ref})
		}
		if err := slices.Add(slice); err != nil {
			return nil, err
		}
	}
	for _, m := range f.members() {
		err := pods.Add(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{
			Namespace: m.namespace, Name: m.pod,
			Labels:          map[string]string{"app": m.app, "pod-template-hash": templateHash},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: m.app + "-" + templateHash}},
		}})
		if err != nil {
			return nil, err
		}
	}
	return store, nil
}

// load stores the fleet's series, with samples from the past to the future of now.
func (f fleet) load(ctx context.Context, db *tsdb.DB, now time.Time) error {
	var all []labels.Labels
	for _, m := range f.members() {
		all = append(all, m.series(f.series())...)
	}
	refs := make([]storage.SeriesRef, len(all))
	for step := range int((past + future) / scrapeInterval) {
		elapsed := time.Duration(step) * scrapeInterval
		appender := db.AppenderV2(ctx)
		for i, series := range all {
			v := elapsed.Seconds()
			if series.Get(model.MetricNameLabel) == gauge {
				v = float64(i % 10)
			}
			ref, err := appender.Append(refs[i], series, 0, now.Add(elapsed-past).UnixMilli(), v, nil, nil, storage.AOptions{})
			if err != nil {
				return fmt.Errorf("load: %w", err)
			}
			refs[i] = ref
		}
		if err := appender.Commit(); err != nil {
			return fmt.Errorf("load: %w", err)
		}
	}
	return nil
}

func (f fleet) series() int {
	if f.Series == 0 {
		return podSeries
	}
	return f.Series
}

// targets are how the pods are scraped: each once.
func (f fleet) targets() (targets []values.Target) {
	for _, m := range f.members() {
		targets = append(targets, values.Target{Job: m.app, Labels: m.labels(), Discovered: m.labels(), Interval: scrapeInterval})
	}
	return targets
}

// sources are what scraping would know of the fleet's series, by hash of their labels.
func (f fleet) sources(now time.Time) map[uint64]tsdb.Source {
	sources := map[uint64]tsdb.Source{}
	for _, m := range f.members() {
		target := &tsdb.Target{ID: uint64(m.number), Interval: scrapeInterval, LastScrape: now.Add(future)} //nolint:gosec // Not negative.
		for n, series := range m.series(f.series()) {
			sources[series.Hash()] = tsdb.Source{
				Target: target, Exposed: uint64(n), First: now.Add(-past), Since: now.Add(-past), //nolint:gosec // Not negative.
			}
		}
	}
	return sources
}

// labels are those of the pod's target.
func (m member) labels() labels.Labels {
	return labels.FromStrings("namespace", m.namespace, "pod", m.pod, "service", m.app, "job", m.app, "endpoint", "web", "container", "app",
		"instance", fmt.Sprintf("10.%d.%d.%d:8080", m.number>>16&255, m.number>>8&255, m.number&255))
}

// series are the labels of the gauge and of so many counters.
func (m member) series(counters int) []labels.Labels {
	b := labels.NewBuilder(m.labels())
	series := []labels.Labels{b.Set(model.MetricNameLabel, gauge).Labels()}
	for i := range counters {
		b.Set(model.MetricNameLabel, counter).Set("method", []string{"GET", "POST"}[i%2]).Set("code", []string{"200", "500"}[i/2])
		series = append(series, b.Labels())
	}
	return series
}

// exposed are the names of further metrics, half of them counters.
func (f fleet) exposed() []catalog.Exposed {
	names := make([]catalog.Exposed, f.Names)
	for i := range names {
		suffix := []string{"", "_total"}[i%2]
		names[i] = catalog.Exposed{
			Name:       fmt.Sprintf("component_%05d_operations%s", i, suffix),
			LabelNames: []string{"container", "endpoint", "instance", "job", "namespace", "pod", "service"},
		}
	}
	return names
}
