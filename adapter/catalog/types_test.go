package catalog

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/promlet/promlet/adapter/objects"
	"github.com/promlet/promlet/adapter/rules"
)

// Each job is NAMESPACE:TYPE, "" for one that may write any namespace, and exposes the name.
func TestTypesInNamespaces(t *testing.T) {
	f := func(jobs string, want map[string]model.MetricType) {
		t.Helper()
		var exposed []Exposed
		for job := range strings.FieldsSeq(jobs) {
			only, typ, _ := strings.Cut(job, ":")
			exposed = append(exposed, Exposed{Name: "requests", Type: model.MetricType(typ), Only: only}, Exposed{Name: "other", Type: model.MetricTypeGauge, Only: only})
		}
		for range 2 { // the order of the jobs makes no difference
			types := newTypeTable(exposed)
			for namespace, typ := range want {
				require.Equal(t, typ, types.of("requests", namespace), "%s in %q", jobs, namespace)
				require.Equal(t, model.MetricTypeGauge, types.of("other", namespace))
			}
			require.NotContains(t, types.differing, "other", "what agrees takes no more memory")
			exposed = append(exposed[len(exposed)/2:], exposed[:len(exposed)/2]...)
		}
	}
	const counter, gauge, unknown = model.MetricTypeCounter, model.MetricTypeGauge, model.MetricTypeUnknown
	f("a:counter b:counter", map[string]model.MetricType{"": counter, "a": counter, "b": counter})
	f("a:counter b:gauge", map[string]model.MetricType{"": unknown, "a": counter, "b": gauge, "c": ""})
	f("a:counter a:counter b:gauge b:summary b:gauge", map[string]model.MetricType{"": unknown, "a": counter, "b": unknown})
	f("a:counter b:unknown", map[string]model.MetricType{"": unknown, "a": counter, "b": unknown})
	f("a:counter :counter b:gauge", map[string]model.MetricType{"": unknown, "a": counter, "b": unknown, "c": counter})
	f("a:counter :gauge", map[string]model.MetricType{"": unknown, "a": unknown, "c": gauge})
	f(":counter :gauge", map[string]model.MetricType{"": unknown, "a": unknown})
}

// Requests about other namespaces do not try a tenant's thousand spellings of a metric's name.
func TestNamesOfOneNamespace(t *testing.T) {
	types := newTypeTable([]Exposed{
		{Name: "http.requests", Only: "b"}, {Name: "http-requests", Only: "a"}, {Name: "http-requests", Only: "b"}, {Name: "http requests"}, {Name: "http_requests", Only: "b"},
	})
	f := func(series, namespace string, want bool) {
		t.Helper()
		compiled, _, err := rules.Set{}.Compile(objects.NewKinds(nil, time.Now))
		require.NoError(t, err)
		require.Equal(t, want, types.holds(Mapping{compiled[2], series}, namespace), "%s in %q", series, namespace)
	}
	f("http.requests", "b", true)
	f("http.requests", "a", false)
	f("http.requests", "", true)
	f("http-requests", "a", true)
	f("http requests", "a", true)
	f("http_requests", "a", true)
	require.NotContains(t, types.only, "http_requests", "most names take no memory")
}
