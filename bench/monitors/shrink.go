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
	s := &shrinker{docs: docs, bad: bad}
	for {
		before := s.removed
		s.objects()
		for i := range s.docs {
			s.fields(i, nil)
		}
		if s.removed == before {
			return fromDocuments(s.docs)
		}
	}
}

type shrinker struct {
	docs    []document
	bad     func(*Cluster) bool
	removed int // things left out so far
}

// try keeps the documents if they are still bad, and legal.
func (s *shrinker) try(docs []document) bool {
	c, err := fromDocuments(docs)
	if err != nil || !c.legal() || !s.bad(c) {
		return false
	}
	s.docs = docs
	s.removed++
	return true
}

// objects leaves out whole objects, many at a time first.
func (s *shrinker) objects() {
	for size := len(s.docs) / 2; size > 0; size /= 2 {
		for i := 0; i+size <= len(s.docs); {
			rest := append(slices.Clone(s.docs[:i]), s.docs[i+size:]...)
			if !s.try(rest) {
				i += size
			}
		}
	}
}

// fields leaves out what is at a path of a document, or below.
func (s *shrinker) fields(doc int, path []string) {
	if len(path) > 0 && s.without(doc, path) {
		return
	}
	switch v := at(s.docs[doc], path).(type) {
	case document:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			s.fields(doc, append(slices.Clone(path), key))
		}
	case []any:
		for i := len(v) - 1; i >= 0; i-- {
			s.fields(doc, append(slices.Clone(path), strconv.Itoa(i)))
		}
	}
}

// without tries to leave out one field or element.
func (s *shrinker) without(doc int, path []string) bool {
	if len(path) == 1 && path[0] != "spec" && path[0] != "status" && path[0] != "data" && path[0] != "stringData" ||
		path[0] == "metadata" && len(path) == 2 && (path[1] == "name" || path[1] == "namespace") {
		return false // an object must be one
	}
	labels, _ := at(s.docs[doc], path).(document)
	if labels[discoveryv1.LabelServiceName] != nil || path[len(path)-1] == discoveryv1.LabelServiceName {
		return false // a slice of no Service would be another matter
	}
	docs := slices.Clone(s.docs)
	docs[doc], _ = removeAt(docs[doc], path).(document)
	return s.try(docs)
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
