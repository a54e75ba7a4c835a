package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// childEnv makes the test binary stand in for promlet and for the sample application, well-behaved or not.
const childEnv = "PROMLET_DEMO_TEST_CHILD"

func TestMain(m *testing.M) {
	if behaviour := os.Getenv(childEnv); behaviour != "" {
		os.Exit(beChild(behaviour, os.Args[1:]))
	}
	goleak.VerifyTestMain(m)
}

func beChild(behaviour string, args []string) (status int) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	role := "app"
	if args[0] == "serve" {
		role, args = "promlet", args[1:]
	}
	if behaviour == "stubborn" {
		signal.Ignore(syscall.SIGTERM)
		fmt.Println("here")
		time.Sleep(time.Minute)
	}
	flags := flag.NewFlagSet(role, flag.ExitOnError)
	address := flags.String("listen-address", "", "")
	port := flags.String("secure-port", "", "")
	manifests := flags.String("manifests", "", "")
	for _, name := range []string{"data-dir", "cert-dir", "web-listen-address", "scrape-interval", "rate-window"} {
		flags.String(name, "", "")
	}
	if err := flags.Parse(args); err != nil {
		panic(err)
	}
	if behaviour == role+" exits" {
		fmt.Println("it is", "too early")
		return 3
	}
	server := httptest.NewUnstartedServer(fakeApplication())
	if role == "promlet" {
		*address = "127.0.0.1:" + *port
		server = httptest.NewUnstartedServer(fakePromlet(behaviour))
		fmt.Println("manifests in", *manifests)
	}
	listener, err := net.Listen("tcp", *address)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	if err := server.Listener.Close(); err != nil {
		panic(err)
	}
	server.Listener = listener
	if role == "promlet" {
		server.StartTLS()
	} else {
		server.Start()
	}
	if behaviour == role+" exits late" {
		time.AfterFunc(1500*time.Millisecond, func() { fmt.Println("out of memory"); os.Exit(4) })
	}
	<-ctx.Done()
	server.Close()
	return 0
}

func fakeApplication() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintln(w, "hello") })
}

// fakePromlet answers for the Service and two pods, as promlet does, or not at all.
func fakePromlet(behaviour string) http.Handler {
	const base = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/"
	item := func(kind, name, value string) map[string]any {
		return map[string]any{
			"describedObject": map[string]any{"kind": kind, "namespace": "default", "name": name, "apiVersion": "v1"},
			"metric":          map[string]any{"name": "http_requests", "selector": nil},
			"timestamp":       time.Now().UTC().Format(time.RFC3339), "windowSeconds": 1, "value": value,
		}
	}
	list := func(w http.ResponseWriter, items ...map[string]any) {
		_ = json.NewEncoder(w).Encode(map[string]any{"kind": "MetricValueList", "apiVersion": "custom.metrics.k8s.io/v1beta2", "items": items})
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, "ok") })
	if behaviour == "serves nothing" {
		mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusNotFound)
			_ = json.NewEncoder(w).Encode(map[string]any{"kind": "Status", "message": "no monitor selects it"})
		})
		return mux
	}
	mux.HandleFunc(base+"services/sample-metrics-app/http_requests", func(w http.ResponseWriter, _ *http.Request) {
		list(w, item("Service", "sample-metrics-app", "149600m"))
	})
	mux.HandleFunc(base+"pods/*/http_requests", func(w http.ResponseWriter, _ *http.Request) {
		list(w, item("Pod", "sample-metrics-app-2", "99800m"), item("Pod", "sample-metrics-app-1", "49800m"))
	})
	mux.HandleFunc(base+"services/several/http_requests", func(w http.ResponseWriter, _ *http.Request) {
		list(w, item("Service", "a", "1"), item("Service", "b", "1"))
	})
	mux.HandleFunc(base+"deployments.apps/sample/queue", func(w http.ResponseWriter, r *http.Request) {
		if got := r.URL.Query().Get("metricLabelSelector"); got != "tenant=a" {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = fmt.Fprint(w, strings.Repeat(got, 2), "\nsecond line")
			return
		}
		instant := item("Deployment", "sample", "7")
		delete(instant, "windowSeconds")
		list(w, instant)
	})
	mux.HandleFunc(base+"pods/*/garbage", func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, "<html>") })
	mux.HandleFunc(base+"pods/*/none", func(w http.ResponseWriter, _ *http.Request) { list(w) })
	return mux
}
