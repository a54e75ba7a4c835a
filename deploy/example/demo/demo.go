package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

const (
	applications = 2
	frameEvery   = time.Second
)

// demo is a running demonstration.
type demo struct {
	opts     options
	screen   *screen
	example  *example
	api      *api
	loads    []*load
	children []*child
}

// run shows the demonstration until ctx ends or the seconds are over. Whatever the outcome, nothing is left
// running or on the disk.
func run(ctx context.Context, opts options, s *screen) (err error) {
	if opts.seconds > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(opts.seconds)*time.Second)
		defer cancel()
	}
	d := &demo{opts: opts, screen: s, api: newAPI(opts.apiAddress())}
	if d.example, err = readExample(opts.manifests); err != nil {
		return fmt.Errorf("read the example: %w", err)
	}
	if err := d.checkPorts(ctx); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "promlet-demo-")
	if err != nil {
		return err
	}
	defer func() {
		for _, l := range d.loads {
			l.client.CloseIdleConnections() // or the applications would wait for more on them
		}
		d.stop()
		err = errors.Join(err, os.RemoveAll(dir))
	}()
	addresses, err := d.startApplications(ctx)
	if err != nil {
		return err
	}
	promlet, err := d.startPromlet(ctx, dir, addresses)
	if err != nil {
		return err
	}
	s.say(d.invitation())
	loading, endLoad := context.WithCancel(ctx)
	var wg sync.WaitGroup
	for _, l := range d.loads {
		wg.Go(func() { l.run(loading) })
	}
	err = d.show(ctx, promlet)
	endLoad()
	wg.Wait()
	return err
}

func (d *demo) checkPorts(ctx context.Context) error {
	return errors.Join(
		checkFree(ctx, d.opts.apiAddress(), "SECURE_PORT"),
		checkFree(ctx, d.opts.web, "WEB_PORT"),
	)
}

// startApplications starts the sample applications and returns their addresses.
func (d *demo) startApplications(ctx context.Context) ([]string, error) {
	addresses, err := freeAddresses(ctx, applications)
	if err != nil {
		return nil, err
	}
	rates := shares(d.opts.rate, applications)
	for i, address := range addresses {
		app, err := d.start(ctx, fmt.Sprintf("sample application %d", i+1), d.opts.app, "--listen-address", address)
		if err != nil {
			return nil, err
		}
		l := newLoad("http://"+address+"/", rates[i])
		err = app.waitReady(ctx, func(ctx context.Context) error { return healthy(ctx, l.client, l.url+"healthz") })
		if err != nil {
			return nil, err
		}
		d.loads = append(d.loads, l)
	}
	return addresses, nil
}

func healthy(ctx context.Context, client *http.Client, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", url, resp.Status)
	}
	return errors.Join(err, resp.Body.Close())
}

// startPromlet writes the manifests and starts promlet on them.
func (d *demo) startPromlet(ctx context.Context, dir string, addresses []string) (*child, error) {
	manifests := filepath.Join(dir, "manifests")
	if err := os.Mkdir(manifests, 0o700); err != nil {
		return nil, err
	}
	if err := d.example.write(manifests, d.opts.manifests, addresses); err != nil {
		return nil, err
	}
	promlet, err := d.start(ctx, "promlet", d.opts.promlet, "serve",
		"--manifests", manifests, "--data-dir", filepath.Join(dir, "data"), "--cert-dir", filepath.Join(dir, "certificates"),
		"--secure-port", fmt.Sprint(d.opts.securePort), "--web-listen-address", d.opts.web,
		"--scrape-interval", d.opts.interval.String(), "--rate-window", d.opts.window.String())
	if err != nil {
		return nil, err
	}
	return promlet, promlet.waitReady(ctx, d.api.ready)
}

func (d *demo) start(ctx context.Context, name, path string, args ...string) (*child, error) {
	c, err := start(ctx, name, path, args...)
	if err == nil {
		d.children = append(d.children, c)
	}
	return c, err
}

// stop ends the children, the last started first.
func (d *demo) stop() {
	for i := len(d.children) - 1; i >= 0; i-- {
		d.children[i].stop()
	}
}

// invitation is what a person can try meanwhile.
func (d *demo) invitation() string {
	namespace := d.example.hpa.Namespace
	var urls []string
	for _, m := range d.example.hpa.Spec.Metrics {
		if o := m.Object; o != nil {
			urls = append(urls, metricURL(d.api.base, "v1beta1", namespace, resourceOf(o.DescribedObject)+"/"+o.DescribedObject.Name, o.Metric.Name, selectorOf(o.Metric)))
		}
	}
	urls = append(urls,
		metricURL(d.api.base, "v1beta1", namespace, "pods/*", loadMetric, ""),
		d.api.base+"/apis/custom.metrics.k8s.io/v1beta1")
	var b strings.Builder
	fmt.Fprintf(&b, "promlet scrapes two sample applications, at which %g requests a second are driven. Try in another terminal:\n\n", d.opts.rate)
	for _, u := range urls {
		fmt.Fprintf(&b, "  curl -sk '%s'\n", u)
	}
	fmt.Fprintf(&b, "\nor look at http://%s/. ", d.opts.web)
	if d.opts.seconds > 0 {
		fmt.Fprintf(&b, "It ends after %d seconds.\n\n", d.opts.seconds)
	} else {
		b.WriteString("Ctrl-C ends it.\n\n")
	}
	return b.String()
}

// show draws frame after frame until ctx ends, and then says how it went.
func (d *demo) show(ctx context.Context, promlet *child) error {
	ticker := time.NewTicker(frameEvery)
	defer ticker.Stop()
	for {
		frame := d.poll(ctx)
		if ctx.Err() != nil {
			return d.finish()
		}
		now := time.Now()
		d.screen.draw(render(frame, now), missing(frame) == nil, false, now)
		select {
		case <-ctx.Done():
			return d.finish()
		case <-promlet.done:
			return promlet.early()
		case <-d.children[0].done:
			return d.children[0].early()
		case <-d.children[1].done:
			return d.children[1].early()
		case <-ticker.C:
		}
	}
}

// finish asks once more, now that ctx has ended, and returns which metric of the HPA was not served.
func (d *demo) finish() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	rows := d.poll(ctx)
	d.screen.draw(render(rows, time.Now()), true, true, time.Now())
	return missing(rows)
}

// missing is the reason why the HPA could not scale: the first of its metrics without a value.
func missing(rows []row) error {
	scales := false
	for _, r := range rows {
		if r.scales && r.err != nil {
			return fmt.Errorf("%s %s was not served: %w", r.object, r.metric, r.err)
		}
		scales = scales || r.scales
	}
	if !scales {
		return errors.New("the HorizontalPodAutoscaler has no Object or Pods metric")
	}
	return nil
}
