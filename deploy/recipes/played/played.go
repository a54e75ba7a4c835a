// Package played plays the programs that the recipes are for, for tests: their metrics look as the real ones do.
package played

import (
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Program is what a recipe expects in the cluster: pods behind a Service. What each pod exposes is in testdata/RECIPE.txt.
type Program struct {
	Namespace, Service string
	Labels             string // of the Service and of its pods, in YAML without braces
	Port, Path         string
	Token              string // the Secret with the token that they want, which is its name
	Pods               []string
	Also               []string  // Services and pods in default that the body names
	Want               []float64 // values of the HPA's metrics, in turn: of a Pods metric the average over the pods
}

// Programs returns the program of each recipe.
func Programs() map[string]Program {
	programs := map[string]Program{
		"vllm": {
			Service: "vllm", Labels: "app: vllm", Port: "http", Path: "/metrics", Pods: []string{"vllm-0", "vllm-1"},
			Want: []float64{12, 0.8714},
		},
		"rabbitmq": {
			Service: "rabbitmq", Labels: "app.kubernetes.io/component: rabbitmq", Port: "prometheus", Path: "/metrics/detailed?family=queue_coarse_metrics",
			Pods: []string{"rabbitmq-server-0"}, Want: []float64{124},
		},
		"kafka-lag": {
			Service: "kafka-exporter", Labels: "app: prometheus-kafka-exporter", Port: "exporter-port", Path: "/metrics", Pods: []string{"kafka-exporter-0"},
			Want: []float64{4000},
		},
		"ingress-nginx": {
			Namespace: "ingress-nginx", Service: "ingress-nginx-controller-metrics", Port: "metrics", Path: "/metrics",
			Labels: "app.kubernetes.io/name: ingress-nginx, app.kubernetes.io/component: controller",
			Pods:   []string{"ingress-nginx-controller-0", "ingress-nginx-controller-1"}, Also: []string{"Service/shop"}, Want: []float64{64},
		},
		"scale-to-zero": {
			Service: "redis-exporter", Labels: "app.kubernetes.io/name: prometheus-redis-exporter", Port: "redis-exporter", Path: "/metrics",
			Pods: []string{"redis-exporter-0"}, Want: []float64{37},
		},
		"triton": {
			Service: "triton", Labels: "app: triton", Port: "metrics", Path: "/metrics", Pods: []string{"triton-0", "triton-1"}, Want: []float64{6.5},
		},
		"istio": {
			Service: "shop", Labels: "security.istio.io/tlsMode: istio", Port: "http-envoy-prom", Path: "/stats/prometheus",
			Pods: []string{"shop-0", "shop-1"}, Want: []float64{42},
		},
		"spring-boot": {
			Service: "spring-boot", Labels: "app: spring-boot", Port: "http", Path: "/actuator/prometheus", Pods: []string{"spring-boot-0", "spring-boot-1"},
			Want: []float64{30, 42},
		},
		"dcgm": {
			Namespace: "gpu-operator", Service: "nvidia-dcgm-exporter", Labels: "app: nvidia-dcgm-exporter", Port: "gpu-metrics", Path: "/metrics",
			Pods: []string{"nvidia-dcgm-exporter-0"}, Also: []string{"Pod/trainer-0", "Pod/trainer-1"}, Want: []float64{60}, // of 87 and 33
		},
		"dotnet": {
			Service: "dotnet", Labels: "app: dotnet", Port: "http", Path: "/metrics", Pods: []string{"dotnet-0", "dotnet-1"}, Want: []float64{20},
		},
		"node": {
			Service: "node-app", Labels: "app: node-app", Port: "http", Path: "/metrics", Pods: []string{"node-app-0", "node-app-1"}, Want: []float64{0.1326, 60},
		},
		"python": {
			Service: "python-app", Labels: "app: python-app", Port: "http", Path: "/metrics", Pods: []string{"python-app-0", "python-app-1"}, Want: []float64{30, 6},
		},
		"llm-d": {
			Service: "llm-pool-epp", Labels: "app.kubernetes.io/name: llm-pool-epp", Port: "http-metrics", Path: "/metrics", Token: "inference-gateway-sa-metrics-reader-secret",
			Pods: []string{"llm-pool-epp-0"}, Want: []float64{15, 58},
		},
	}
	for name, p := range programs {
		if p.Namespace == "" {
			p.Namespace = "default"
			programs[name] = p
		}
	}
	return programs
}

// rising is a counter's value in a body: how much it rises in a second.
var rising = regexp.MustCompile(`(?m) ([0-9.]+)/s$`)

// Handler serves a body as a pod of the program does. It reads the body for each request.
func (p Program) Handler(body func() ([]byte, error)) http.Handler {
	start := time.Now()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RequestURI() != p.Path {
			http.NotFound(w, r)
			return
		}
		if p.Token != "" && r.Header.Get("Authorization") != "Bearer "+p.Token {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		data, err := body()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		if strings.HasSuffix(string(data), "# EOF\n") {
			w.Header().Set("Content-Type", "application/openmetrics-text; version=1.0.0; charset=utf-8")
		}
		text := rising.ReplaceAllStringFunc(string(data), func(s string) string {
			rate, _ := strconv.ParseFloat(strings.TrimSuffix(s[1:], "/s"), 64) // the pattern takes nothing else
			return " " + strconv.FormatFloat(1000+rate*time.Since(start).Seconds(), 'f', -1, 64)
		})
		_, _ = w.Write([]byte(text)) // a scrape that fails is tried again
	})
}
