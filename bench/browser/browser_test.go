// Package browser clicks through promlet's pages in a headless Chromium. It is a module of its own, so that those
// who embed promlet do not inherit the browser's driver.
package browser

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// patience is how long anything may take on a loaded machine.
const patience = 2 * time.Minute

// promlet is one that runs on manifests with everything in them that pages have to show: values, a target that is
// down, a monitor that is rejected, an HPA without a value, a file with a mistake.
type promlet struct {
	web  string // base URL
	cmd  *exec.Cmd
	done chan struct{}
}

func startPromlet(t *testing.T) *promlet {
	t.Helper()
	binary := build(t)
	start := time.Now()
	exporter := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		fmt.Fprintf(w, "# HELP http_requests_total Requests served.\n# TYPE http_requests_total counter\nhttp_requests_total %f\n", 140*time.Since(start).Seconds())
		fmt.Fprint(w, "# HELP queue_depth Orders <waiting>.\n# TYPE queue_depth gauge\nqueue_depth 7\n# TYPE unread gauge\nunread 1\n")
	}))
	t.Cleanup(exporter.Close)
	text, err := os.ReadFile("testdata/cluster.yaml")
	require.NoError(t, err)
	manifests := t.TempDir()
	_, up, err := net.SplitHostPort(exporter.Listener.Addr().String())
	require.NoError(t, err)
	replacer := strings.NewReplacer("PORT_UP", up, "PORT_DOWN", freePort(t))
	require.NoError(t, os.WriteFile(filepath.Join(manifests, "cluster.yaml"), []byte(replacer.Replace(string(text))), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(manifests, "bad.yaml"), []byte("apiVersion: v1\nkind: Service\nmetadata: {name: bad, surname: x}\n"), 0o600))

	p := &promlet{done: make(chan struct{})}
	web := "127.0.0.1:" + freePort(t)
	p.web = "http://" + web
	p.cmd = exec.CommandContext(context.WithoutCancel(t.Context()), binary, "serve", "--manifests", manifests, "--data-dir", t.TempDir(),
		"--scrape-interval=1s", "--rate-window=10s", "--secure-port", freePort(t), "--web-listen-address", web)
	var output bytes.Buffer
	p.cmd.Stdout, p.cmd.Stderr = &output, &output
	require.NoError(t, p.cmd.Start())
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait() // it is killed
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("log of promlet:\n%s", &output)
		}
	})
	require.Eventually(t, func() bool {
		resp, err := http.Get(p.web + "/-/ready")
		return err == nil && resp.Body.Close() == nil && resp.StatusCode == http.StatusOK
	}, patience, 100*time.Millisecond)
	return p
}

// build makes the program; the build cache has it after the first time.
func build(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "promlet")
	build := exec.CommandContext(t.Context(), "go", "-C", "../..", "build", "-ldflags", "-s -w", "-o", binary, "./cmd/promlet")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // as make builds it
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return binary
}

func (p *promlet) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.done
}

func freePort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	require.NoError(t, err)
	return port
}

// tab is a tab of a browser, and what its console has said that is wrong.
type tab struct {
	t   *testing.T
	ctx context.Context
	mu  sync.Mutex
	bad []string
}

func newTab(t *testing.T) *tab {
	t.Helper()
	path := chromium()
	if path == "" {
		if os.Getenv("CI") != "" {
			t.Fatal("there is no Chromium")
		}
		t.Skip("there is no Chromium: install one, such as Debian's chromium")
	}
	// Without a sandbox, because root has none; it loads nothing but promlet's pages.
	ctx, cancel := chromedp.NewContext(context.WithoutCancel(t.Context()), chromedp.WithAllocatorOptions(chromedp.ExecPath(path), chromedp.NoSandbox))
	t.Cleanup(cancel)
	b := &tab{t: t, ctx: ctx}
	require.NoError(t, chromedp.Listen(ctx, b.listen))
	_, err := chromedp.Call(ctx, log.Enable, cdp.Empty{})
	require.NoError(t, err)
	return b
}

// chromium is the path of one, empty when there is none.
func chromium() string {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

func (b *tab) listen(event any) {
	text := ""
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		text = e.ExceptionDetails.Text + " " + e.ExceptionDetails.Exception.Description
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning {
			text = fmt.Sprintf("console.%s: %s", e.Type, e.Args[0].Value)
		}
	case *log.EventEntryAdded: // among them what the page may not load, by its Content-Security-Policy
		if e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning {
			text = e.Entry.Text + " " + e.Entry.URL
		}
	}
	if text != "" {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.bad = append(b.bad, text)
	}
}

func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	require.NoError(b.t, chromedp.Do(ctx, steps...))
}

// eval evaluates JavaScript, as a text.
func (b *tab) eval(js string) string {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string]("String("+js+")"))
	require.NoError(b.t, err, js)
	return text
}

// eventually waits until JavaScript is true, also in another document.
func (b *tab) eventually(js string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	for {
		// A document that is being replaced answers with an error.
		text, err := chromedp.Run(ctx, chromedp.Evaluate[string]("String("+js+")"))
		if err == nil && text == "true" {
			return
		}
		select {
		case <-ctx.Done():
			b.t.Fatalf("%s: %s, %v; the page says:\n%s", js, text, err, b.eval("document.body.innerText"))
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// open follows a link, as a person clicks on it, to a page with a heading.
func (b *tab) open(link, heading string) {
	b.t.Helper()
	b.do(chromedp.Click(link, chromedp.NodeVisible))
	b.eventually(fmt.Sprintf("document.readyState === 'complete' && document.querySelector('h1')?.textContent === %q", heading))
}

func (b *tab) quiet() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	require.Empty(b.t, b.bad, "the console must be quiet")
}

// says waits until the page says something.
func (b *tab) says(text string) {
	b.t.Helper()
	b.eventually(fmt.Sprintf("document.body.innerText.includes(%q)", text))
}

func TestPages(t *testing.T) {
	b := newTab(t)
	p := startPromlet(t)

	b.do(chromedp.Navigate(p.web + "/"))
	b.says("would ask for 3")
	b.says("140")
	b.says("there is no service billing in namespace default")
	b.says("2 problems")
	require.NotEmpty(t, b.eval("document.querySelector('svg.spark path').getAttribute('d')"))

	for _, page := range []struct{ link, heading, says string }{
		{"nav a[href='/targets']", "Targets", "connection refused"},
		{"nav a[href='/catalog']", "Metrics", "Orders <waiting>."},
		{"nav a[href='/configuration']", "Configuration", "--scrape-interval"},
		{"nav a[href='/explain']", "Explain", "Name a metric"},
		{"a.brand", "Autoscalers", "http_requests"},
	} {
		b.open(page.link, page.heading)
		b.says(page.says)
		b.quiet()
	}

	// From a value that is missing to why.
	b.open("#hpa-default-billing a[href^='/explain']", "Explain")
	require.Equal(t, "there is no service billing in namespace default", b.eval("document.querySelector('.chain .broken span').textContent"))
	// Another question, by the form.
	b.do(chromedp.SetValue("input[name=name]", "shop"), chromedp.SetValue("input[name=metric]", "http_requests"), chromedp.Submit("form.question"))
	b.says("http_requests of services/shop in namespace default is")
	b.quiet()

	b.open("nav a[href='/targets']", "Targets")
	b.do(chromedp.Click("input[name=bad]"), chromedp.Submit("form.filter"))
	b.eventually("location.search.includes('bad=yes') && document.querySelectorAll('tr.up').length === 0 && document.querySelectorAll('tr.down').length === 1")

	for _, page := range []string{"autoscalers", "targets", "catalog", "explain", "configuration"} {
		b.do(chromedp.Navigate(p.web + "/" + page))
		b.openTwin()
		require.Equal(t, "application/json", b.eval("document.contentType"), page)
	}
	b.quiet()
}

// openTwin follows the link to a page's JSON.
func (b *tab) openTwin() {
	b.t.Helper()
	b.do(chromedp.Click("#twin", chromedp.NodeVisible))
	b.eventually("document.readyState === 'complete' && location.pathname.endsWith('.json')")
}

// A page follows what happens without being loaded again, and without disturbing who reads it.
func TestPagesAreLive(t *testing.T) {
	b := newTab(t)
	p := startPromlet(t)
	b.do(chromedp.Navigate(p.web + "/targets"))
	b.says("connection refused")
	b.do(chromedp.Click("tr.up summary", chromedp.NodeVisible), chromedp.SendKeys("input[name=q]", "typed"))
	b.eval("window.sameDocument = true")
	b.says("before relabelling")
	before := b.eval("document.getElementById('pulse').textContent")
	ago := b.eval("document.querySelector('tr.up td[data-label=\"Last scrape\"]').textContent")
	b.eventually(fmt.Sprintf("document.getElementById('pulse').textContent !== %q && document.querySelector('tr.up td[data-label=\"Last scrape\"]').textContent !== %q", before, ago))
	require.Equal(t, "true true typed", b.eval("window.sameDocument + ' ' + document.querySelector('tr.up details').open + ' ' + document.querySelector('input[name=q]').value"))
	b.quiet()

	p.kill()
	b.says("promlet does not answer, as of")
	require.Contains(t, b.eval("document.body.innerText"), "connection refused", "what was there stays")
}

// On a phone nothing is cut off, and the colours are those that the person has chosen.
func TestPagesFit(t *testing.T) {
	b := newTab(t)
	p := startPromlet(t)
	shots := os.Getenv("PROMLET_SCREENSHOTS") // a directory to put pictures into
	for _, scheme := range []string{"light", "dark"} {
		media := []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}
		for name, width := range map[string]int64{"phone": 360, "desk": 1280} {
			b.do(chromedp.EmulateViewport(width, 800))
			_, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: media})
			require.NoError(t, err)
			for _, page := range []string{"autoscalers", "targets", "catalog", "explain?metric=http_requests&resource=services&name=shop", "configuration"} {
				b.do(chromedp.Navigate(p.web + "/" + page))
				b.eventually("document.readyState === 'complete'")
				require.Equal(t, "true", b.eval("document.documentElement.scrollWidth <= window.innerWidth"), "%s is wider than a %s", page, name)
				dark := b.eval("getComputedStyle(document.body).backgroundColor")
				require.Equal(t, scheme == "dark", dark == "rgb(22, 20, 18)", dark)
				if shots != "" {
					picture, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
					require.NoError(t, err)
					title, _, _ := strings.Cut(page, "?")
					require.NoError(t, os.WriteFile(filepath.Join(shots, fmt.Sprintf("%s-%s-%s.png", title, name, scheme)), picture, 0o600))
				}
			}
		}
	}
	b.quiet()
}

// The listener finds what is wrong: a test of the others.
func TestConsoleIsHeard(t *testing.T) {
	b := newTab(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, "<script>console.error('one'); missing.two()</script><img src=/three.png>")
	}))
	t.Cleanup(server.Close)
	b.do(chromedp.Navigate(server.URL))
	require.Eventually(t, func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return strings.Contains(errors.Join(errorsOf(b.bad)...).Error(), "missing")
	}, patience, 10*time.Millisecond)
}

func errorsOf(texts []string) (errs []error) {
	for _, text := range append(texts, "") {
		errs = append(errs, errors.New(text))
	}
	return errs
}
