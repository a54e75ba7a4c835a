// Package browser clicks through promlet's pages in a headless Chromium. It is a module of its own, so that those
// who embed promlet do not inherit the browser's driver.
package browser

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

func TestPages(t *testing.T) {
	t.Parallel()
	b := newTab(t)
	p := startPromlet(t)

	b.do(chromedp.Navigate(p.web + "/"))
	b.says("would ask for 3")
	b.says("140")
	b.says("there is no service billing in namespace default")
	b.says("2 problems")
	b.says("above target")

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

	// The number of missing values links to the HPAs, and an HPA links to the reason.
	b.open("#lacking", "Autoscalers")
	require.Equal(t, "hpa-default-billing", b.eval("[...document.querySelectorAll('details.hpa[open]')].map((hpa) => hpa.id)"))
	b.open("#hpa-default-billing a[href^='/explain']", "Explain")
	require.Equal(t, "there is no service billing in namespace default", b.eval("document.querySelector('.chain .broken span').textContent"))
	// The form, which is closed, asks another question.
	b.do(chromedp.Click("#ask > summary", chromedp.NodeVisible), chromedp.SetValue("input[name=name]", "shop"), chromedp.SetValue("input[name=metric]", "http_requests"), chromedp.Submit("form.question"))
	b.says("http_requests of services/shop in namespace default is")
	b.says("of the 10s that the rule asks for")
	b.copies("sum by (service) (rate(http_requests_total")
	require.Equal(t, "shop-1,shop-2", b.eval("[...document.querySelectorAll('#pods code')].map((code) => code.textContent)"))
	b.quiet()

	b.open("nav a[href='/catalog']", "Metrics")
	b.do(chromedp.Click("details[id='offer-http_requests_total'] > summary", chromedp.NodeVisible))
	b.copies("kind: HorizontalPodAutoscaler")
	require.Equal(t, "true", b.eval("document.querySelector('details.offer[open] pre').textContent.includes('name: shop')"))
	b.open("td.served a[href*='metric=queue_depth']", "Explain")
	b.says("queue_depth of services/shop")
	b.open("nav a[href='/catalog']", "Metrics")
	b.open("td a[href='/autoscalers?q=default%2Fbilling']", "Autoscalers")
	b.says("1 of 2 autoscalers")

	// A problem links to the monitor that causes it.
	b.do(chromedp.Click("#problems > summary", chromedp.NodeVisible))
	b.open("#problems a[href*='legacy']", "Targets")
	require.Equal(t, "1", b.eval("document.querySelectorAll('article').length"))
	b.says("bearerTokenFile")
	b.quiet()

	b.open("nav a[href='/targets']", "Targets")
	b.do(chromedp.Click("input[name=bad]"), chromedp.Submit("form.filter"))
	b.eventually("location.search.includes('bad=yes') && document.querySelectorAll('tr.up').length === 0 && document.querySelectorAll('tr.down').length === 1")
	b.says("3 of 3 monitors: 0 up, 1 down, 1 monitor rejected, 1 monitor without targets")
	b.says("it selects no Pod in namespace jobs; the closest is batch-1: it wants the label app=batch, the pod has app=bacth")

	b.open("nav a[href='/configuration']", "Configuration")
	require.Equal(t, "false", b.eval("document.body.innerText.includes('--profiling')"), "what is at its default is folded")
	b.do(chromedp.Click("#defaults > summary", chromedp.NodeVisible))
	b.says("--profiling")
	b.quiet()

	for _, page := range []string{"autoscalers", "targets", "catalog", "explain", "configuration"} {
		b.do(chromedp.Navigate(p.web + "/" + page))
		b.openTwin()
		require.Equal(t, "application/json", b.eval("document.contentType"), page)
	}
	b.quiet()
}

// A page follows what happens without being loaded again, and without disturbing who reads it.
func TestPagesAreLive(t *testing.T) {
	t.Parallel()
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
	b.says("promlet does not answer. This page is as of")
	require.Equal(t, "true", b.eval("document.getElementById('lost').getBoundingClientRect().top === 0"), "a banner at the top")
	require.Equal(t, "0.45", b.eval("getComputedStyle(document.getElementById('live')).opacity"), "what is stale is dimmed")
	require.Contains(t, b.eval("document.body.innerText"), "connection refused", "what was there stays")
}

// A graph shows the value under the pointer, or the value that the arrow keys chose, also after the page is refreshed.
func TestGraphIsRead(t *testing.T) {
	t.Parallel()
	b := newTab(t)
	p := startPromlet(t)
	_, err := chromedp.Call(b.ctx, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true})
	require.NoError(t, err) // without the emulation no window would have the focus
	b.do(chromedp.Navigate(p.web + "/autoscalers"))
	const figure = "document.getElementById('graph-default-shop-0')"
	b.eventually(figure + "?.dataset.points.split(' ').length >= 2") // one of promlet's own look, and the current one
	b.eval(`(() => {
		const box = ` + figure + `.querySelector("svg").getBoundingClientRect();
		` + figure + `.dispatchEvent(new PointerEvent("pointermove", { bubbles: true, clientX: box.left, clientY: box.top }));
	})()`)
	const output = figure + ".querySelector('output').textContent"
	first := b.eval(output)
	require.Regexp(t, `^[0-9]{2}:[0-9]{2}:[0-9]{2}: [0-9]+(\.[0-9]{1,2})?, 2 replicas$`, first)
	pulse := b.eval("document.getElementById('pulse').textContent")
	b.eventually(fmt.Sprintf("document.getElementById('pulse').textContent !== %q", pulse))
	require.Equal(t, first, b.eval(output), "it stays when the page is renewed")
	b.eval("document.body.dispatchEvent(new PointerEvent('pointermove', { bubbles: true }))")
	require.Empty(t, b.eval(output))

	last, number, _ := strings.Cut(b.eval("("+figure+".focus(), "+output+" + '|' + document.querySelector('#hpa-default-shop .number').textContent)"), "|")
	require.Regexp(t, `: `+regexp.QuoteMeta(number)+`, 2 replicas$`, last, "as the page writes it")
	b.eval(figure + ".dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowLeft', bubbles: true }))")
	require.NotEqual(t, last, b.eval(output))
	b.quiet()
}

// Of 160 HPAs the broken ones come first. The others are rows that can be opened.
func TestManyAutoscalers(t *testing.T) {
	t.Parallel()
	var hpas []string
	for i := range 158 {
		service := "shop"
		if i == 157 {
			service = "nowhere"
		}
		hpas = append(hpas, fmt.Sprintf(`---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: worker-%03d}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: shop}
  maxReplicas: 10
  metrics:
  - {type: Object, object: {describedObject: {apiVersion: v1, kind: Service, name: %s}, metric: {name: http_requests}, target: {type: Value, value: "1000"}}}
`, i, service))
	}
	b := newTab(t)
	p := startPromlet(t, hpas...)
	b.do(chromedp.EmulateViewport(1280, 800), chromedp.Navigate(p.web+"/autoscalers"))
	// promlet learns which HPAs are broken from its own look, twice a minute.
	b.eventually("[...document.querySelectorAll('details.hpa')].slice(0, 3).map((hpa) => hpa.id + ' ' + hpa.open) == 'hpa-default-billing true,hpa-default-worker-157 true,hpa-default-shop false'")
	require.Equal(t, "98", b.eval("document.querySelectorAll('details.hpa:not([open])').length"))
	require.Equal(t, "true", b.eval("document.documentElement.scrollHeight < 6000"), b.eval("document.documentElement.scrollHeight"))
	b.says("160 autoscalers, 3 metrics without a value")
	b.do(chromedp.Click("#hpa-default-worker-000 > summary", chromedp.NodeVisible))
	b.eventually("document.querySelector('#hpa-default-worker-000 svg').checkVisibility()")
	b.do(chromedp.Click("input[name=bad]"), chromedp.Submit("form.filter"))
	b.eventually("location.search.includes('bad=yes') && document.querySelectorAll('details.hpa').length === 2")
	b.says("2 of 160 autoscalers")
	b.quiet()
}

// On a phone nothing is cut off, and the colours are those that the person has chosen.
func TestPagesFit(t *testing.T) {
	t.Parallel()
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
