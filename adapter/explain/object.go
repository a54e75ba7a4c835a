package explain

import (
	apilabels "k8s.io/apimachinery/pkg/labels"

	"github.com/promlet/promlet/adapter/values"
)

// object reports whether the object exists, and finds the pods behind it.
func (c *chain) object() bool {
	k, namespace := c.req.Kind, c.req.Namespace
	reader := c.x.values.Objects
	in := values.InNamespace(namespace)
	missing, err := reader.Missing(k, namespace, c.name)
	if err != nil {
		return c.broken(LinkObject, "%v", err)
	}
	if missing {
		others, _ := reader.Names(k, namespace, apilabels.Everything()) // only for the closest
		return c.broken(LinkObject, "there is no %s %s%s%s", k.Singular, c.name, in, closestOf(others, c.name))
	}
	if k.IsPod() {
		c.pods = []string{c.name}
	} else if k.Namespaced {
		if c.pods, err = reader.Pods(k, namespace, c.name); err != nil {
			return c.broken(LinkObject, "%v", err)
		}
	}
	switch {
	case k.IsService() && len(c.pods) > 0:
		c.ok(LinkObject, "%s %s has the pods %s", k.Singular, c.name, listed(c.pods))
	case reader.Watched(k):
		c.ok(LinkObject, "%s %s exists", k.Singular, c.name)
	case len(c.pods) > 0:
		c.ok(LinkObject, "%s %s owns the pods %s", k.Singular, c.name, listed(c.pods))
	default:
		owners, _ := reader.Names(k, namespace, apilabels.Everything()) // only for the closest
		c.note(LinkObject, "%s are not watched, and no pod%s is owned by %s%s", k.GroupResource, in, c.name, closestOf(owners, c.name))
	}
	return true
}

func plural(n int, one, several string) string {
	if n == 1 {
		return one
	}
	return several
}
