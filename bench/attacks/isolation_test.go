package attacks

import (
	"fmt"
	"math"
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A tenant who may write monitors says that its series are another namespace's, in each way that there is, and asks for
// another namespace's series.
func TestIsolation(t *testing.T) {
	t.Parallel()
	s := start(t, "--enforce-namespace-label", "--ignore-namespace-selectors")
	const forged = "# TYPE http_requests_total counter\nhttp_requests_total{namespace=\"shop\",service=\"app\",pod=\"app-0\",container=\"forged\"} %s\n# TYPE queue_depth gauge\nqueue_depth{namespace=\"shop\",service=\"app\",pod=\"app-0\",container=\"forged\"} 1000000\n"
	serve := exposing(func(int) string { return replaceValue(forged) })
	const set = "[{targetLabel: namespace, replacement: shop}, {targetLabel: service, replacement: app}, {targetLabel: pod, replacement: app-0}]"
	for name, endpoint := range map[string]string{
		"honored":   ", honorLabels: true",
		"relabeled": ", relabelings: " + set,
		"changed":   ", metricRelabelings: " + set,
		"all":       ", honorLabels: true, relabelings: " + set + ", metricRelabelings: " + set,
	} {
		s.deploy(app{namespace: tenant, name: name, addresses: s.listen(1, serve), endpoint: endpoint}, "http_requests", "queue_depth")
	}
	// The shop's pods, as the tenant's.
	s.apply("copying", `apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata: {name: copying, namespace: `+tenant+`}
spec: {selector: {matchLabels: {app: app}}, namespaceSelector: {any: true}, endpoints: [{port: web, metricRelabelings: [{targetLabel: namespace, replacement: `+tenant+`}]}]}
`)
	// The attacker exposes a metric of the shop with another type. By its name it would not be a counter.
	began := time.Now()
	s.deploy(app{namespace: "shop", name: "till", addresses: s.listen(1, exposing(func(int) string {
		now := time.Now().Truncate(time.Millisecond)
		return fmt.Sprintf("# TYPE orders counter\norders %f %d\n", podRate*now.Sub(began).Seconds(), now.UnixMilli())
	}))}, "orders")
	rightOrders := func(got float64) error {
		if math.Abs(got-podRate) > accuracy*podRate {
			return fmt.Errorf("it is %g, and answered is %g", podRate, got)
		}
		return nil
	}
	s.eventually("shop/services/till/orders", rightOrders)
	s.deploy(app{namespace: tenant, name: "typed", addresses: s.listen(1, exposing(func(int) string { return "# TYPE orders gauge\norders 1000000\n" }))}, "orders")
	s.eventually(tenant+"/services/typed/orders", equal(1000000))
	s.endure("forged namespaces", 12*time.Second)
	orders, err := valueOf(s.metric("shop/services/till/orders"))
	require.NoError(t, err)
	require.NoError(t, rightOrders(orders), "by a type that another namespace says")
	_, body, err := s.get("http://" + s.web + "/api/v1/query?query=" + url.QueryEscape(`queue_depth{namespace="`+tenant+`"} == 7`))
	require.NoError(t, err)
	require.Contains(t, body, `"result":[]`, "what was copied")
	s.end()
}

// replaceValue puts a counter that rises by a million a second into a body.
func replaceValue(body string) string {
	return fmt.Sprintf(body, strconv.FormatInt(time.Now().UnixMilli()*1000, 10))
}
