package main

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/metrics/pkg/client/custom_metrics"
)

//go:embed pod.yaml
var podManifest string

// appName is the name of the example's Service, HorizontalPodAutoscaler and Deployment.
const appName = "sample-metrics-app"

func podName(i int) string { return fmt.Sprintf("%s-%d", appName, i+1) }

// demo is a demonstration: its flags, and what run adds.
type demo struct {
	promlet, app, manifests string // paths
	rate                    float64
	seconds, securePort     int
	web                     string // HOST:PORT

	screen   *screen
	api      string // URL of promlet's API
	client   *http.Client
	metrics  custom_metrics.MetricsInterface
	hpa      autoscalingv2.HorizontalPodAutoscaler
	loads    []*load // of the pods
	dir      string  // for promlet's files
	children *errgroup.Group
}

// run shows the demonstration until ctx ends or the seconds are over. Whatever the outcome, it leaves nothing
// running or on the disk.
func (d *demo) run(ctx context.Context) (err error) {
	if !(d.rate > 0 && d.rate <= maxRate) {
		return fmt.Errorf("--rate=%v: give a number above 0, up to %d", d.rate, maxRate)
	}
	if d.seconds > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(d.seconds)*time.Second)
		defer cancel()
	}
	secure, err := d.freeOrOther(ctx, net.JoinHostPort("127.0.0.1", strconv.Itoa(d.securePort)))
	if err != nil {
		return err
	}
	if d.web, err = d.freeOrOther(ctx, d.web); err != nil {
		return err
	}
	d.api = "https://" + secure
	if err := d.connect(); err != nil {
		return err
	}
	if d.dir, err = os.MkdirTemp("", "promlet-demo-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(d.dir)) }()

	ctx, stop := context.WithCancel(ctx)
	defer stop()
	d.children, ctx = errgroup.WithContext(ctx) // if a child ends by itself, everything does
	err = d.demonstrate(ctx)
	utilnet.CloseIdleConnectionsFor(d.client.Transport) // or the applications would wait for more on them
	stop()
	if early := d.children.Wait(); early != nil {
		return early // which explains any other error
	}
	return err
}

// freeOrOther returns the address if its port is free. Otherwise it prints so and returns another port.
func (d *demo) freeOrOther(ctx context.Context, address string) (string, error) {
	free, err := freeAddress(ctx, address)
	if !errors.Is(err, syscall.EADDRINUSE) {
		return free, err
	}
	host, port, _ := net.SplitHostPort(address) // it was parsed before
	if free, err = freeAddress(ctx, net.JoinHostPort(host, "0")); err == nil {
		d.screen.print(fmt.Sprintf("Port %s is taken: %s is used in its place.\n", port, free))
	}
	return free, err
}

// freeAddress returns an address if nobody listens on it. Port 0 means any free port.
func freeAddress(ctx context.Context, address string) (string, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	return listener.Addr().String(), listener.Close()
}

// demonstrate starts all, drives the load and shows tables until ctx ends.
func (d *demo) demonstrate(ctx context.Context) error {
	for i := range 2 {
		address, err := d.startApp(ctx, podName(i))
		if err != nil {
			return err
		}
		d.loads = append(d.loads, &load{url: "http://" + address + "/", rate: d.rate * float64(i+1) / 3})
	}
	err := d.startPromlet(ctx)
	if err != nil {
		return err
	}
	d.screen.print(d.invitation())
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, l := range d.loads {
		l.began = time.Now()
		wg.Go(func() { l.run(ctx, d.client) })
	}
	for frame := ""; ; {
		next, noValue := d.table()
		if ctx.Err() != nil { // then promlet may have ended before it answered
			d.screen.draw(frame, err == nil, true)
			return err
		}
		if frame, err = next, noValue; err != nil {
			err = fmt.Errorf("the HPA had no value: %w", err)
		}
		d.screen.draw(frame, err == nil, false)
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// startApp starts a sample application, writes the manifest of its pod, and returns its address.
func (d *demo) startApp(ctx context.Context, pod string) (string, error) {
	address, err := freeAddress(ctx, "127.0.0.1:0")
	if err == nil {
		err = d.start(ctx, d.app, "--listen-address", address)
	}
	if err != nil {
		return "", err
	}
	_, port, _ := net.SplitHostPort(address) // a listener's address has one
	if err := d.writeManifest(pod+".yaml", strings.NewReplacer("NAME", pod, "PORT", port).Replace(podManifest)); err != nil {
		return "", err
	}
	return address, d.waitReady(ctx, "http://"+address+"/healthz")
}

// startPromlet starts promlet on the pods' manifests and those of the example.
func (d *demo) startPromlet(ctx context.Context) error {
	for _, name := range []string{"service.yaml", "servicemonitor.yaml", "hpa.yaml"} {
		text, err := os.ReadFile(filepath.Join(d.manifests, name))
		if err := errors.Join(err, d.writeManifest(name, string(text))); err != nil {
			return err
		}
	}
	_, securePort, _ := net.SplitHostPort(strings.TrimPrefix(d.api, "https://")) // a listener's address has one
	err := d.start(ctx, d.promlet, "serve", "--scrape-interval=5s", "--rate-window=20s",
		"--manifests", filepath.Join(d.dir, "manifests"), "--data-dir", filepath.Join(d.dir, "data"), "--cert-dir", filepath.Join(d.dir, "certificates"),
		"--secure-port", securePort, "--web-listen-address", d.web)
	if err != nil {
		return err
	}
	return d.waitReady(ctx, d.api+"/readyz")
}

func (d *demo) writeManifest(name, text string) error {
	dir := filepath.Join(d.dir, "manifests")
	return errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
}

// start runs a program until ctx ends. If it ends by itself, the error of the children quotes its output.
func (d *demo) start(ctx context.Context, path string, args ...string) error {
	var output bytes.Buffer
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = &output, &output, childAttributes()
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second // then it is killed
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start a child: %w", err)
	}
	d.children.Go(func() error {
		_ = cmd.Wait() // ProcessState says how it ended
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("%s ended early (%s); its output:\n%s", path, cmd.ProcessState, &output)
	})
	return nil
}

// waitReady returns when a URL answers 200. It has the patience for a slow machine that compiles something meanwhile.
func (d *demo) waitReady(ctx context.Context, url string) error {
	var last error
	err := wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		last = get(ctx, d.client, url)
		return last == nil, nil
	})
	if err != nil {
		return fmt.Errorf("not ready: %w", last)
	}
	return nil
}

// invitation is what a person can try meanwhile.
func (d *demo) invitation() string {
	ends := "Ctrl-C ends it."
	if d.seconds > 0 {
		ends = fmt.Sprintf("It ends after %d seconds.", d.seconds)
	}
	return fmt.Sprintf(`promlet scrapes two applications that get %[1]g requests a second. %[5]s
Its pages: http://%[4]s/. What the HPA reads:

  curl -sk %[2]s/namespaces/default/services/%[3]s/http_requests
`, d.rate, d.api+"/apis/custom.metrics.k8s.io/v1beta1", appName, d.web, ends)
}
