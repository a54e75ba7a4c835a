package monitors

import (
	"errors"
	"fmt"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/promlet/promlet/discovery/objects"
)

// secrets looks up the Secrets and ConfigMaps that a monitor refers to, and remembers
// what it found.
type secrets struct {
	store     *objects.Store
	namespace string // of the monitor, and so of all it refers to
	seen      map[objects.Reference]any
	files     bool  // paths in monitors are allowed
	pending   error // what has not been read yet; its values are empty
}

// object returns a Secret or ConfigMap, nil when it is pending. The error says which
// one is missing.
func (s *secrets) object(kind, name string) (any, error) {
	ref := objects.Reference{Kind: kind, Namespace: s.namespace, Name: name}
	if name == "" {
		return nil, fmt.Errorf("the %s has no name", kind)
	}
	if len(validation.IsDNS1123Subdomain(name)) > 0 || len(validation.IsDNS1123Label(s.namespace)) > 0 {
		return nil, fmt.Errorf("there can be no %s of this name and namespace", kind)
	}
	obj := s.store.Referenced(ref)
	s.seen[ref] = obj
	err, unread := obj.(error)
	switch {
	case errors.Is(err, objects.ErrNotRead):
		s.pending = fmt.Errorf("%s %w", ref, err)
		return nil, nil
	case unread:
		return nil, fmt.Errorf("%s %w", ref, err)
	case obj == nil:
		return nil, fmt.Errorf("there is no %s", ref)
	}
	return obj, nil
}

// unchanged reports whether all that was seen is still the same.
func unchanged(store *objects.Store, seen map[objects.Reference]any) bool {
	for ref, obj := range seen {
		if store.Referenced(ref) != obj {
			return false
		}
	}
	return true
}

func (s *secrets) secret(sel *corev1.SecretKeySelector) (string, error) {
	obj, err := s.object(objects.KindSecret, sel.Name)
	if err != nil || obj == nil {
		return "", err
	}
	if o, ok := obj.(*corev1.Secret); ok {
		if value, ok := o.Data[sel.Key]; ok {
			return string(value), nil
		}
	}
	return "", fmt.Errorf("there is no key %q in Secret %s/%s", sel.Key, s.namespace, sel.Name)
}

func (s *secrets) configMap(sel *corev1.ConfigMapKeySelector) (string, error) {
	obj, err := s.object(objects.KindConfigMap, sel.Name)
	if err != nil || obj == nil {
		return "", err
	}
	if o, ok := obj.(*corev1.ConfigMap); ok {
		if value, ok := o.Data[sel.Key]; ok {
			return value, nil
		}
	}
	return "", fmt.Errorf("there is no key %q in ConfigMap %s/%s", sel.Key, s.namespace, sel.Name)
}

// secretOrConfigMap is empty when the selector names neither.
func (s *secrets) secretOrConfigMap(sel *monitoringv1.SecretOrConfigMap) (string, error) {
	switch {
	case sel.Secret != nil:
		return s.secret(sel.Secret)
	case sel.ConfigMap != nil:
		return s.configMap(sel.ConfigMap)
	}
	return "", nil
}
