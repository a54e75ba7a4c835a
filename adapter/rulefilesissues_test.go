package adapter

// Configurations from issue threads and public repositories.
func (r ruleFiles) ofIngressesAndMeshes() {
	r.try("issue-153-istio-requests", []string{
		`istio_request_bytes_sum{destination_service_namespace="default",destination_service_name="web",response_code="200"} 0+1500x30`,
		`istio_request_bytes_sum{destination_service_namespace="other",destination_service_name="web",response_code="200"} 0+3000x30`,
	},
		ask("default/services/web/istio_request_bytes_sum??response_code=200", "web=100@60s",
			`sum(rate(istio_request_bytes_sum{response_code="200",destination_service_namespace="default",destination_service_name="web"}[1m])) by (destination_service_name)`),
	)
	r.try("istio-p90", []string{
		`istio_requests_total{reporter="destination",destination_service_namespace="default",destination_service_name="web",response_code="200"} 0+150x30`,
		`istio_requests_total{reporter="destination",destination_service_namespace="default",destination_service_name="web",response_code="503"} 0+150x30`,
		`istio_requests_total{reporter="source",destination_service_namespace="default",destination_service_name="web",response_code="200"} 0+150x30`,
		`istio_request_duration_seconds_bucket{reporter="destination",destination_service_namespace="default",destination_service_name="web",le="0.1"} 0+90x30`,
		`istio_request_duration_seconds_bucket{reporter="destination",destination_service_namespace="default",destination_service_name="web",le="0.5"} 0+100x30`,
		`istio_request_duration_seconds_bucket{reporter="destination",destination_service_namespace="default",destination_service_name="web",le="+Inf"} 0+100x30`,
	},
		ask("default/services/web/istio_requests_per_second", "web=10@300s",
			`round(sum(irate(istio_requests_total{reporter="destination",destination_service_namespace="default",destination_service_name="web",response_code!~"5.*"}[5m])) by (destination_service_name), 0.001)`),
		ask("default/services/web/istio_request_duration_seconds_p90", "web=100m@60s",
			`histogram_quantile(0.90, sum(rate(istio_request_duration_seconds_bucket{reporter="destination",destination_service_namespace="default",destination_service_name="web",response_code!~"5.*"}[1m])) by (le,destination_service_name))`),
		// It groups by the Service whatever is asked for: the result names no namespace.
		ask("/namespaces/default/istio_requests_per_second", "404 … could not find the metric istio_requests_per_second for namespaces default",
			`round(sum(irate(istio_requests_total{reporter="destination",destination_service_namespace="default",response_code!~"5.*"}[5m])) by (destination_service_name), 0.001)`),
	)
	// Both reporters count, as the rule says it.
	r.try("issue-279-istio-reporter", []string{
		`istio_requests_total{reporter="destination",namespace="default",pod="web-1"} 0+150x30`,
		`istio_requests_total{reporter="source",namespace="default",pod="web-1"} 0+150x30`,
	},
		ask("default/pods/web-1/istio_requests_rate", "web-1=20@60s",
			`sum(rate(istio_requests_total{namespace="default",pod="web-1"}[1m])) by (pod)`),
		ask("default/pods/web-1/istio_requests_rate??reporter=destination", "web-1=10@60s",
			`sum(rate(istio_requests_total{reporter="destination",namespace="default",pod="web-1"}[1m])) by (pod)`),
	)
	// The override is asked by although the template takes the label namespace.
	r.try("issue-186-nginx-ingress", []string{
		`nginx_ingress_controller_requests{namespace="ingress-nginx",exported_namespace="default",ingress="web",service="web",status="200"} 7x30`,
		`nginx_ingress_controller_requests{namespace="ingress-nginx",exported_namespace="default",ingress="web",service="web",status="404"} 8x30`,
	},
		ask("default/ingresses.networking.k8s.io/web/nginx_ingress_controller_requests", "web=15@instant",
			`sum(nginx_ingress_controller_requests{exported_namespace="default",ingress="web"}) by (ingress)`),
		ask("default/services/web/nginx_ingress_controller_requests??status=404", "web=8@instant",
			`sum(nginx_ingress_controller_requests{status="404",exported_namespace="default",service="web"}) by (service)`),
	)
	r.try("issue-493-nginx-rate", []string{
		`nginx_ingress_controller_requests{namespace="default",ingress="web",service="web"} 0+1x30`,
	},
		ask("default/services/web/nginx_ingress_controller_requests_rate", "web=67m@60s",
			`round(sum(rate(nginx_ingress_controller_requests{namespace="default",service="web"}[1m])) by (service), 0.001)`),
		ask("default/ingresses.networking.k8s.io/web/nginx_ingress_controller_requests_rate", "web=67m@60s",
			`round(sum(rate(nginx_ingress_controller_requests{namespace="default",ingress="web"}[1m])) by (ingress), 0.001)`),
	)
}

// Queries that leave out some of what the template offers.
func (r ruleFiles) withLiteralQueries() {
	// Neither label of an object survives: a list of nothing, as there.
	r.try("issue-174-histogram-quantile", []string{
		`caddy_http_request_duration_seconds_bucket{namespace="default",pod="web-1",le="0.1"} 0+95x30`,
		`caddy_http_request_duration_seconds_bucket{namespace="default",pod="web-1",le="+Inf"} 0+100x30`,
	},
		ask("default/pods/*/caddy_http_request_duration_seconds_95p", "",
			`histogram_quantile(0.95, sum(irate(caddy_http_request_duration_seconds_bucket{namespace="default",pod=~"web-1|web-2"}[1m])) by (le))`),
		ask("default/pods/web-1/caddy_http_request_duration_seconds_95p", "404 … could not find the metric caddy_http_request_duration_seconds_95p for pods web-1",
			`histogram_quantile(0.95, sum(irate(caddy_http_request_duration_seconds_bucket{namespace="default",pod="web-1"}[1m])) by (le))`),
	)
	r.try("issue-180-node-exporter", []string{
		`node_load1{job="kubernetes-service-endpoints",system_name="node-1"} 2x30`,
		`node_load1{job="kubernetes-service-endpoints",system_name="node-gone"} 3x30`,
		`node_load5{job="other",system_name="node-1"} 1x30`,
	},
		ask("/nodes/*/load1", "node-1=2@30s", `avg_over_time(node_load1[30s])`),
		ask("/nodes/node-1/load1", "node-1=2@30s", `avg_over_time(node_load1[30s])`),
		ask("/nodes/node-1/load5", "404 … node_load5 has no series that rules[0] selects"),
	)
	r.try("issue-345-division", []string{
		`redis_queue_length_workers{namespace="default"} 12x30`,
		`celery_workers{namespace="default"} 4x30`,
	},
		ask("/namespaces/default/foo_k", "default=3@instant", `redis_queue_length_workers / celery_workers`),
	)
	r.try("issue-347-queues", []string{
		`mail_queue_length{namespace="default",queue="a"} 12x30`,
		`mail_queue{namespace="default",queue="a"} 12x30`,
	},
		ask("/namespaces/default/mail_queue_length", "404 … could not find the metric mail_queue_length for namespaces default", `max(mail_queue_length{namespace="default"})`),
		ask("/namespaces/default/mail_queue", "404 … could not find the metric mail_queue for namespaces default", `max(mail_queue{namespace="default"})`),
	)
	r.try("issue-568-literal", []string{
		`kube_pod_status_ready{namespace="default",pod="metrics-server-1",condition="true"} 1x30`,
		`kube_pod_status_ready{namespace="default",pod="metrics-server-2",condition="true"} 1x30`,
		`kube_pod_status_ready{namespace="default",pod="web-1",condition="true"} 1x30`,
	},
		ask("default/pods/*/test", "", `sum(kube_pod_status_ready{pod=~"metrics-server.*",condition="true"})by(pod)`),
		ask("/namespaces/default/test", "default=2@instant", `sum(kube_pod_status_ready{pod=~"metrics-server.*",condition="true"})by(namespace)`),
		// It is not about the pods of web, which the series names as well.
		ask("default/deployments.apps/web/test", "404 … keeps no label deployment: aggregate by (<<.GroupBy>>)", `sum(kube_pod_status_ready{pod=~"metrics-server.*",condition="true"})by(deployment)`),
	)
	r.try("issue-375-join", []string{
		`kube_deployment_labels{namespace="default",label_app="web",label_celeryQueueName="mail"} 1x30`,
		`rabbitmq_queue_messages{queue="mail"} 5x30`,
	},
		// There it is a metric of no deployment, for the series of seriesQuery names none.
		ask("default/deployments.apps/web/celery_queue_messages", "web=5@instant",
			`label_replace( kube_deployment_labels{label_celeryQueueName=~".+", label_app!~".*-apm-.*"}, "queue", "$1", "label_celeryQueueName", "(.+)" ) * on (queue) group_right (label_app, namespace) rabbitmq_queue_messages`),
	)
}

func (r ruleFiles) ofPodsAndWorkloads() {
	r.try("deprecation-notice", []string{
		`container_cpu_usage_seconds_total{namespace="default",team="default",pod="web-1",container="app",microservice="web"} 0+3x30`,
		`container_cpu_usage_seconds_total{namespace="other",team="default",pod="web-2",container="app",microservice="web"} 0+3x30`,
	},
		// Of the labels that it reads by name the request sets neither: no value there, and none here.
		ask("default/deployments.apps/web/cpu_usage_per_second", "404 … could not find the metric cpu_usage_per_second for deployments.apps web",
			"sum(\n  rate(\n    container_cpu_usage_seconds_total{\n      team=\"default\",microservice=\"web\",\n      pod=~\"\",\n      namespace=\"\"\n    }[2m]\n  )\n) by (microservice\n)\n"),
	)
	// Without a label for namespaces; with one, the same Service's counts by that.
	r.try("issue-311-outside-the-cluster", []string{
		`api_request_count{servname="gateway",instance="192.0.2.1:80"} 0+150x30`,
		`api_request_count{servname="orders",namespace="default"} 0+150x30`,
	},
		ask("default/statefulsets.apps/orders/api_request_per_second", "orders=10@30s",
			`sum(rate(api_request_count{namespace="default",servname="orders"}[30s])) by (servname)`),
		ask("default/statefulsets.apps/gateway/api_request_per_second", "404 … could not find the metric api_request_per_second for statefulsets.apps gateway",
			`sum(rate(api_request_count{namespace="default",servname="gateway"}[30s])) by (servname)`),
	)
	r.try("kube-prometheus-1551", []string{
		`container_network_transmit_bytes_total{id="/kubepods/a",namespace="default",pod="web-1",interface="eth0"} 0+1500x30`,
		`container_network_transmit_bytes_total{id="/kubepods/b",namespace="default",pod="web-2",interface="eth0"} 0+3000x30`,
	},
		ask("default/pods/*/container_network_transmit_bytes_per_second", "web-1=100@120s web-2=200@120s",
			`sum(rate(container_network_transmit_bytes_total{id=~".*.*",namespace="default",pod=~"web-1|web-2"}[2m])) by (pod)`),
	)
	r.try("prometheus-engine", []string{
		`http_requests_total{namespace="default",pod="web-1",code="200"} 0+150x30`,
		`http_requests_total{namespace="default",pod="web-1",code="500"} 0+15x30`,
	},
		ask("default/pods/*/http_requests_per_second", "web-1=11@300s",
			`sum(rate(http_requests_total{namespace="default",pod=~"web-1|web-2"}[5m])) by (pod)`),
	)
	r.try("vllm", []string{
		`vllm:num_requests_running{namespace="default",pod="web-1",model_name="llama"} 3x30`,
		`vllm:num_requests_running{namespace="default",pod="web-1",model_name="gemma"} 2x30`,
		`dcgm_fi_dev_gpu_util_relabelled{namespace="default",pod="web-1"} 91x30`,
	},
		ask("default/pods/web-1/vllm_num_requests_running", "web-1=5@instant",
			`sum(vllm:num_requests_running{namespace="default",pod="web-1"}) by (pod)`),
		ask("default/pods/*/gpu_utilization_percent", "web-1=91@instant",
			`sum(dcgm_fi_dev_gpu_util_relabelled{namespace="default",pod=~"web-1|web-2"}) by (pod)`),
	)
	r.try("dcgm-average", []string{
		`DCGM_FI_DEV_GPU_UTIL{exported_namespace="default",exported_pod="web-1",exported_container="web",namespace="gpu",pod="dcgm-a",gpu="0"} 90 91 90 91 90 91 90 91`,
		`DCGM_FI_DEV_GPU_UTIL{exported_namespace="default",exported_pod="web-2",exported_container="web",namespace="gpu",pod="dcgm-b",gpu="0"} 20x7`,
	},
		ask("default/pods/*/DCGM_FI_DEV_GPU_UTIL_AVG", "web-1=91@60s web-2=20@60s",
			`ceil(avg_over_time(DCGM_FI_DEV_GPU_UTIL{exported_namespace="default",exported_pod=~"web-1|web-2"}[60s]))`),
		// Two pods, and nothing that adds them up: there the last one is the value.
		ask("default/services/web/DCGM_FI_DEV_GPU_UTIL_AVG", "500 … gives several samples for exported_container \"web\"",
			`ceil(avg_over_time(DCGM_FI_DEV_GPU_UTIL{exported_namespace="default",exported_container="web"}[60s]))`),
	)
}

// A join answers for an object that only one of its sides names.
func (r ruleFiles) withJoins() {
	r.try("codefresh", []string{
		`kube_service_info{namespace="default",service="cf-cfapi"} 1x70`,
		`kube_deployment_spec_replicas{namespace="default",deployment="cf-cfapi-base"} 4x70`,
		`nginx_ingress_controller_requests{namespace="default",service="cf-cfapi",status="200"} 0+150x70`,
		`nginx_ingress_controller_requests{namespace="default",service="cf-cfapi",status="404"} 0+150x70`,
		`kube_deployment_labels{namespace="default",deployment="cf-cfapi-base",label_app="cf-cfapi"} 1x70`,
		`container_cpu_user_seconds_total{namespace="default",job="kubelet",container="cf-cfapi",pod="a"} 0+3x70`,
		`container_cpu_user_seconds_total{namespace="default",job="kubelet",container="cf-cfapi",pod="b"} 0+6x70`,
		`container_memory_working_set_bytes{namespace="default",job="kubelet",container="cf-cfapi",pod="a"} 1000x70`,
		`container_memory_working_set_bytes{namespace="default",job="kubelet",container="cf-cfapi",pod="b"} 3000x70`,
	},
		ask("default/services/cf-cfapi/requests_per_pod", "cf-cfapi=5@120s", `kube_service_info{namespace="default",service="cf-cfapi"} * on() group_right(service)
  (sum(rate(nginx_ingress_controller_requests{namespace="default",service="cf-cfapi"}[2m]))
    / on() kube_deployment_spec_replicas{deployment='cf-cfapi-base',namespace='default'})
`),
		ask("default/deployments.apps/cf-cfapi-base/cpu_usage_avg", "cf-cfapi-base=300m@900s", `kube_deployment_labels{namespace="default",deployment="cf-cfapi-base"} * on(label_app) group_right(deployment)
  (label_replace(
    avg by (container) (rate(container_cpu_user_seconds_total{container=~"cf-(tasker-kubernetes|cfapi.*|pipeline-manager.*)", job="kubelet", namespace='default'}[15m]))
  , "label_app", "$1", "container", "(.*)"))
`),
		ask("default/deployments.apps/cf-cfapi-base/memory_working_set_bytes_avg", "cf-cfapi-base=2k@900s", `kube_deployment_labels{namespace="default",deployment="cf-cfapi-base"} * on(label_app) group_right(deployment)
  (label_replace(
    avg by (container) (avg_over_time (container_memory_working_set_bytes{container=~"cf-.*", job="kubelet", namespace='default'}[15m]))
  , "label_app", "$1", "container", "(.*)"))
  
`),
	)
}

func (r ruleFiles) ofOddities() {
	r.try("oddities", []string{
		`app_jobs_total{namespace="default",pod="web-1"} 0+150x30`,
		`app_bytes_sum{namespace="default",pod="web-1"} 0+1500x30`,
		`app_internal_jobs_total{namespace="default",pod="web-1"} 0+150x30`,
		`app_jobs_count{namespace="default",pod="web-1"} 0+150x30`,
		`queue_depth{namespace="default",app="web",queue="a"} 3x29 2`,
		`queue_depth{namespace="other",app="web",queue="a"} 5x30`,
	},
		ask("default/pods/web-1/total_of_jobs", "web-1=10@60s",
			`sum(rate({__name__=~"^app_jobs_total$",namespace="default",pod="web-1",}[1m])) by (pod,)`),
		ask("default/pods/web-1/sum_of_bytes", "web-1=100@60s",
			`sum(rate({__name__=~"^app_bytes_sum$",namespace="default",pod="web-1",}[1m])) by (pod,)`),
		ask("default/pods/web-1/total_of_internal_jobs", "404 … no series has been collected that a rule serves under that name"),
		ask("default/deployments.apps/web/worst_queue", "web=3@60s",
			`max(max_over_time(queue_depth{namespace="default",app="web"}[1m])) by (app)`),
		ask("/namespaces/default/worst_queue", "default=3@60s",
			`max(max_over_time(queue_depth{namespace="default"}[1m])) by (namespace)`),
	)
}
