package web

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/prometheus/common/model"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"

	"github.com/promlet/promlet/adapter/demand"
	"github.com/promlet/promlet/adapter/rules"
)

// place has the objects of a target. An empty field is not known.
type place struct {
	Namespace, Service, Pod string
	Workload                autoscalingv2.CrossVersionObjectReference // owner of the pod
}

// placeOf returns the place of a target, from the labels that discovery has set.
func placeOf(t *Target) place {
	const meta = model.MetaLabelPrefix + "kubernetes_"
	get := func(label, metaLabel string) string {
		return cmp.Or(t.Labels.Get(label), t.Discovered.Get(meta+metaLabel))
	}
	p := place{Namespace: get("namespace", "namespace"), Service: get("service", "service_name"), Pod: get("pod", "pod_name")}
	kind, name := t.Discovered.Get(meta+"pod_controller_kind"), t.Discovered.Get(meta+"pod_controller_name")
	hash := t.Discovered.Get(meta + "pod_label_pod_template_hash")
	switch deployment, ok := strings.CutSuffix(name, "-"+hash); {
	case kind == "ReplicaSet" && ok && hash != "":
		p.Workload = autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: deployment}
	case kind == "ReplicaSet" || kind == "StatefulSet":
		p.Workload = autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: kind, Name: name}
	}
	return p
}

// manifest is a YAML text that the user can copy.
type manifest struct{ Title, Text string }

// newManifest returns the manifest of an object, with a comment as its first line.
func newManifest(title, comment string, object any) (manifest, error) {
	fields, err := fieldsOf(object)
	if err != nil {
		return manifest{}, err
	}
	delete(fields, "status")
	text, err := yaml.Marshal(fields)
	return manifest{Title: title, Text: "# " + comment + "\n" + string(text)}, err
}

// fieldsOf returns the fields of an object that are not empty.
func fieldsOf(object any) (fields map[string]any, err error) {
	text, err := yaml.Marshal(object)
	if err == nil {
		err = yaml.Unmarshal(text, &fields)
	}
	withoutEmpty(fields)
	return fields, err
}

// withoutEmpty removes nil values and empty maps.
func withoutEmpty(fields map[string]any) {
	for key, value := range fields {
		switch of := value.(type) {
		case nil:
			delete(fields, key)
		case map[string]any:
			if withoutEmpty(of); len(of) == 0 {
				delete(fields, key)
			}
		case []any:
			for _, item := range of {
				if inner, ok := item.(map[string]any); ok {
					withoutEmpty(inner)
				}
			}
		}
	}
}

// hpaManifests returns HPAs that scale on a metric. For an external metric it returns one. For others it returns one with
// an Object metric, if the Service is known, and one with a Pods metric.
func hpaManifests(served *demand.ServedMetric, at place) (all []manifest, err error) {
	name := cmp.Or(at.Workload.Name, at.Service, "my-app")
	scaled := at.Workload
	if scaled.Name == "" {
		scaled = autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: name}
	}
	metric := autoscalingv2.MetricIdentifier{Name: served.Metric}
	example := ptr.To(resource.MustParse("100"))
	total := autoscalingv2.MetricTarget{Type: autoscalingv2.ValueMetricType, Value: example}
	each := autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: example}
	add := func(title string, spec autoscalingv2.MetricSpec) {
		m, newErr := newManifest(title, "The target of 100 and maxReplicas are examples.", &autoscalingv2.HorizontalPodAutoscaler{
			TypeMeta:   metav1.TypeMeta{APIVersion: autoscalingv2.SchemeGroupVersion.String(), Kind: "HorizontalPodAutoscaler"},
			ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: at.Namespace},
			Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
				ScaleTargetRef: scaled, MinReplicas: ptr.To[int32](1), MaxReplicas: 10, Metrics: []autoscalingv2.MetricSpec{spec},
			},
		})
		all, err = append(all, m), cmp.Or(err, newErr)
	}
	if served.External {
		add("External: the value divided by the pods", autoscalingv2.MetricSpec{
			Type: autoscalingv2.ExternalMetricSourceType, External: &autoscalingv2.ExternalMetricSource{Metric: metric, Target: each},
		})
		return all, err
	}
	if at.Service != "" {
		add("Object: the sum of the Service "+at.Service, autoscalingv2.MetricSpec{
			Type: autoscalingv2.ObjectMetricSourceType, Object: &autoscalingv2.ObjectMetricSource{
				DescribedObject: autoscalingv2.CrossVersionObjectReference{APIVersion: "v1", Kind: "Service", Name: at.Service},
				Metric:          metric, Target: total,
			},
		})
	}
	add("Pods: the mean of the pods", autoscalingv2.MetricSpec{
		Type: autoscalingv2.PodsMetricSourceType, Pods: &autoscalingv2.PodsMetricSource{Metric: metric, Target: each},
	})
	return all, err
}

// exampleHPA returns an HPA on a served metric of an application. If there is none, it returns one with names that the user
// has to replace.
func (s *Server) exampleHPA(ctx context.Context) (string, error) {
	served, at := demand.ServedMetric{Metric: "http_requests"}, place{Namespace: "default", Service: "my-app"}
	comment := "# Replace my-app and http_requests.\n"
	usage, err := s.opts.Usage(ctx)
	if err != nil {
		return "", err
	}
	places := placesByJob(s.opts.Targets())
	all := byName(s.opts.Metrics())
	slices.SortStableFunc(all, func(a, b metric) int { return cmp.Compare(ofRuntime(a.Name), ofRuntime(b.Name)) })
	for i := range all {
		of := usage.Served(all[i].Name)
		if found, ok := all[i].place(places); ok && found.Service != "" && len(of) > 0 && !of[0].External {
			served, at, comment = of[0], found, ""
			break
		}
	}
	manifests, err := hpaManifests(&served, at)
	if err != nil {
		return "", err
	}
	return comment + manifests[0].Text, nil
}

// ofRuntime returns 1 for metrics of a language's runtime, which say little about the application's load, and otherwise 0.
func ofRuntime(series string) int {
	for _, prefix := range []string{"go_", "process_", "promhttp_", "python_", "jvm_", "nodejs_"} {
		if strings.HasPrefix(series, prefix) {
			return 1
		}
	}
	return 0
}

// exampleMonitor returns a ServiceMonitor with names that the user has to replace.
func exampleMonitor() (string, error) {
	m, err := newManifest("", "Replace the label app=my-app of your Service, and web, the name of its port.", &monitoringv1.ServiceMonitor{
		TypeMeta:   metav1.TypeMeta{APIVersion: monitoringv1.SchemeGroupVersion.String(), Kind: monitoringv1.ServiceMonitorsKind},
		ObjectMeta: metav1.ObjectMeta{Name: "my-app", Namespace: "default"},
		Spec: monitoringv1.ServiceMonitorSpec{
			Selector:  metav1.LabelSelector{MatchLabels: map[string]string{"app": "my-app"}},
			Endpoints: []monitoringv1.Endpoint{{Port: "web"}},
		},
	})
	return m.Text, err
}

// ruleManifest returns a rule that serves a series. It serves a counter as its rate, and other types as they are.
func ruleManifest(m *metric) (manifest, error) {
	counter := m.Type == string(model.MetricTypeCounter) || strings.HasSuffix(m.Name, "_total") ||
		(strings.HasSuffix(m.Name, "_bucket") || strings.HasSuffix(m.Name, "_count") || strings.HasSuffix(m.Name, "_sum")) && m.Type != string(model.MetricTypeGauge)
	selector, series, matchers := m.Name, "<<.Series>>{<<.LabelMatchers>>}", `namespace!=""`
	name := rules.Name{As: m.Name}
	if !model.LegacyValidation.IsValidMetricName(m.Name) {
		selector, series = "", `{__name__="<<.Series>>",<<.LabelMatchers>>}`
		matchers = "__name__=" + strconv.Quote(m.Name) + "," + matchers
		name.As = model.EscapeName(m.Name, model.UnderscoreEscaping)
	}
	query := "sum(" + series + ") by (<<.GroupBy>>)"
	if counter {
		query = fmt.Sprintf("sum(rate(%s[%s])) by (<<.GroupBy>>)", series, model.Duration(rules.DefaultRateWindow))
		name.As = strings.TrimSuffix(strings.TrimSuffix(name.As, "_total"), "_seconds")
	}
	if name.As != m.Name {
		name.Matches = "^" + regexp.QuoteMeta(m.Name) + "$"
	}
	rule := rules.Rule{SeriesQuery: selector + "{" + matchers + "}", Name: name, MetricsQuery: query, Resources: rules.Resources{Overrides: map[string]rules.GroupResource{}}}
	for _, label := range []string{"namespace", "pod", "service", "node"} {
		if len(m.Labels) == 0 || label == "namespace" || slices.Contains(m.Labels, label) {
			rule.Resources.Overrides[label] = rules.GroupResource{Resource: label}
		}
	}
	text, err := ruleYAML(rule)
	return manifest{Title: "A rule that serves " + m.Name + " as " + name.As, Text: "# Add the rule to the file of --config.\nrules:\n" + text}, err
}
