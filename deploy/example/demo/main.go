// Command demo is the driver of `make run`: it starts two sample applications and promlet on loopback, drives
// a steady load at the applications, and shows what promlet answers to a HorizontalPodAutoscaler.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
)

// maxRate is what two applications and a driver on the same small machine can take.
const maxRate = 5000

func main() {
	// On Linux, a child ends with the thread that started it. This one lasts as long as the demo.
	runtime.LockOSThread()
	d := &demo{screen: newScreen(os.Stdout)}
	flag.StringVar(&d.promlet, "promlet", "bin/promlet", "path of promlet")
	flag.StringVar(&d.app, "app", "bin/sample-metrics-app", "path of the sample application")
	flag.StringVar(&d.manifests, "manifests", "deploy/example", "directory with service.yaml, servicemonitor.yaml and hpa.yaml")
	// At 150, and a target of 100, the HPA would waver between 3 and 4 replicas.
	flag.Float64Var(&d.rate, "rate", 140, fmt.Sprintf("requests per second at both applications together, up to %d; the second gets twice as many as the first", maxRate))
	flag.IntVar(&d.seconds, "seconds", 0, "seconds to run; 0 is until interrupted")
	flag.IntVar(&d.securePort, "secure-port", 6443, "port of promlet's API on 127.0.0.1")
	flag.StringVar(&d.web, "web-listen-address", "127.0.0.1:9090", "HOST:PORT of promlet's web pages")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := d.run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}
