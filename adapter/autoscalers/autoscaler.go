package autoscalers

import (
	"context"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/promlet/promlet/adapter/explain"
	"github.com/promlet/promlet/adapter/objects"
	"github.com/promlet/promlet/adapter/replicas"
	"github.com/promlet/promlet/adapter/resourcemetrics"
	"github.com/promlet/promlet/adapter/values"
)

// Autoscaler is a HorizontalPodAutoscaler, what it is told, and what follows from that.
type Autoscaler struct {
	Namespace string    `json:"namespace"`
	Name      string    `json:"name"`
	UID       types.UID `json:"-"`
	Target    string    `json:"target"` // what it scales: Deployment/x
	Min       int       `json:"minReplicas"`
	Max       int       `json:"maxReplicas"`
	// Replicas are the current ones: as the HPA's status says, or else the pods that the
	// target owns.
	Replicas int `json:"replicas"`
	// AtZero reports whether the controller has scaled the target to zero replicas.
	AtZero bool `json:"atZero,omitempty"`
	// Asks is how many the controller would ask for now by the metrics that have a value;
	// 0 when none has, or AtZero.
	Asks int `json:"asksFor,omitempty"`
	// Stuck is why the controller scales nothing, whatever the metrics are, in its own
	// words; empty when it does.
	Stuck   string   `json:"stuck,omitempty"`
	Metrics []Metric `json:"metrics"`
	// History holds the replicas of the last hour in milli-units, oldest first. Run records it.
	History []Point `json:"replicasHistory,omitempty"`
}

// Lacking returns the number of promlet's metrics without a value.
func (a *Autoscaler) Lacking() (n int) {
	for i := range a.Metrics {
		if m := &a.Metrics[i]; m.Served() && m.Value == nil {
			n++
		}
	}
	return n
}

// Above reports whether any metric is above its target.
func (a *Autoscaler) Above() bool {
	return slices.ContainsFunc(a.Metrics, func(m Metric) bool { return m.Above() })
}

// Metric is a metric that an HPA scales on.
type Metric struct {
	Metric string `json:"metric"`
	// Object is services/x, pods or external. For metrics of metrics.k8s.io it is pods or container x, or resource if promlet
	// does not serve that API.
	Object string `json:"object"`
	// Unit is the unit of a metric of metrics.k8s.io, "" for other metrics.
	Unit Unit `json:"unit,omitempty"`
	// Question is the request for it, to be explained. For Pods metrics it is about the
	// first pod without a value, or about the target of the HPA.
	Question explain.Question `json:"-"`
	// Value is what the HPA compares with Target, in milli-units; nil when there is none,
	// and then Reason says why. Of a Pods metric it is the mean of the pods that have one.
	Value  *int64 `json:"valueMilli,omitempty"`
	Reason string `json:"reason,omitempty"`
	// Pods are how many a Pods metric is about, With those of them that have a value.
	Pods int `json:"pods,omitempty"`
	With int `json:"podsWithValue,omitempty"`
	// Target is in milli-units. Average: it is for each pod, and so is Value.
	Target  int64 `json:"targetMilli"`
	Average bool  `json:"average,omitempty"`
	// Last is the time of the last sample used, Window what was computed over.
	Last   time.Time     `json:"last,omitzero"`
	Window time.Duration `json:"windowNanoseconds,omitempty"`
	Asks   int           `json:"asksFor,omitempty"`
	// History are the values of the last hour, as they were then, oldest first. Run
	// keeps them.
	History []Point `json:"history,omitempty"`
}

// Unit is the unit of a metric of metrics.k8s.io.
type Unit string

// The units. UnitPercent is percent of what the pods request.
const (
	UnitCores   Unit = "cores"
	UnitBytes   Unit = "bytes"
	UnitPercent Unit = "percent"
)

// ofResource is the Object of a metric that is not promlet's.
const ofResource = "resource"

// Served reports whether the metric is one of promlet's APIs.
func (m *Metric) Served() bool { return m.Object != ofResource }

// OfPods reports whether the value is computed from values of the pods that the HPA scales.
func (m *Metric) OfPods() bool { return m.Object == objects.Pod().Resource || m.Unit != "" }

// Above reports whether the value is above the target.
func (m *Metric) Above() bool { return m.Value != nil && *m.Value > m.Target }

// Autoscalers looks at the HPAs.
type Autoscalers struct {
	values    *values.Evaluator
	explainer *explain.Explainer
	resources resourcemetrics.Source // nil: promlet does not serve metrics.k8s.io
	logger    *slog.Logger
	history   history
	last      atomic.Pointer[[]Autoscaler] // the HPAs as Run last saw them
}

// New returns Autoscalers whose metrics have the values of an Evaluator, and the reasons of
// its Explainer. Resource metrics have the values of resources; nil if promlet does not serve metrics.k8s.io.
func New(v *values.Evaluator, x *explain.Explainer, resources resourcemetrics.Source, logger *slog.Logger) *Autoscalers {
	return &Autoscalers{values: v, explainer: x, resources: resources, logger: logger}
}

// List returns the HPAs that a filter takes (nil: all), ordered by namespace and name, with
// the values that their metrics have now.
func (a *Autoscalers) List(ctx context.Context, filter func(namespace, name string) bool) ([]Autoscaler, error) {
	hpas, err := a.values.Objects.Autoscalers("")
	if err != nil {
		return nil, err
	}
	hpas = slices.DeleteFunc(hpas, func(h *autoscalingv2.HorizontalPodAutoscaler) bool {
		return filter != nil && !filter(h.Namespace, h.Name)
	})
	if len(hpas) == 0 {
		return nil, nil
	}
	owned, err := a.values.Objects.PodsByOwner()
	if err != nil {
		return nil, err
	}
	ctx = values.Unread(ctx)
	all := make([]Autoscaler, 0, len(hpas))
	for _, hpa := range hpas {
		s := scaling{Autoscalers: a, hpa: hpa, pods: owned[targetOf(hpa)]}
		shown := s.autoscaler(ctx)
		for i := range shown.Metrics {
			m := &shown.Metrics[i]
			m.History = a.history.points(seriesOf(&shown, i), a.values.Now())
		}
		shown.History = a.history.points(replicasOf(&shown), a.values.Now())
		all = append(all, shown)
	}
	return all, ctx.Err()
}

// targetOf returns what an HPA scales, which owns its pods.
func targetOf(hpa *autoscalingv2.HorizontalPodAutoscaler) objects.Owner {
	of := hpa.Spec.ScaleTargetRef
	group := schema.FromAPIVersionAndKind(of.APIVersion, of.Kind).Group
	return objects.Owner{Namespace: hpa.Namespace, Group: group, Kind: of.Kind, Name: of.Name}
}

func (s *scaling) autoscaler(ctx context.Context) Autoscaler {
	spec := &s.hpa.Spec
	a := Autoscaler{
		Namespace: s.hpa.Namespace, Name: s.hpa.Name, UID: s.hpa.UID,
		Target: spec.ScaleTargetRef.Kind + "/" + spec.ScaleTargetRef.Name,
		Min:    1, Max: int(spec.MaxReplicas), Replicas: int(s.hpa.Status.CurrentReplicas),
		Stuck: Stuck(s.hpa),
	}
	if spec.MinReplicas != nil {
		a.Min = int(*spec.MinReplicas)
	}
	if a.Replicas == 0 {
		a.Replicas = len(s.pods)
	}
	s.current = a.Replicas
	a.AtZero = s.atZero()
	lacking := false
	for i := range spec.Metrics {
		m := s.metric(ctx, &spec.Metrics[i])
		a.Asks = max(a.Asks, m.Asks)
		lacking = lacking || m.Served() && m.Value == nil
		a.Metrics = append(a.Metrics, m)
	}
	switch {
	case a.Replicas > a.Max: // then the controller looks at no metrics
		a.Asks = a.Max
	case a.Replicas > 0 && a.Replicas < a.Min:
		a.Asks = a.Min
	case lacking && a.Asks != 0: // it adds replicas and takes none away
		a.Asks = max(a.Asks, replicas.Clamp(spec, float64(a.Replicas)))
	}
	return a
}

// Stuck returns why the controller scales nothing, from the conditions that it sets. It
// ignores conditions about metrics without a value.
func Stuck(hpa *autoscalingv2.HorizontalPodAutoscaler) string {
	for i := range hpa.Status.Conditions {
		c := &hpa.Status.Conditions[i]
		if c.Status != corev1.ConditionFalse {
			continue
		}
		switch {
		case c.Type == autoscalingv2.AbleToScale:
			return c.Message
		case c.Type == autoscalingv2.ScalingActive && slices.Contains([]string{"AmbiguousSelector", "InvalidSelector", "ScalingDisabled"}, c.Reason):
			return c.Message
		}
	}
	return ""
}
