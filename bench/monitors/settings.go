package monitors

import (
	"fmt"
	"reflect"
	"strings"

	commonconfig "github.com/prometheus/common/config"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/relabel"
)

// settingsOf spells out a job's configuration, but for how its targets are found
// and labelled. Secrets are spelt out too, which Prometheus's own way of printing
// a configuration does not do.
func settingsOf(cfg *config.ScrapeConfig) map[string]string {
	c := *cfg
	c.ServiceDiscoveryConfigs, c.RelabelConfigs = nil, nil
	out := map[string]string{}
	flatten("", reflect.ValueOf(c), out)
	return out
}

// flatten puts every value that is not zero into out, by its path. It looks at the
// values themselves and never at a String method, except for two types that are
// nothing but their text.
func flatten(path string, v reflect.Value, out map[string]string) {
	switch x := v.Interface().(type) {
	case relabel.Regexp:
		out[path] = x.String()
		return
	case commonconfig.URL:
		if x.URL != nil {
			out[path] = x.URL.String()
		}
		return
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			// What is pointed to counts even if it is zero.
			out[path+"*"] = "set"
			flatten(path, v.Elem(), out)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() {
				flatten(strings.TrimPrefix(path+"."+f.Name, "."), v.Field(i), out)
			}
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			at := fmt.Sprintf("%s[%d]", path, i)
			out[at] = ""
			flatten(at, v.Index(i), out)
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			flatten(fmt.Sprintf("%s[%v]", path, key), v.MapIndex(key), out)
		}
	default:
		if !v.IsZero() {
			out[path] = fmt.Sprint(plain(v))
		}
	}
}

// plain is a value without the methods of its type.
func plain(v reflect.Value) any {
	switch v.Kind() {
	case reflect.String:
		return v.String()
	case reflect.Bool:
		return v.Bool()
	case reflect.Float32, reflect.Float64:
		return v.Float()
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return v.Int()
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return v.Uint()
	}
	return v.Kind().String()
}
