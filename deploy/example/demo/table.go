package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"k8s.io/metrics/pkg/apis/custom_metrics/v1beta2"
	"k8s.io/metrics/pkg/client/custom_metrics"
	"sigs.k8s.io/yaml"

	"github.com/promlet/promlet/adapter/replicas"
)

// connect reads the HPA and makes the clients: for metrics that of the HPA's controller. promlet makes its certificate
// itself, and on loopback there is nobody between.
func (d *demo) connect() error {
	text, err := os.ReadFile(filepath.Join(d.manifests, "hpa.yaml"))
	if err != nil {
		return err
	}
	if err := yaml.UnmarshalStrict(text, &d.hpa); err != nil {
		return fmt.Errorf("hpa.yaml: %w", err)
	}
	config := &rest.Config{Host: d.api, TLSClientConfig: rest.TLSClientConfig{Insecure: true}, Timeout: 5 * time.Second, QPS: -1}
	if d.client, err = rest.HTTPClientFor(config); err != nil {
		return err
	}
	mapper := meta.NewDefaultRESTMapper([]schema.GroupVersion{corev1.SchemeGroupVersion})
	mapper.Add(corev1.SchemeGroupVersion.WithKind("Service"), meta.RESTScopeNamespace)
	mapper.Add(corev1.SchemeGroupVersion.WithKind("Pod"), meta.RESTScopeNamespace)
	metrics, err := custom_metrics.NewForVersionForConfig(config, mapper, v1beta2.SchemeGroupVersion)
	if err != nil {
		return err
	}
	d.metrics = metrics.NamespacedMetrics(d.hpa.Namespace)
	return nil
}

// table asks for the metric of the HPA and for that of each pod, and renders the answers, with the first
// reason below why one is missing. The error is that of the HPA's metric.
func (d *demo) table() (string, error) {
	source := d.hpa.Spec.Metrics[0].Object
	metric, target := source.Metric.Name, source.Target
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 3, ' ', 0)
	line := func(cells ...string) { _, _ = fmt.Fprintln(w, strings.Join(cells, "\t")) } // into memory
	line("OBJECT", "METRIC", "VALUE", "LOAD", "OFF BY", "TARGET", "THE HPA ASKS FOR", "AGE", "WINDOW")

	service, err := d.metrics.GetForObject(schema.GroupKind{Kind: "Service"}, appName, metric, labels.Everything())
	asks := "-"
	if err == nil {
		has, spec := len(d.loads), &d.hpa.Spec
		n := replicas.ForTotal(spec, target, service.Value.MilliValue(), has, has)
		asks = fmt.Sprintf("%d replicas (has %d, may %d-%d)", n, has, *spec.MinReplicas, spec.MaxReplicas)
	}
	line(cells("services/"+appName, metric, service, target.Value.String(), asks, d.loads...)...)

	pods, podsErr := d.metrics.GetForObjects(schema.GroupKind{Kind: "Pod"}, labels.Everything(), metric, labels.Everything())
	for i, l := range d.loads {
		var pod *v1beta2.MetricValue
		if podsErr == nil {
			at := slices.IndexFunc(pods.Items, func(v v1beta2.MetricValue) bool { return v.DescribedObject.Name == podName(i) })
			if at >= 0 {
				pod = &pods.Items[at]
			}
		}
		line(cells("pods/"+podName(i), metric, pod, "-", "-", l)...)
	}
	_ = w.Flush() // into memory
	if reason := cmp.Or(err, podsErr); reason != nil {
		fmt.Fprintf(&b, "waiting: %v\n", reason)
	}
	return b.String(), err
}

// cells are those of a line: a rate, or none, beside the load at some applications in the very same window.
func cells(object, metric string, v *v1beta2.MetricValue, target, asks string, loads ...*load) []string {
	if v == nil || v.WindowSeconds == nil || *v.WindowSeconds == 0 {
		return []string{object, metric, "-", "-", "-", target, asks, "-", "-"}
	}
	window, value := time.Duration(*v.WindowSeconds)*time.Second, v.Value.AsApproximateFloat64()
	driven, filling := 0.0, false
	for _, l := range loads {
		driven += l.over(window, v.Timestamp.Time)
		filling = filling || l.began.After(v.Timestamp.Add(-window))
	}
	off := "-"
	switch {
	case filling:
		off = "filling" // the load began within the window: no comparison yet
	case driven > 0:
		off = fmt.Sprintf("%+.1f%%", 100*(value-driven)/driven)
	}
	age := fmt.Sprintf("%.1fs", time.Since(v.Timestamp.Time).Seconds())
	return []string{object, metric, fmt.Sprintf("%.2f", value), fmt.Sprintf("%.2f", driven), off, target, asks, age, window.String()}
}

// screen shows frames: in place on a terminal, otherwise one now and then.
type screen struct {
	out      io.Writer
	terminal bool
	drawn    int       // lines of the last frame, on a terminal
	last     time.Time // of the last frame, otherwise
	served   bool      // that frame had the HPA's value
}

func newScreen(out *os.File) *screen {
	info, err := out.Stat()
	term := os.Getenv("TERM")
	return &screen{out: out, terminal: err == nil && info.Mode()&os.ModeCharDevice != 0 && term != "" && term != "dumb"}
}

// draw replaces the last frame on a terminal. Elsewhere it prints a frame every 10 seconds, when the value came or
// went, and the final one.
func (s *screen) draw(frame string, served, final bool) {
	if s.terminal {
		if s.drawn > 0 {
			s.print(fmt.Sprintf("\x1b[%dA\r", s.drawn)) // to where the last frame began
		} else {
			s.print("\n")
		}
		s.print("\x1b[?7l\x1b[J" + frame + "\x1b[?7h") // without wrapping long lines, which would shift that place
		s.drawn = strings.Count(frame, "\n")
		return
	}
	if final || served != s.served || time.Since(s.last) >= 10*time.Second {
		s.print("\n" + frame)
		s.last, s.served = time.Now(), served
	}
}

// print ignores errors: there is nowhere else to report them.
func (s *screen) print(text string) { _, _ = io.WriteString(s.out, text) }
