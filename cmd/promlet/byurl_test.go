package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// engineOf serves a Prometheus HTTP API in which the pod app-1 has gauges with one value each. While it is broken, it
// answers 500 with a text that no caller may see.
func engineOf(t *testing.T, value string, broken *atomic.Bool, gauges ...string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked := r.FormValue("query") + r.FormValue("match[]")
		known := ""
		for _, name := range gauges {
			if strings.Contains(asked, name) {
				known = name
			}
		}
		switch {
		case broken.Load():
			w.WriteHeader(http.StatusInternalServerError)
			fmt.Fprint(w, "s3cr3t body")
		case strings.HasSuffix(r.URL.Path, "/__name__/values"):
			fmt.Fprintf(w, `{"status":"success","data":["%s"]}`, strings.Join(gauges, `","`))
		case strings.HasSuffix(r.URL.Path, "/labels") && known != "":
			fmt.Fprint(w, `{"status":"success","data":["__name__","namespace","pod"]}`)
		case strings.HasSuffix(r.URL.Path, "/query") && strings.Contains(asked, "app-1") && known != "":
			fmt.Fprintf(w, `{"status":"success","data":{"resultType":"vector","result":[{"metric":{"pod":"app-1","namespace":"default"},"value":[%d,"%s"]}]}}`, time.Now().Unix(), value)
		case strings.HasSuffix(r.URL.Path, "/query"):
			fmt.Fprint(w, `{"status":"success","data":{"resultType":"vector","result":[]}}`)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// The arguments of prometheus-adapter's Helm chart start promlet, which answers from the engine and scrapes nothing.
func TestByURLWithTheArgumentsOfTheChart(t *testing.T) {
	manifests := t.TempDir()
	scraped := atomic.Bool{}
	writeManifests(t, manifests, map[string]string{"app-1": exporter(t, func(http.ResponseWriter, *http.Request) { scraped.Store(true) })})
	var broken atomic.Bool
	url := engineOf(t, "5", &broken, "queue_depth")
	rules := filepath.Join(t.TempDir(), "config.yaml")
	require.NoError(t, os.WriteFile(rules, []byte("rules:\n"+gaugeRule("depth")+gaugeRule("unmatched")+"  seriesFilters: [{is: nothing}]\n"), 0o600))
	at := strings.Replace(url, "http://", "http://me:s3cr3t@", 1)
	temporary := t.TempDir()
	p := startPromlet(t, []string{"TMPDIR=" + temporary}, "--manifests", manifests, "--cert-dir="+t.TempDir(), "--logtostderr=true", "--prometheus-url="+at,
		"--metrics-relist-interval=1s", "--v=4", "--config="+rules)
	p.eventually("pods/*/depth", "app-1=5")
	p.eventually("services/app/depth", "app=5")
	got, _ := p.metric("pods/app-1/dept")
	require.Contains(t, got, "no rule makes a metric called dept of the series of "+url+" (closest metric: depth)")
	p.eventuallyOn("/", "rules[1]")
	require.Contains(t, p.page("/explain?metric=depth&resource=pods&name=app-1&namespace=default"), `sum(queue_depth{namespace="default",pod="app-1"}) by (pod) returns 1 result from `+url)
	require.NotContains(t, p.page("/configuration"), "s3cr3t")
	require.False(t, scraped.Load(), "nothing is scraped")

	broken.Store(true)
	p.eventually("pods/app-1/depth", fmt.Sprintf(`Internal error occurred: metric depth for pods app-1: evaluate sum(queue_depth{namespace="default",pod="app-1"}) by (pod): %s: it answers 500 Internal Server Error`, url))
	p.eventuallyOn("/", "listing has failed")
	broken.Store(false)
	p.eventually("pods/app-1/depth", "app-1=5")
	require.NoError(t, p.terminate())
	require.NotContains(t, p.log.String(), "s3cr3t@")
	left, err := filepath.Glob(filepath.Join(temporary, "*"))
	require.NoError(t, err)
	require.Empty(t, left, "the temporary data directory is removed")
}

// With --scrape, scraped series answer first. The engine in the file can change while promlet runs.
func TestByURLBesideScraping(t *testing.T) {
	manifests := t.TempDir()
	writeManifests(t, manifests, map[string]string{"app-1": counting(t, 1)})
	var broken atomic.Bool
	query := func(url string) string {
		return "query: {url: '" + url + "', http_headers: {X-Scope-OrgID: {values: [a]}}}\n"
	}
	file := newMountedConfig(t, query(engineOf(t, "5", &broken, "queue_depth", "elsewhere")))
	p := startProcess(t, manifests, t.TempDir(), "--config", file.path(), "--scrape", "--metrics-relist-interval=1s")
	p.eventually("pods/*/queue_depth", "app-1=3")
	p.eventually("pods/*/elsewhere", "app-1=5")
	got, _ := p.metric("pods/app-1/nowhere")
	require.Contains(t, got, "no rule makes a metric called nowhere")

	other := query(engineOf(t, "6", &broken, "elsewhere"))
	file.replace(other + "rules: [{}]\n")
	p.eventuallyOn("/", "(the running configuration stays)")
	got, _ = p.metric("pods/*/elsewhere")
	require.Equal(t, "app-1=5", got)
	file.replace(other)
	p.eventually("pods/*/elsewhere", "app-1=6")
	file.replace("{}")
	p.eventuallyOn("/", "query was added or removed: restart promlet")
	require.NoError(t, p.terminate())
}
