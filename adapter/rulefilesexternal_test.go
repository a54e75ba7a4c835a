package adapter

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"
	apilabels "k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/promlet/promlet/adapter/rules"
)

// askExternal is a request "namespace/metric?series". The answer is written
// "{labels}=value@window" for each item, in order, an error "code: message".
func (f *fixture) askExternal(path string) string {
	f.t.Helper()
	path, selector, _ := strings.Cut(path, "?")
	namespace, metric, ok := strings.Cut(path, "/")
	require.True(f.t, ok, path)
	series, err := apilabels.Parse(selector)
	require.NoError(f.t, err)
	list, err := f.GetExternalMetric(f.t.Context(), namespace, series, provider.ExternalMetricInfo{Metric: metric})
	if err != nil {
		return apiError(err)
	}
	var shown []string
	for _, item := range list.Items {
		require.Equal(f.t, metric, item.MetricName)
		window := "instant"
		if item.WindowSeconds != nil {
			window = fmt.Sprintf("%ds", *item.WindowSeconds)
		}
		shown = append(shown, fmt.Sprintf("%s=%s@%s", labels.FromMap(item.MetricLabels), item.Value.String(), window))
	}
	slices.Sort(shown)
	return strings.Join(shown, " ")
}

func (f *fixture) tryExternal(log *queryLog, requests []asked) {
	f.t.Helper()
	for _, request := range requests {
		log.queries = nil
		got := f.askExternal(request.path)
		if code, part, fails := strings.Cut(request.want, " … "); fails {
			require.Equal(f.t, code+": ", got[:min(len(got), len(code)+2)], "%s: %s", request.path, got)
			require.Contains(f.t, got, part, request.path)
		} else {
			require.Equal(f.t, request.want, got, request.path)
		}
		require.Equal(f.t, request.queries, log.queries, request.path)
	}
}

// The matchers are the request's, and then the namespace unless the rule is not
// namespaced; there is nothing to group by. All labels of a result are the item's.
// No result is a 404 with the reason; there it is an empty list, which the HPA
// takes for an error as well.
func (r ruleFiles) external() {
	queues := []string{
		`queue_consumer_lag{namespace="default",name="mail",partition="0"} 3x30`,
		`queue_consumer_lag{namespace="default",name="mail",partition="1"} 4x30`,
		`queue_consumer_lag{namespace="default",name="print",partition="0"} 5x30`,
		`queue_consumer_lag{namespace="other",name="mail",partition="0"} 100x30`,
		`queue_depth{namespace="queue",name="my-sample-queue",topic="a"} 50x30`,
		`queue_depth{namespace="other",name="my-sample-queue",topic="a"} 7x30`,
	}
	r.tryExternal("docs-externalmetrics", queues,
		ask("default/queue_consumer_lag", `{name="mail"}=7@instant {name="print"}=5@instant`, `sum(queue_consumer_lag{namespace="default"}) by (name)`),
		ask("default/queue_consumer_lag?name=mail", `{name="mail"}=7@instant`, `sum(queue_consumer_lag{name="mail",namespace="default"}) by (name)`),
		ask("default/queue_consumer_lag?partition in (0,2),name!=mail", `{name="print"}=5@instant`, `sum(queue_consumer_lag{name!="mail",partition=~"0|2",namespace="default"}) by (name)`),
		ask("default/queue_consumer_lag?name=none", "404 … queue_consumer_lag", `sum(queue_consumer_lag{name="none",namespace="default"}) by (name)`),
		ask("empty/queue_consumer_lag", "404 … in namespace empty", `sum(queue_consumer_lag{namespace="empty"}) by (name)`),
		ask("default/queue_depth", `{name="my-sample-queue"}=57@instant`, `sum(queue_depth{}) by (name)`),
		ask("default/queue_depth?name=my-sample-queue,namespace=queue", `{name="my-sample-queue"}=50@instant`, `sum(queue_depth{name="my-sample-queue",namespace="queue"}) by (name)`),
		ask("default/nonsense", "404 … nonsense"),
		ask("default/queue_consumer_lag?partition>1", "404 … unsupported operator"),
	)
	// Its first rule has no label for namespaces: an error there, too (500), which
	// does not say so.
	r.tryExternal("docs-sample-config", queues,
		ask("default/queue_depth", `{name="my-sample-queue"}=57@instant`, `sum(queue_depth{}) by (name)`),
		ask("default/queue_consumer_lag", "404 … no label for namespaces"),
	)
	r.tryExternal("chart-external", []string{
		`some_metric_count{namespace="default",pod="web-1"} 5x30`,
		`some_metric_count{namespace="default",pod="web-2"} 6x30`,
	},
		ask("default/my_external_metric", "{}=11@instant", `sum(some_metric_count{namespace="default"}) by ()`),
		ask("default/my_external_metric?pod=web-1", "{}=5@instant", `sum(some_metric_count{pod="web-1",namespace="default"}) by ()`),
		ask("default/some_metric_count", "404 … some_metric_count"),
	)
	r.tryExternal("pull-146-external-rate", []string{
		`http_requests_total{namespace="default",pod="web-1"} 0+150x30`,
		`http_requests_total{namespace="default",pod="web-2"} 0+300x30`,
	},
		ask("default/http_requests_per_second", "{}=30@120s", `sum(rate(http_requests_total{namespace="default"}[2m])) by ()`),
	)
	r.tryExternal("prometheus-engine", []string{
		`logging_googleapis_com:byte_count{monitored_resource="k8s_cluster",cluster_name="a"} 0+1500x30`,
		`logging_googleapis_com:byte_count{monitored_resource="k8s_cluster",cluster_name="b"} 0+3000x30`,
	},
		ask("default/logging_googleapis_com_k8s_cluster_bytes_per_second", `{cluster_name="a"}=100@300s {cluster_name="b"}=200@300s`,
			`sum(rate(logging_googleapis_com:byte_count{monitored_resource="k8s_cluster"}[5m])) by (cluster_name)`),
	)
}

func (r ruleFiles) externalOfIssues() {
	// The query leaves the namespace out, and answers in each.
	r.tryExternal("issue-219-external-rabbitmq", []string{
		`rabbitmq_queue_messages_published_total{namespace="mq",vhost="shop",queue="image"} 0+13.5x30`,
		`rabbitmq_queue_messages_published_total{namespace="mq",vhost="shop",queue="mail"} 0+150x30`,
	},
		ask("default/rabbitmq_queue_message_rate", `{queue="image", vhost="shop"}=900m@300s {queue="mail", vhost="shop"}=10@300s`,
			`sum(rate(rabbitmq_queue_messages_published_total{queue=~".*", vhost=~".*"} [5m])) by (vhost, queue)`),
	)
	// A result that is a series as it is keeps its name among the labels.
	r.tryExternal("issue-321-external-kafka", []string{
		`kafka_brokers{namespace="default",instance="kafka:9308",job="kafka"} 3x30`,
		`kafka_consumergroup_lag{namespace="default",topic="orders",partition="0"} 40x30`,
	},
		ask("default/kafka_brokers", `{__name__="kafka_brokers", instance="kafka:9308", job="kafka", namespace="default"}=3@instant`,
			`kafka_brokers{namespace="default"}`),
		ask("default/kafka_consumergroup_lag?topic=orders", `{__name__="kafka_consumergroup_lag", namespace="default", partition="0", topic="orders"}=40@instant`,
			`kafka_consumergroup_lag{topic="orders",namespace="default"}`),
	)
	// Without a selector nothing stands before the comma.
	r.tryExternal("issue-530-external-comma", []string{`queueSize{queue="my_queue_a",host="a"} 3x30`, `queueSize{queue="my_queue_b",host="a"} 4x30`},
		ask("default/queueSize", `500 … sum(queueSize{, queue=~"my_queue_.*"}) by ()`, `sum(queueSize{, queue=~"my_queue_.*"}) by ()`),
		ask("default/queueSize?host=a", "{}=7@instant", `sum(queueSize{host="a", queue=~"my_queue_.*"}) by ()`),
	)
	r.tryExternal("issue-578-external-labels", []string{`queue_length{queue_name="xyz"} 3x30`},
		ask("default/queue_length", "404 … queue_length"),
		ask(`default/<<index .LabelValuesByName "queue_name">>_queue_length`, "404 … no label for namespaces"),
	)
	r.tryExternal("issue-690-external-series", []string{`aws_kafka_sum_offset_lag_sum{topic="orders"} 12x30`},
		ask("default/aws_kafka_sum_offset_lag_sum", `{__name__="aws_kafka_sum_offset_lag_sum", topic="orders"}=12@instant`, `aws_kafka_sum_offset_lag_sum`),
		// Its query uses no matcher: the selector counts for nothing.
		ask("other/aws_kafka_sum_offset_lag_sum?topic=none", `{__name__="aws_kafka_sum_offset_lag_sum", topic="orders"}=12@instant`, `aws_kafka_sum_offset_lag_sum`),
	)
	r.tryExternal("bjw-s-probes", []string{`probe_success{job="nfs_probe",namespace="observability"} 1x28 0 0`, `probe_success{job="other"} 0x30`},
		ask("default/probe_success?job=nfs_probe", `{job="nfs_probe", namespace="observability"}=1@60s`, `max_over_time(probe_success{job="nfs_probe"}[1m])`),
	)
}

// What the published files leave out: nothing to group by is an empty slice, and
// a scalar is an item without labels.
func TestExternalRules(t *testing.T) {
	cfg, err := parseRules([]byte(`
externalRules:
- {seriesQuery: m, name: {as: groups}, resources: {namespaced: false}, metricsQuery: 'sum(<<.Series>>) + 0 * <<len .GroupBySlice>>'}
- {seriesQuery: m, name: {as: scalar}, resources: {namespaced: false}, metricsQuery: 'scalar(sum(<<.Series>>))'}
- {seriesQuery: m, name: {as: values}, resources: {template: <<.Resource>>}, metricsQuery: 'sum(<<.Series>>{a=~"<<index .LabelValuesByName "a">>",namespace="<<index .LabelValuesByName "namespace">>"})'}
`))
	require.NoError(t, err)
	var log queryLog
	f := newFixtureWith(t, Options{Rules: rules.Set{External: cfg.ExternalRules}, Logger: slog.New(&log)})
	f.load(`m{a="x.y",namespace="default"} 3x30`, `m{a="z",namespace="default"} 4x30`)
	f.now = f.now.Add(time.Second)
	f.tryExternal(&log, []asked{
		ask("default/groups", "{}=7@instant", `sum(m) + 0 * 0`),
		ask("default/scalar", "{}=7@instant", `scalar(sum(m))`),
		ask("default/values?a in (x.y,z)", "{}=7@instant", `sum(m{a=~"x.y|z",namespace="default"})`),
	})
}
