package web

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/promlet/promlet/adapter/explain"
)

// The page has the result, then the steps, the query, and the pods with their values. The form is closed.
func TestExplainPage(t *testing.T) {
	opts := nothing(t)
	told := explain.Explanation{
		Metric: "http_requests", Object: "services/shop", Namespace: "default", Value: "1234500m",
		Steps: []explain.Step{{Link: explain.LinkRule, State: explain.StateOK, Text: "made by <a default rule>"}},
		Query: `sum by (service) (rate(http_requests_total{service="shop"}[2m]))`, Window: 45 * time.Second, WindowAsked: 2 * time.Minute,
		Pods: []explain.PodValue{{Pod: "shop-1", Value: "1234.5", Last: time.Now()}, {Pod: "shop-2", Reason: "no value"}}, MorePods: 1,
	}
	var asked explain.Question
	opts.Explain = func(_ context.Context, q explain.Question) (*explain.Explanation, error) {
		asked = q
		return &told, nil
	}
	page := get(t, opts, "/explain?metric=http_requests&resource=services&name=shop", http.StatusOK)
	require.True(t, asked.Pods)
	at := -1
	for _, want := range []string{
		`<details class="ask" id="ask">`, "Ask about another metric", `<p class="verdict">`, `is <b class="number">1234.5</b>`,
		`id="window">over 45s of the 2m that the rule asks for`, `<ol class="chain">`, "made by &lt;a default rule&gt;",
		`<pre>sum by (service) (rate(http_requests_total{service=&#34;shop&#34;}[2m]))</pre><button type="button" class="copy">`,
		"shop-1", "<b>1234.5</b>", "shop-2", "no value", "and 1 more pod",
	} {
		next := strings.Index(page[at+1:], want)
		require.GreaterOrEqual(t, next, 0, "%s is missing, or too early", want)
		at += 1 + next
	}
	get(t, opts, "/explain?metric=cpu&resource=no&name=n1", http.StatusOK)
	require.Empty(t, asked.Namespace, "nodes are of none")
	get(t, opts, "/explain?metric=cpu&resource=pods&name=p1", http.StatusOK)
	require.Equal(t, "default", asked.Namespace)
	told = explain.Explanation{Metric: "x", Object: "external", Reason: "no rule makes it"}
	page = get(t, opts, "/explain?metric=x&external=yes", http.StatusOK)
	require.Less(t, strings.Index(page, "has no value"), strings.Index(page, "<ol"))
	require.NotContains(t, page, "PromQL")
	require.NotContains(t, page, `id="window"`)
	page = get(t, opts, "/explain", http.StatusOK)
	require.Contains(t, page, `<details class="ask" id="ask" open>`)
	require.Contains(t, get(t, opts, "/explain?metric=x&selector=((", http.StatusOK), `id="ask" open>`, "a question that is wrong can be mended")
}
