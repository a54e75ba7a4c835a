package answers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"

	"github.com/promlet/promlet/bench/internal/harness"
)

func (f fleet) urlNamespace() string { return fmt.Sprintf("pods-%d", f.Pods) }

// createPods makes the Services and pods of all fleets in a cluster. No kubelet runs them.
func createPods(ctx context.Context, config *rest.Config, fleets []fleet) error {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	for _, f := range fleets {
		if err := f.create(ctx, client.CoreV1()); err != nil {
			return fmt.Errorf("create the objects of %s: %w", f, err)
		}
	}
	return nil
}

func (f fleet) create(ctx context.Context, client corev1client.CoreV1Interface) error {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: f.urlNamespace()}}
	if _, err := client.Namespaces().Create(ctx, namespace, metav1.CreateOptions{}); err != nil {
		return err
	}
	meta := metav1.ObjectMeta{Name: app(0), Labels: map[string]string{"app": app(0)}}
	service := &corev1.Service{ObjectMeta: meta, Spec: corev1.ServiceSpec{Selector: meta.Labels, Ports: []corev1.ServicePort{{Port: 80}}}}
	if _, err := client.Services(namespace.Name).Create(ctx, service, metav1.CreateOptions{}); err != nil {
		return err
	}
	no := false
	for _, m := range f.members() {
		object := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: m.pod, Labels: meta.Labels},
			Spec:       corev1.PodSpec{AutomountServiceAccountToken: &no, Containers: []corev1.Container{{Name: "app", Image: "app"}}},
		}
		for { // the namespace's ServiceAccount is created a moment after the namespace
			_, err := client.Pods(namespace.Name).Create(ctx, object, metav1.CreateOptions{})
			if err == nil {
				break
			}
			if !apierrors.IsForbidden(err) || harness.Sleep(ctx, 100*time.Millisecond) != nil {
				return err
			}
		}
	}
	return nil
}

// exporter is the metrics endpoint of all pods. Each of their counters grows by one a second.
type exporter struct {
	server  *http.Server
	address string
	started time.Time
	served  chan error
}

func startExporter(ctx context.Context) (*exporter, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	e := &exporter{address: listener.Addr().String(), started: time.Now(), served: make(chan error, 1)}
	e.server = &http.Server{Handler: e, ReadHeaderTimeout: time.Minute}
	go func() { e.served <- e.server.Serve(listener) }()
	return e, nil
}

func (e *exporter) close() error {
	err := e.server.Close()
	if served := <-e.served; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

func (e *exporter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var b strings.Builder
	fmt.Fprintf(&b, "# TYPE %s counter\n", counter)
	for i := range podSeries {
		fmt.Fprintf(&b, "%s{method=\"GET\",code=\"%d\"} %f\n", counter, 200+i, time.Since(e.started).Seconds())
	}
	harness.WriteMetrics(w, r, []byte(b.String()), harness.Zip([]byte(b.String())))
}

// prometheusConfig returns Prometheus's configuration, with a target for each pod of all fleets.
func (e *exporter) prometheusConfig(fleets []fleet) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "global: {scrape_interval: %v}\nscrape_configs:\n- job_name: app\n  static_configs:\n", urlInterval)
	for _, f := range fleets {
		for _, m := range f.members() {
			fmt.Fprintf(&b, "  - {targets: [%q], labels: {namespace: %s, pod: %s, service: %s, instance: %s}}\n", e.address, f.urlNamespace(), m.pod, m.app, m.pod)
		}
	}
	return []byte(b.String())
}
