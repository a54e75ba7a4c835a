package adapter

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/promlet/promlet/adapter/objects"
	"github.com/promlet/promlet/adapter/rules"
)

// New rules are in force at once; wrong ones change nothing.
func TestSetRules(t *testing.T) {
	f := scenario(t)
	require.Equal(t, "sample=30@120s", f.ask("default/services/sample/http_requests"))
	require.NotEmpty(t, f.ListAllMetrics())
	require.NoError(t, f.SetRules(rules.Set{Custom: []rules.Rule{aRule("queue_depth")}, External: []rules.Rule{aRule("queue_depth")}, Keep: []string{"kept"}}))
	require.Contains(t, f.ask("default/services/sample/http_requests"), "404: ")
	require.Equal(t, "sample-1=3@instant sample-2=4@instant", f.ask("default/pods/*/m"))
	require.Equal(t, "{}=7@instant", f.askExternal("default/m"))
	require.Equal(t, []provider.ExternalMetricInfo{{Metric: "m"}}, f.ListAllExternalMetrics())
	require.Len(t, f.ListAllMetrics(), 2)
	require.Equal(t, []string{"kept"}, f.wanted("kept", "else"))

	err := f.SetRules(rules.Set{Custom: []rules.Rule{aRule("queue_depth"), aRule("x", func(r *rules.Rule) { r.SeriesFilters = []rules.Filter{{}} })}})
	require.ErrorContains(t, err, "rules[1]: seriesFilters[0]: give exactly one of is and isNot")
	require.Equal(t, "sample-1=3@instant sample-2=4@instant", f.ask("default/pods/*/m"))
	require.Equal(t, []string{"kept"}, f.wanted("kept", "else"))
	require.NoError(t, f.SetRules(rules.Set{}))
	require.Equal(t, "sample=30@120s", f.ask("default/services/sample/http_requests"))
}

// An override may name a resource whose CRD is installed later.
func TestOverridesOfCustomResources(t *testing.T) {
	mapper, ok := objects.BuiltinMapper().(*meta.DefaultRESTMapper)
	require.True(t, ok)
	widget := aRule("queue_depth", func(r *rules.Rule) {
		r.Resources.Overrides["service"] = rules.GroupResource{Group: "example.com", Resource: "widget"}
	})
	f := scenario(t)
	f.again(func(o *Options) { o.Mapper, o.Rules = mapper, rules.Set{Custom: []rules.Rule{widget}} })
	require.Contains(t, f.ask("default/widgets.example.com/sample/m"), "404: ")
	mapper.Add(schema.GroupVersionKind{Group: "example.com", Version: "v1", Kind: "Widget"}, meta.RESTScopeNamespace)
	require.Equal(t, "sample=7@instant", f.ask("default/widgets.example.com/sample/m"))
}

// What rules make twice of the series that there are is told, an example of each pair.
func TestShadowed(t *testing.T) {
	f := scenario(t)
	require.Empty(t, f.Shadowed())
	f.now = f.now.Add(10 * time.Second)
	f.append("http_requests", "sample-1", 1)
	f.append("queue_depth_total", "sample-1", 1)
	require.Equal(t, []string{"http_requests is made by default rule 4 of http_requests_total and by default rule 3 of http_requests: the former answers where it can"}, f.Shadowed())
}
