package web

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/promlet/promlet/adapter/autoscalers"
	"github.com/promlet/promlet/adapter/explain"
)

func TestAutoscalersPage(t *testing.T) {
	opts := nothing(t)
	now := time.Now()
	v := int64(140_010)
	all := []autoscalers.Autoscaler{{
		Namespace: "default", Name: "shop", Target: "Deployment/shop", Min: 2, Max: 10, Replicas: 2, Asks: 3,
		Metrics: []autoscalers.Metric{
			{
				Metric: "http_requests", Object: "services/shop", Value: &v, Target: 100_000, Asks: 3, Last: now, Window: 2 * time.Minute,
				Question: explain.Question{Metric: "http_requests", Namespace: "default", Name: "shop", Object: schema.GroupResource{Resource: "services"}},
				History:  []autoscalers.Point{{At: now.Add(-30 * time.Minute), Milli: 50_000}, {At: now.Add(-time.Minute), Milli: 120_000}},
			},
			{Metric: "queue<b>", Object: "pods", Target: 15_000, Average: true, Reason: "no monitor selects it", Question: explain.Question{Metric: "queue<b>", Namespace: "default", External: true}},
			{Metric: "cpu", Object: "resource", Reason: "metrics-server's, not promlet's"},
		},
	}}
	opts.Autoscalers = func(ctx context.Context, filter func(string, string) bool) ([]autoscalers.Autoscaler, error) {
		return listing(all)(ctx, filter)
	}
	page := get(t, opts, "/autoscalers", http.StatusOK)
	for _, want := range []string{
		"140.01", "of 100<", "would ask for <b class=\"asks\">3</b>", "over 2m,", `<figure class="graph" id="graph-default-shop-0" tabindex="0"`,
		"least 50, greatest 140.01", "target 100<", "above target", `href="/autoscalers?bad=yes">1 metric without a value</a>, 1 above target`, "no monitor selects it", "a pod", "queue&lt;b&gt;",
		"/explain?metric=http_requests&amp;name=shop&amp;namespace=default&amp;resource=services",
		"/explain?external=yes&amp;metric=queue%3Cb%3E&amp;namespace=default", "metrics-server&#39;s",
	} {
		require.Contains(t, page, want)
	}
	var twin struct {
		Autoscalers []autoscalers.Autoscaler `json:"autoscalers"`
		Lacking     int                      `json:"lacking"`
	}
	require.NoError(t, json.Unmarshal([]byte(get(t, opts, "/autoscalers.json", http.StatusOK)), &twin))
	require.Equal(t, 1, twin.Lacking)
	require.Equal(t, v, *twin.Autoscalers[0].Metrics[0].Value)

	all[0].Stuck = "two <HPAs> have these pods"
	page = get(t, opts, "/autoscalers", http.StatusOK)
	require.Contains(t, page, "does not scale")
	require.Contains(t, page, "two &lt;HPAs&gt; have these pods")
	require.NotContains(t, page, "would ask for", "it would not")

	for i := range 250 {
		all = append(all, autoscalers.Autoscaler{Namespace: "many", Name: fmt.Sprintf("hpa-%03d", i)})
	}
	page = get(t, opts, "/autoscalers?q=MANY/&from=100", http.StatusOK)
	require.Contains(t, page, "101–200 of 250")
	require.Contains(t, page, "from=200&amp;q=MANY%2F")
	require.Equal(t, 100, strings.Count(page, "<details class=\"card hpa\""))
	require.Contains(t, get(t, opts, "/autoscalers?from=5000", http.StatusOK), "1–100 of 251", "there are not so many any more")
}

// Metrics of metrics.k8s.io have their units.
func TestAutoscalersOfResources(t *testing.T) {
	opts := nothing(t)
	now := time.Now()
	percent, cores, bytes := int64(120_000), int64(250), int64(200<<20*1000)
	question := explain.Question{Metric: "cpu", Namespace: "default", Name: "shop-1", Object: schema.GroupResource{Resource: "pods"}, Usage: true}
	opts.Autoscalers = listing([]autoscalers.Autoscaler{{
		Namespace: "default", Name: "shop", Target: "Deployment/shop", Min: 2, Max: 10, Replicas: 2, Asks: 4,
		Metrics: []autoscalers.Metric{
			{Metric: "cpu", Object: "pods", Unit: autoscalers.UnitPercent, Value: &percent, Target: 60_000, Asks: 4, Last: now, Window: 15 * time.Second, Pods: 2, With: 2, Question: question},
			{Metric: "cpu", Object: "container web", Unit: autoscalers.UnitCores, Value: &cores, Target: 500, Average: true, Last: now, Pods: 2, With: 2, Question: question},
			{Metric: "memory", Object: "pods", Unit: autoscalers.UnitBytes, Value: &bytes, Target: 1 << 30 * 1000, Average: true, Last: now, Pods: 2, With: 2, Question: question},
		},
	}})
	page := get(t, opts, "/autoscalers", http.StatusOK)
	for _, want := range []string{
		`<b class="number">120%</b> <small>of 60%</small> <span class="tag warn">above target</span>`, `data-unit="percent"`, "least 120%, greatest 120%", ">target 60%<",
		"container web", `<b class="number">250m</b> <small>of 500m a pod</small>`, `<b class="number">200Mi</b> <small>of 1024Mi a pod</small>`,
		"cpu 120% of 60%, cpu 250m of 500m, and 1 metric", "/explain?metric=cpu&amp;name=shop-1&amp;namespace=default&amp;resource=pods&amp;usage=yes",
	} {
		require.Contains(t, page, want)
	}
}

// listing lists HPAs as autoscalers.Autoscalers.List does.
func listing(all []autoscalers.Autoscaler) func(context.Context, func(string, string) bool) ([]autoscalers.Autoscaler, error) {
	return func(_ context.Context, filter func(string, string) bool) (shown []autoscalers.Autoscaler, err error) {
		for _, a := range all {
			if filter(a.Namespace, a.Name) {
				shown = append(shown, a)
			}
		}
		return shown, nil
	}
}

// fleet has 160 HPAs: number 120 without a value, number 130 stuck, number 140 above its target, the others healthy.
func fleet() (all []autoscalers.Autoscaler) {
	value := func(milli int64) *int64 { return &milli }
	for i := range 160 {
		a := autoscalers.Autoscaler{
			Namespace: "team", Name: fmt.Sprintf("hpa-%03d", i), Target: "Deployment/x", Min: 1, Max: 9, Replicas: 2, Asks: 2,
			Metrics: []autoscalers.Metric{{Metric: fmt.Sprintf("queue_%d", i%40), Object: "pods", Value: value(40_000), Target: 50_000, Average: true}},
		}
		switch i {
		case 120:
			a.Metrics[0].Value, a.Metrics[0].Reason = nil, "no monitor selects it"
		case 130:
			a.Stuck = "two HPAs have these pods"
		case 140:
			a.Metrics[0].Value, a.Asks = value(60_000), 3
		}
		all = append(all, a)
	}
	return all
}

// Broken HPAs come first and are open. A healthy HPA is a row that can be opened. A view evaluates only the HPAs of its page.
func TestManyAutoscalers(t *testing.T) {
	opts, all := nothing(t), fleet()
	var evaluated int
	opts.Autoscalers = func(ctx context.Context, filter func(string, string) bool) ([]autoscalers.Autoscaler, error) {
		found, err := listing(all)(ctx, filter)
		evaluated += len(found)
		return found, err
	}
	opts.LastAutoscalers = func() []autoscalers.Autoscaler { return all }
	shown := func(path string) (names []string, page string) {
		t.Helper()
		page = get(t, opts, path, http.StatusOK)
		for _, found := range regexp.MustCompile(`id="hpa-team-hpa-([0-9]+)"( open)?`).FindAllStringSubmatch(page, -1) {
			names = append(names, found[1]+found[2])
		}
		return names, page
	}
	names, page := shown("/autoscalers")
	require.Equal(t, []string{"120 open", "130 open", "140", "000", "001"}, names[:5])
	require.Len(t, names, 100)
	require.Equal(t, 100, evaluated, "no more than a page")
	for _, want := range []string{
		"160 autoscalers", `href="/autoscalers?bad=yes">1 metric without a value</a>, 1 above target`, `<span class="tag fail">no value</span>`,
		`<span class="tag fail">does not scale</span>`, `<span class="tag warn">above target</span>`, `<span class="tag good">ok</span>`,
		`<span class="row">queue_20 60 of 50</span>`, "2 → 3",
	} {
		require.Contains(t, page, want)
	}
	names, page = shown("/autoscalers?from=100")
	require.Len(t, names, 60)
	require.Contains(t, page, "1 metric without a value", "those on the other page count")
	require.NotContains(t, page, " open>")

	names, page = shown("/autoscalers?bad=yes")
	require.Equal(t, []string{"120 open", "130 open"}, names)
	require.Contains(t, page, "2 of 160 autoscalers")
	require.Contains(t, page, `name="bad" value="yes" checked`)
	names, _ = shown("/autoscalers?q=queue_7")
	require.Equal(t, []string{"007 open", "047 open", "087 open", "127 open"}, names, "by metric; a few are shown whole")

	// An HPA that has become healthy since the last look is not among the problems.
	before := fleet()
	opts.LastAutoscalers = func() []autoscalers.Autoscaler { return before }
	all[120].Metrics[0].Value = all[0].Metrics[0].Value
	names, _ = shown("/autoscalers?bad=yes")
	require.Equal(t, []string{"130 open"}, names)
	all[130].Stuck = ""
	_, page = shown("/autoscalers?bad=yes")
	require.Contains(t, page, "No HorizontalPodAutoscaler has a problem.")
	_, page = shown("/autoscalers?bad=yes&q=team")
	require.Contains(t, page, "No HorizontalPodAutoscaler with “team” in its name or metrics has a problem.")

	// A new HPA is not in the last look.
	all = append(all, autoscalers.Autoscaler{Namespace: "team", Name: "hpa-999"})
	names, _ = shown("/autoscalers")
	require.Contains(t, names, "999")
}

func TestRowOfAnAutoscaler(t *testing.T) {
	value := int64(1500)
	m := autoscalers.Metric{Metric: "depth", Object: "pods", Value: &value, Target: 2000}
	lacking, cpu := autoscalers.Metric{Metric: "lag", Object: "external"}, autoscalers.Metric{Metric: "cpu", Object: "resource"}
	f := func(row string, want tag, a autoscalers.Autoscaler) {
		t.Helper()
		shown := autoscaler{Autoscaler: a}
		require.Equal(t, row, shown.Row())
		require.Equal(t, want, shown.Tag())
	}
	f("depth 1.5 of 2", tag{"good", "ok"}, autoscalers.Autoscaler{Metrics: []autoscalers.Metric{m, cpu}})
	f("depth 1.5 of 2, lag has no value", tag{"fail", "1 of 2 without a value"}, autoscalers.Autoscaler{Metrics: []autoscalers.Metric{m, lacking, cpu}})
	f("depth 1.5 of 2, depth 1.5 of 2, and 1 metric", tag{"good", "ok"}, autoscalers.Autoscaler{Metrics: []autoscalers.Metric{m, m, m}})
	some := m
	some.With, some.Pods = 1, 2
	f("depth 1.5 of 2", tag{"warn", "pods without a value"}, autoscalers.Autoscaler{Metrics: []autoscalers.Metric{some}})
	f("", tag{"", "at zero"}, autoscalers.Autoscaler{AtZero: true})
}
