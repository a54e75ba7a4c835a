package adapter

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/promlet/promlet/adapter/explain"
	"github.com/promlet/promlet/adapter/resourcemetrics"
	"github.com/promlet/promlet/adapter/rules"
)

// The parameter explain turns a request for a metric into one for its explanation.
func TestExplainParameter(t *testing.T) {
	f := scenario(t)
	require.NoError(t, f.SetRules(rules.Set{External: []rules.Rule{aRule("queue_depth")}}))
	base := startServer(t, f) + "/apis/"
	c := client(t)
	const custom, external = "custom.metrics.k8s.io/v1beta2/", "external.metrics.k8s.io/v1beta1/"
	ask := func(path, wantObject, wantValue, wantReason string) {
		t.Helper()
		code, body := get(t, c, base+path)
		require.Equal(t, http.StatusOK, code, "%s: %s", path, body)
		var told explain.Explanation
		require.NoError(t, json.Unmarshal(body, &told), "%s: %s", path, body)
		require.Equal(t, wantObject, told.Object, path)
		require.Equal(t, wantValue, told.Value, path)
		require.Contains(t, told.Reason, wantReason, path)
		require.NotEmpty(t, told.Steps, path)
	}
	ask(custom+"namespaces/default/services/sample/http_requests?explain", "services/sample", "30", "")
	ask("custom.metrics.k8s.io/v1beta1/namespaces/default/services/sample/http_requests?explain=true", "services/sample", "30", "")
	ask(custom+"namespaces/default/deployments.apps/sample/http_requests?explain=true", "deployments.apps/sample", "30", "")
	ask(custom+"namespaces/default/pods/*/http_requests?explain=true&labelSelector=app%3Dsample", "pods", "2 values", "")
	ask(custom+"namespaces/default/pods/*/http_requests?explain=true&labelSelector=app%3Dx", "pods", "", "matches no pods")
	ask(custom+"namespaces/default/metrics/http_requests?explain=true", "namespaces/default", "30", "")
	ask(custom+"namespaces/default/services/sample/queue_depth?explain=true&metricLabelSelector=code%3D5", "services/sample", "", "matches the metric selector")
	ask(custom+"namespaces/default/widgets/x/queue_depth?explain=true", "widgets/x", "", "widgets")
	ask(custom+"nodes/none/queue_depth?explain=true", "nodes/none", "", "there is no node none")
	ask(external+"namespaces/default/m?explain=true", "external", "7", "")
	ask(external+"namespaces/default/none?explain=true", "external", "", "makes a metric called none")

	store := resourcemetrics.NewStore(resourcemetrics.Options{})
	f.again(func(o *Options) { o.Resources = store })
	usage := startServer(t, f) + "/apis/"
	for path, want := range map[string]string{
		"namespaces/default/pods/sample-1/cpu?explain=true":          `"link":"object"`,
		"namespaces/default/pods/sample-1/memory?explain=usage":      "the pod has no node yet",
		"namespaces/default/pods/sample-1/queue_depth?explain=usage": `"link":"rule"`,
		"namespaces/default/pods/*/cpu?explain=usage":                "0 of 2 have a value; sample-1 has none",
	} {
		code, body := get(t, c, usage+custom+path)
		require.Equal(t, http.StatusOK, code)
		require.Contains(t, string(body), want, path)
	}

	refused := func(path string, want int) {
		t.Helper()
		code, body := get(t, c, base+path)
		require.Equal(t, want, code, "%s: %s", path, body)
	}
	refused(custom+"namespaces/default/services/sample/http_requests?explain&labelSelector=)(", http.StatusBadRequest)
	refused(custom+"namespaces/default/services/sample/http_requests?explain&metricLabelSelector=)(", http.StatusBadRequest)
	refused(custom+"namespaces/default/pods/sample-1/cpu?explain=usage", http.StatusBadRequest) // this one serves no metrics.k8s.io
	// Elsewhere it is a parameter like others, which are ignored.
	refused(custom+"?explain", http.StatusOK)
	refused(custom+"namespaces/default/services/sample?explain", http.StatusNotFound)
	refused(external+"?explain", http.StatusOK)
}
