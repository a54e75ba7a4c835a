package explain

import (
	"context"
	"errors"
	"time"

	"github.com/promlet/promlet/adapter/objects"
	"github.com/promlet/promlet/adapter/rules"
	"github.com/promlet/promlet/adapter/values"
)

// maxPodValues is the maximum number of pods in an Explanation.
const maxPodValues = 100

// PodValue is the value of a pod behind an object.
type PodValue struct {
	Pod string `json:"pod"`
	// Value is empty if the pod has no value. Reason then says why.
	Value  string    `json:"value,omitempty"`
	Reason string    `json:"reason,omitempty"`
	Last   time.Time `json:"last,omitzero"` // time of the last sample
}

// evaluated adds the last query of a request and the window of its value to the explanation.
func (c *chain) evaluated(v values.Value) {
	if n := len(c.trace.Queries); n > 0 {
		c.told.Query = c.trace.Queries[n-1].Expr
	}
	c.told.Window = v.Window
}

// podValues adds the value of each pod behind the object to the explanation, if the question requests them.
func (c *chain) podValues(ctx context.Context) {
	k := c.req.Kind
	if !c.withPods || k.IsPod() || !k.Namespaced || len(c.pods) == 0 || c.req.Metric.API != rules.CustomAPI {
		return
	}
	req := c.req
	var err error
	if req.Kind, err = c.x.values.Kinds.Resolve(objects.Pod().GroupResource); err != nil {
		return
	}
	req.Names = c.pods
	found, err := c.x.values.Values(values.Unread(ctx), req)
	if _, absent := errors.AsType[*values.Absence](err); err != nil && !absent {
		return // the explanation then has no pods
	}
	for _, name := range c.pods[:min(len(c.pods), maxPodValues)] {
		pod := PodValue{Pod: name, Reason: "no value"}
		switch v, ok := found[name]; {
		case ok && v.Err != nil:
			pod.Reason = v.Err.Error()
		case ok:
			pod.Value, pod.Reason, pod.Last = values.Decimal(v.Quantity), "", v.Last
		}
		c.told.Pods = append(c.told.Pods, pod)
	}
	c.told.MorePods = len(c.pods) - len(c.told.Pods)
}
