package monitors

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// reference is a key of a Secret or ConfigMap that a monitor names.
type reference struct {
	path      string // of fields, in the monitor's type
	configMap bool
	name, key string
}

// references makes the Secrets and ConfigMaps that a monitor refers to.
func (s *surroundings) references(monitor runtime.Object) {
	secrets, configMaps := map[string]map[string]string{}, map[string]map[string]string{}
	for _, ref := range referencesOf("", reflect.ValueOf(monitor)) {
		to := secrets
		if ref.configMap {
			to = configMaps
		}
		if to[ref.name] == nil {
			to[ref.name] = map[string]string{}
		}
		to[ref.name][ref.key] = ref.content(s.choices)
	}
	for _, name := range sortedKeys(secrets) {
		o := &corev1.Secret{Data: map[string][]byte{}}
		o.Namespace, o.Name = s.own, name
		for k, v := range secrets[name] {
			o.Data[k] = []byte(v)
		}
		s.cluster.Secrets = append(s.cluster.Secrets, o)
	}
	for _, name := range sortedKeys(configMaps) {
		m := &corev1.ConfigMap{Data: configMaps[name]}
		m.Namespace, m.Name = s.own, name
		s.cluster.ConfigMaps = append(s.cluster.ConfigMaps, m)
	}
}

// content is a value that makes sense where the reference is.
func (r *reference) content(c *choices) string {
	switch {
	case strings.Contains(r.path, ".TLSConfig") && strings.Contains(r.path, ".CA"):
		return "@ca"
	case strings.Contains(r.path, ".TLSConfig") && strings.Contains(r.path, ".Cert"):
		return "@cert"
	case strings.Contains(r.path, ".KeySecret"):
		return "@key"
	}
	return fmt.Sprintf("value-%s-%d", r.key, c.intn(100))
}

// referencesOf lists the references below a value that have a name and a key.
func referencesOf(path string, v reflect.Value) []reference {
	switch x := v.Interface().(type) {
	case corev1.SecretKeySelector:
		if x.Name == "" || x.Key == "" {
			return nil
		}
		return []reference{{path: path, name: x.Name, key: x.Key}}
	case corev1.ConfigMapKeySelector:
		if x.Name == "" || x.Key == "" {
			return nil
		}
		return []reference{{path: path, configMap: true, name: x.Name, key: x.Key}}
	}
	var out []reference
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			out = referencesOf(path, v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() {
				out = append(out, referencesOf(path+"."+f.Name, v.Field(i))...)
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			out = append(out, referencesOf(path, v.Index(i))...)
		}
	case reflect.Map:
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		for _, key := range keys {
			out = append(out, referencesOf(path, v.MapIndex(key))...)
		}
	}
	return out
}
