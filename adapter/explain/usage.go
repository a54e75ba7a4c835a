package explain

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/promlet/promlet/adapter/objects"
	"github.com/promlet/promlet/adapter/resourcemetrics"
	"github.com/promlet/promlet/adapter/values"
)

// asksForUsage reports whether a question is about metrics.k8s.io: the cpu or memory of pods or nodes. If a custom metric has
// that name, only Question.Usage makes it one.
func (c *chain) asksForUsage(ctx context.Context, q Question) bool {
	k := c.req.Kind
	isUsage := q.Metric == string(corev1.ResourceCPU) || q.Metric == string(corev1.ResourceMemory)
	if c.x.opts.Resources == nil || !isUsage || !k.IsPod() && k.GroupResource != objects.Node().GroupResource {
		return false
	}
	if q.Usage {
		return true
	}
	custom, err := c.x.mappings(ctx, &c.req)
	return err == nil && len(custom) == 0
}

// usage follows the chain of one pod or node from the kubelet to the value. Of several that a selector picks, it follows the
// chain of the first one without a value.
func (c *chain) usage(ctx context.Context, q Question) {
	c.ofUsage, c.told.Unit = true, UnitCores
	if q.Metric == string(corev1.ResourceMemory) {
		c.told.Unit = UnitBytes
	}
	if within := c.req.Within(); !c.req.Kind.Namespaced && within != "" {
		c.broken(LinkObject, "what nodes use is not of one namespace: ask under nodes, not under namespaces/%s", within)
		return
	}
	ctx = values.Unread(ctx)
	if q.Name != "" {
		c.usageOfOne(ctx, q.Name)
		return
	}
	names, err := c.x.values.Picked(c.req, q.Selector)
	if err != nil {
		c.broken(LinkObject, "%v", err)
		return
	}
	c.ok(LinkObject, "%s%s: %s", c.req.Kind.GroupResource, values.InNamespace(c.req.Namespace), listed(names))
	found, _ := c.used(ctx, names) // the error is that of the first one, too
	lacking := ""
	for _, name := range names {
		if _, ok := found[name]; !ok {
			lacking = name
			break
		}
	}
	c.told.Of, c.told.With = len(names), len(found)
	if lacking != "" {
		c.told.Lacking = lacking
		c.note(LinkObject, "%d of %d have a value; %s has none:", len(found), len(names), lacking)
		c.usageOfOne(ctx, lacking)
		return
	}
	c.told.Value = fmt.Sprintf("%d %s", len(names), plural(len(names), "value", "values"))
	for _, name := range names {
		u := found[name]
		c.ok(LinkValue, "%s: %s, last sample %s ago", name, c.quantityText(u.total), c.since(u.last))
	}
}

// usedResource is what a pod or node uses of the resource.
type usedResource struct {
	total  resource.Quantity
	last   time.Time
	window time.Duration
}

// used returns what those pods or nodes use that exist and have a value, by name.
func (c *chain) used(ctx context.Context, names []string) (map[string]usedResource, error) {
	var pods []*corev1.Pod
	var nodes []*corev1.Node
	for _, name := range names {
		object, err := c.x.values.Objects.Object(c.req.Kind.GroupResource, c.req.Namespace, name)
		if err != nil {
			return nil, err
		}
		switch of := object.(type) {
		case *corev1.Pod:
			pods = append(pods, of)
		case *corev1.Node:
			nodes = append(nodes, of)
		}
	}
	metric, used := corev1.ResourceName(c.told.Metric), make(map[string]usedResource, len(names))
	ofPods, err := c.x.opts.Resources.PodMetrics(ctx, pods)
	if err != nil {
		return nil, err
	}
	for i := range ofPods {
		u := usedResource{last: ofPods[i].Timestamp.Time, window: ofPods[i].Window.Duration}
		for _, container := range ofPods[i].Containers {
			u.total.Add(container.Usage[metric])
		}
		used[ofPods[i].Name] = u
	}
	ofNodes, err := c.x.opts.Resources.NodeMetrics(ctx, nodes)
	if err != nil {
		return nil, err
	}
	for i := range ofNodes {
		used[ofNodes[i].Name] = usedResource{total: ofNodes[i].Usage[metric], last: ofNodes[i].Timestamp.Time, window: ofNodes[i].Window.Duration}
	}
	return used, nil
}

// usageReport returns why a pod or node has a value or none.
func (c *chain) usageReport(ctx context.Context, name string) (resourcemetrics.Report, error) {
	object, err := c.x.values.Objects.Object(c.req.Kind.GroupResource, c.req.Namespace, name)
	if err != nil {
		return resourcemetrics.Report{}, err
	}
	switch of := object.(type) {
	case *corev1.Pod:
		return c.x.opts.Resources.Pod(ctx, of), nil
	case *corev1.Node:
		return c.x.opts.Resources.Node(ctx, name), nil
	}
	return resourcemetrics.Report{}, errors.New("it has just gone")
}

// usageOfOne follows the chain of one pod or node.
func (c *chain) usageOfOne(ctx context.Context, name string) {
	c.name, c.req.Names = name, []string{name}
	if !c.object() {
		return
	}
	if c.req.Kind.IsPod() {
		c.autoscalers()
	}
	found, err := c.used(ctx, []string{name})
	if err != nil {
		c.broken(LinkValue, "%v", err)
		return
	}
	r, err := c.usageReport(ctx, name)
	if err != nil {
		c.broken(LinkValue, "%v", err)
		return
	}
	if r.Reason == resourcemetrics.NotScheduled {
		c.broken(LinkObject, "%s", r)
		return
	}
	if len(r.Queries) > 0 || linkOf(r.Reason) == LinkQuery || linkOf(r.Reason) == LinkRule {
		if !c.usageQueries(r) {
			return
		}
	} else if !c.kubelet(r) || !c.containers(r) {
		return
	}
	if !c.usageSamples(r) {
		return
	}
	u, ok := found[name]
	if !ok { // there was one when the Report was made
		c.broken(LinkValue, "the value has just gone: ask again")
		return
	}
	c.told.Value, c.told.Window = u.total.String(), u.window
	over := ""
	if c.told.Unit == UnitCores {
		over = fmt.Sprintf(" cores, over %s", u.window.Round(1e6))
	}
	c.ok(LinkValue, "%s%s, last sample %s ago", c.quantityText(u.total), over, c.since(u.last))
}

// linkOf returns the link of the chain that a reason breaks.
func linkOf(reason resourcemetrics.Reason) Link {
	switch reason {
	case resourcemetrics.NotScheduled:
		return LinkObject
	case resourcemetrics.UnknownNode, resourcemetrics.NotScraped, resourcemetrics.ScrapeFailed:
		return LinkKubelet
	case resourcemetrics.NotReported, resourcemetrics.NoCPU, resourcemetrics.NoMemory:
		return LinkContainer
	case resourcemetrics.NoQuery:
		return LinkRule
	case resourcemetrics.NotReady, resourcemetrics.Collecting, resourcemetrics.QueryFailed, resourcemetrics.NoResult, resourcemetrics.BadResult:
		return LinkQuery
	}
	return LinkSamples
}

// usageQueries adds the steps about the queries of resourceRules. It returns false if the chain ends there.
func (c *chain) usageQueries(r resourcemetrics.Report) bool {
	part := "." + c.told.Metric + "."
	for _, q := range r.Queries {
		c.ok(LinkRule, "made by %s", q.Rule)
		if strings.Contains(q.Rule, part) {
			c.told.Query = q.Expr
		}
	}
	if link := linkOf(r.Reason); link == LinkQuery || link == LinkRule {
		return c.broken(link, "%s", r)
	}
	return true
}

// kubelet adds the step about the kubelet. It returns false if the chain ends there.
func (c *chain) kubelet(r resourcemetrics.Report) bool {
	k := r.Kubelet
	if linkOf(r.Reason) == LinkKubelet {
		if why := c.unreachable(k.Node); why != nil {
			return c.broken(LinkKubelet, "the kubelet of node %q is not scraped: %v", k.Node, why)
		}
		return c.broken(LinkKubelet, "%s", r)
	}
	reports := fmt.Sprintf("the kubelet of node %q reports %d %s with %d %s", k.Node, k.Pods, plural(k.Pods, "pod", "pods"), k.Containers, plural(k.Containers, "container", "containers"))
	if k.Err != nil {
		c.note(LinkKubelet, "%s, last good scrape %s ago; the scrape %s ago failed: %v", reports, c.since(k.Scraped), c.since(k.Failed), k.Err)
		return true
	}
	c.ok(LinkKubelet, "%s, last scrape %s ago", reports, c.since(k.Scraped))
	return true
}

// unreachable returns why the kubelet of a node is not a target, nil if it is one or the reason is not known.
func (c *chain) unreachable(node string) error {
	if c.x.opts.Unreachable == nil {
		return nil
	}
	return c.x.opts.Unreachable(node)
}

// containers adds the step about the containers that the kubelet reports. It returns false if the chain ends there.
func (c *chain) containers(r resourcemetrics.Report) bool {
	if linkOf(r.Reason) == LinkContainer {
		return c.broken(LinkContainer, "%s", r)
	}
	if !c.req.Kind.IsPod() {
		return true
	}
	names := make([]string, len(r.Usages))
	for i := range r.Usages {
		names[i] = r.Usages[i].Name
	}
	c.ok(LinkContainer, "the kubelet reports %s %s of the pod", plural(len(names), "container", "containers"), listed(names))
	return true
}

// usageSamples adds a step for the samples of each container, or of the node. It returns false if they give no value.
func (c *chain) usageSamples(r resourcemetrics.Report) bool {
	for i := range r.Usages {
		u := &r.Usages[i]
		switch {
		case u.Reason != resourcemetrics.Measured:
		case c.told.Unit == UnitBytes:
			c.ok(LinkSamples, "%s: working set %s at %s", u.Name, values.Bytes(u.Memory), clock(u.Last.Time))
		case u.Previous.Time.IsZero(): // resourceRules give the value
			c.ok(LinkSamples, "%s: %s cores", u.Name, cores(u.Cores))
		default:
			since := "at " + clock(u.Previous.Time)
			if u.Previous.Time.Equal(u.Previous.Start) {
				since = "at its start, " + clock(u.Previous.Time)
			}
			c.ok(LinkSamples, "%s: %.3f s of CPU at %s, %.3f s %s: %s cores", u.Name, u.Last.CPU, clock(u.Last.Time), u.Previous.CPU, since, cores(u.Cores))
		}
	}
	if r.Reason != resourcemetrics.Measured {
		return c.broken(LinkSamples, "%s", r)
	}
	return true
}

// cores formats a number of cores, rounded as in the API.
func cores(n float64) string {
	return values.Cores(resource.NewScaledQuantity(int64(n*1e9), resource.Nano).MilliValue())
}

func clock(at time.Time) string { return at.UTC().Format("15:04:05.000 MST") }

// since returns the text of how long ago a time was.
func (c *chain) since(at time.Time) string { return c.x.values.Now().Sub(at).Round(1e8).String() }

func (c *chain) quantityText(q resource.Quantity) string {
	if c.told.Unit == UnitBytes {
		return values.Bytes(q.Value())
	}
	return values.Cores(q.MilliValue())
}

// scalesOnUsage reports whether a metric of an HPA is the resource metric of the question, and the HPA may scale the pod.
func (c *chain) scalesOnUsage(hpa *autoscalingv2.HorizontalPodAutoscaler, m *autoscalingv2.MetricSpec) bool {
	of := m.Resource != nil && string(m.Resource.Name) == c.told.Metric || m.ContainerResource != nil && string(m.ContainerResource.Name) == c.told.Metric
	return of && c.mayOwn(&hpa.Spec.ScaleTargetRef)
}

// NoUsage returns why a pod has no value of metrics.k8s.io, "" if it has a value.
func (x *Explainer) NoUsage(ctx context.Context, pod *corev1.Pod) string {
	r := x.opts.Resources.Pod(ctx, pod)
	if r.Reason == resourcemetrics.UnknownNode && x.opts.Unreachable != nil {
		if why := x.opts.Unreachable(r.Kubelet.Node); why != nil {
			return fmt.Sprintf("the kubelet of node %q is not scraped: %v", r.Kubelet.Node, why)
		}
	}
	return r.String()
}
