package monitors

import (
	"maps"
	"slices"
	"strconv"

	discoveryv1 "k8s.io/api/discovery/v1"
)

// Shrink looks for the smallest Cluster for which bad still holds, by leaving out
// objects and then fields. bad must hold for c; it is called many times.
func Shrink(c *Cluster, bad func(*Cluster) bool) (*Cluster, error) {
	docs, err := c.documents()
	if err != nil {
		return nil, err
	}
	s := &shrinker{bad: bad, removed: true}
	for _, doc := range docs {
		s.docs = append(s.docs, doc)
	}
	for s.removed {
		s.removed = false
		s.shrink(nil)
	}
	return fromDocuments(documentsIn(s.docs))
}

type shrinker struct {
	docs    []any
	bad     func(*Cluster) bool
	removed bool // whether anything was left out
}

// shrink leaves out what is at a path, an object first, or what is below.
func (s *shrinker) shrink(path []string) {
	if s.optional(path) {
		rest, _ := removeAt(s.docs, path).([]any)
		if c, err := fromDocuments(documentsIn(rest)); err == nil && c.legal() && s.bad(c) {
			s.docs, s.removed = rest, true
			return
		}
	}
	switch v := at(s.docs, path).(type) {
	case document:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			s.shrink(append(slices.Clone(path), key))
		}
	case []any:
		for i := len(v) - 1; i >= 0; i-- {
			s.shrink(append(slices.Clone(path), strconv.Itoa(i)))
		}
	}
}

// optional reports whether what is at a path may be left out: an object, or a field
// without which it still is one. A slice of no Service would be another matter.
func (s *shrinker) optional(path []string) bool {
	if len(path) < 2 {
		return len(path) == 1
	}
	labels, _ := at(s.docs, path).(document)
	if labels[discoveryv1.LabelServiceName] != nil || path[len(path)-1] == discoveryv1.LabelServiceName {
		return false
	}
	switch path[1] {
	case "spec", "status", "data", "stringData":
		return true
	case "metadata":
		return len(path) > 3 || len(path) == 3 && path[2] != "name" && path[2] != "namespace"
	}
	return len(path) > 2
}

// at is what a path leads to.
func at(v any, path []string) any {
	for _, step := range path {
		switch x := v.(type) {
		case document:
			v = x[step]
		case []any:
			i, err := strconv.Atoi(step)
			if err != nil || i >= len(x) {
				return nil
			}
			v = x[i]
		}
	}
	return v
}

// removeAt copies a value without what a path leads to.
func removeAt(v any, path []string) any {
	switch x := v.(type) {
	case document:
		out := maps.Clone(x)
		if len(path) == 1 {
			delete(out, path[0])
		} else {
			out[path[0]] = removeAt(x[path[0]], path[1:])
		}
		return out
	case []any:
		i, err := strconv.Atoi(path[0])
		if err != nil || i >= len(x) {
			return v
		}
		if len(path) == 1 {
			return append(slices.Clone(x[:i]), x[i+1:]...)
		}
		out := slices.Clone(x)
		out[i] = removeAt(x[i], path[1:])
		return out
	}
	return v
}

// legal tells whether an API server would take the objects, as far as leaving out
// fields can do harm.
func (c *Cluster) legal() bool {
	for _, pod := range c.Pods {
		for _, container := range slices.Concat(pod.Spec.Containers, pod.Spec.InitContainers) {
			if container.Name == "" {
				return false
			}
			for _, p := range container.Ports {
				if p.ContainerPort < 1 {
					return false
				}
			}
		}
	}
	for _, slice := range c.EndpointSlices {
		for i := range slice.Endpoints {
			if len(slice.Endpoints[i].Addresses) == 0 {
				return false
			}
		}
		if slice.AddressType == "" {
			return false
		}
	}
	return true
}
