package main

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"
)

// asOddApp in the environment makes the test binary an application on that address
// whose metrics are as odd as the path says that they are asked for by. What it serves
// at /mixed has the name of oddAppMixed. It refuses connections to oddAppRefuse.
const (
	asOddApp     = "PROMLET_TEST_ODD_APP"
	oddAppMixed  = "PROMLET_TEST_ODD_APP_MIXED"
	oddAppRefuse = "PROMLET_TEST_ODD_APP_REFUSE"
)

// hold takes an address without listening there, so that no other process does.
func hold(address string) error {
	at, err := net.ResolveTCPAddr("tcp4", address)
	if err != nil {
		return err
	}
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	return syscall.Bind(socket, &syscall.SockaddrInet4{Port: at.Port, Addr: [4]byte(at.IP.To4())})
}

func oddApp(listen, refuse, mixed string) error {
	if refuse != "" {
		if err := hold(refuse); err != nil {
			return fmt.Errorf("hold %s: %w", refuse, err)
		}
	}
	start := time.Now()
	counter := func(name string) http.HandlerFunc {
		return exposition(func() string {
			return fmt.Sprintf("# TYPE %s counter\n%s %f\n", name, name, time.Since(start).Seconds())
		})
	}
	if mixed == "" {
		mixed = "other_things_total"
	}
	mux := http.NewServeMux()
	mux.Handle("GET /orders", counter("order_total"))
	mux.Handle("GET /jobs", counter("jobs_done_total"))
	mux.Handle("GET /mixed", counter(mixed))
	mux.Handle("GET /nan", exposition(func() string { return "temperature NaN\n" }))
	mux.Handle("GET /queue", exposition(func() string { return `queue_length{queue="orders"} 30` + "\n" }))
	mux.Handle("GET /earnings", exposition(func() string { return "# TYPE earnings gauge\nearnings 100\n" }))
	mux.Handle("GET /forged", exposition(func() string {
		return "# TYPE earnings gauge\nearnings{namespace=\"tenant-a\",service=\"shop\"} 766777402\n"
	}))
	mux.Handle("GET /garbled", exposition(func() string { return strings.Repeat("in_order 1\n", 11) + "http_requests_total one\n" }))
	mux.HandleFunc("GET /slow", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	server := &http.Server{Addr: listen, ReadHeaderTimeout: 10 * time.Second, Handler: mux}
	return serveUntilTold(server, server.ListenAndServe)
}

func exposition(text func() string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		_, _ = fmt.Fprint(w, text()) // the client may have gone
	}
}
