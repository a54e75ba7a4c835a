package browser

import (
	"bytes"
	"context"
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
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// patience is the timeout of each step. A loaded machine is slow.
const patience = 2 * time.Minute

// promlet is a running promlet. Its manifests have everything that pages have to show: values, a target that is
// down, monitors that are rejected or select nothing, an HPA without a value, a file with a mistake.
type promlet struct {
	web  string // base URL
	cmd  *exec.Cmd
	done chan struct{}
}

func startPromlet(t *testing.T, more ...string) *promlet {
	t.Helper()
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
	text = append(text, strings.Join(more, "")...)
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

// binary is the program that all tests run.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "promlet-browser-")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "promlet")
	build := exec.Command("go", "-C", "../..", "build", "-ldflags", "-s -w", "-o", binary, "./cmd/promlet")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // as make builds it
	code := 1
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%v: %s\n", err, out)
	} else {
		code = m.Run()
	}
	_ = os.RemoveAll(dir) // a temporary directory
	os.Exit(code)
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
		skip(t)
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

// skip skips a test and notes that for the end of `make test`, as bench/skip does, which this module does not import.
func skip(t *testing.T) {
	t.Helper()
	const note = "The web pages in a browser: install Chromium, such as Debian's chromium"
	if path := os.Getenv("PROMLET_SKIPPED"); path != "" {
		notes, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		require.NoError(t, err)
		defer notes.Close()
		_, err = notes.WriteString(note + "\n")
		require.NoError(t, err)
	}
	t.Skip(note)
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

// copies clicks the copy button of the first visible snippet until the text is copied, or selected if the browser does
// not allow copying. More than one click may be needed: a refresh of the page puts a new button in the place of one that
// has just been clicked.
func (b *tab) copies(text string) {
	b.t.Helper()
	const shown = "[...document.querySelectorAll('.snippet')].find((snippet) => snippet.checkVisibility())"
	require.Equal(b.t, "true", b.eval(fmt.Sprintf("%s.textContent.includes(%q)", shown, text)))
	b.eventually(fmt.Sprintf(`(() => {
		const button = %s.querySelector("button");
		if (button.textContent === "Copied" || getSelection().toString().includes(%q)) return true;
		button.click();
		return false;
	})()`, shown, text))
	b.eval("getSelection().removeAllRanges()")
}

// openTwin follows the link to a page's JSON.
func (b *tab) openTwin() {
	b.t.Helper()
	b.do(chromedp.Click("#twin", chromedp.NodeVisible))
	b.eventually("document.readyState === 'complete' && location.pathname.endsWith('.json')")
}
