package main

import (
	"context"
	"encoding/json"
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
	"github.com/promlet/promlet/discovery"
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

func (f fleet) argument() (string, error) {
	text, err := json.Marshal(f)
	return string(text), err
}

func parseFleet(text string) (f fleet, err error) {
	if err := json.Unmarshal([]byte(text), &f); err != nil {
		return f, fmt.Errorf("read fleet: %w", err)
	}
	return f, nil
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

// each visits every application.
func (f fleet) each(visit func(namespace, app string, number int) error) error {
	for i := range f.Namespaces * f.Apps {
		if err := visit(namespace(i/f.Apps), app(i%f.Apps), i); err != nil {
			return err
		}
	}
	return nil
}

// objects are the fleet's, as promlet holds them.
func (f fleet) objects() (*discovery.Objects, error) {
	objects := discovery.NewObjects()
	pods, _ := objects.Indexer(corev1.Resource("pods"))
	services, _ := objects.Indexer(corev1.Resource("services"))
	slices, _ := objects.Indexer(discoveryv1.Resource("endpointslices"))
	namespaces, _ := objects.Indexer(corev1.Resource("namespaces"))
	for i := range f.Namespaces {
		if err := namespaces.Add(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace(i)}}); err != nil {
			return nil, err
		}
	}
	return objects, f.each(func(namespace, app string, _ int) error {
		meta := metav1.ObjectMeta{Namespace: namespace, Name: app, Labels: map[string]string{"app": app}}
		if err := services.Add(&corev1.Service{ObjectMeta: meta}); err != nil {
			return err
		}
		slice := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: app + "-x", Labels: map[string]string{discoveryv1.LabelServiceName: app},
		}}
		for i := range f.Pods {
			name := pod(app, i)
			slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{TargetRef: &corev1.ObjectReference{Kind: "Pod", Name: name}})
			err := pods.Add(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{
				Namespace: namespace, Name: name,
				Labels:          map[string]string{"app": app, "pod-template-hash": templateHash},
				OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: app + "-" + templateHash}},
			}})
			if err != nil {
				return err
			}
		}
		return slices.Add(slice)
	})
}

// load stores the fleet's series, with samples from the past to the future of now.
func (f fleet) load(ctx context.Context, db *tsdb.DB, now time.Time) error {
	var all []labels.Labels
	err := f.each(func(namespace, app string, number int) error {
		for i := range f.Pods {
			all = append(all, podLabels(namespace, app, pod(app, i), number*f.Pods+i, f.series())...)
		}
		return nil
	})
	if err != nil {
		return err
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
			if refs[i], err = appender.Append(refs[i], series, 0, now.Add(elapsed-past).UnixMilli(), v, nil, nil, storage.AOptions{}); err != nil {
				return fmt.Errorf("load: %w", err)
			}
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
	_ = f.each(func(namespace, app string, number int) error {
		for i := range f.Pods {
			of := targetLabels(namespace, app, pod(app, i), number*f.Pods+i)
			targets = append(targets, values.Target{Job: app, Labels: of, Discovered: of, Interval: scrapeInterval})
		}
		return nil
	})
	return targets
}

// sources are what scraping would know of the fleet's series, by hash of their labels.
func (f fleet) sources(now time.Time) map[uint64]tsdb.Source {
	sources := map[uint64]tsdb.Source{}
	_ = f.each(func(namespace, app string, number int) error {
		for i := range f.Pods {
			id := number*f.Pods + i
			target := &tsdb.Target{ID: uint64(id), Interval: scrapeInterval, LastScrape: now.Add(future)} //nolint:gosec // Not negative.
			for n, series := range podLabels(namespace, app, pod(app, i), id, f.series()) {
				sources[series.Hash()] = tsdb.Source{
					Target: target, Exposed: uint64(n), First: now.Add(-past), Since: now.Add(-past), //nolint:gosec // Not negative.
				}
			}
		}
		return nil
	})
	return sources
}

func targetLabels(namespace, app, pod string, number int) labels.Labels {
	return labels.FromStrings("namespace", namespace, "pod", pod, "service", app, "job", app, "endpoint", "web", "container", "app",
		"instance", fmt.Sprintf("10.%d.%d.%d:8080", number>>16&255, number>>8&255, number&255))
}

// podLabels are those of a pod's series.
func podLabels(namespace, app, pod string, number, counters int) []labels.Labels {
	target := targetLabels(namespace, app, pod, number)
	with := func(pairs ...string) labels.Labels {
		b := labels.NewBuilder(target)
		for i := 0; i < len(pairs); i += 2 {
			b.Set(pairs[i], pairs[i+1])
		}
		return b.Labels()
	}
	series := []labels.Labels{with(model.MetricNameLabel, gauge)}
	for i := range counters {
		series = append(series, with(model.MetricNameLabel, counter,
			"method", []string{"GET", "POST"}[i%2], "code", []string{"200", "500"}[i/2]))
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
