package main

import (
	"fmt"
	"html"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// mountedConfig is a file of a mounted ConfigMap, laid out as the kubelet does it:
// DIR/promlet.yaml -> ..data/promlet.yaml, DIR/..data -> a directory of each version.
type mountedConfig struct {
	t        *testing.T
	dir      string
	versions int
}

func newMountedConfig(t *testing.T, content string) *mountedConfig {
	t.Helper()
	m := &mountedConfig{t: t, dir: t.TempDir()}
	m.replace(content)
	require.NoError(t, os.Symlink(filepath.Join("..data", "promlet.yaml"), m.path()))
	return m
}

func (m *mountedConfig) path() string { return filepath.Join(m.dir, "promlet.yaml") }

// replace makes another version be the file, in one step, and removes the one before.
func (m *mountedConfig) replace(content string) {
	m.t.Helper()
	m.versions++
	version, data := "..version_"+strconv.Itoa(m.versions), filepath.Join(m.dir, "..data")
	before, _ := os.Readlink(data) // none at first
	require.NoError(m.t, os.Mkdir(filepath.Join(m.dir, version), 0o700))
	require.NoError(m.t, os.WriteFile(filepath.Join(m.dir, version, "promlet.yaml"), []byte(content), 0o600))
	require.NoError(m.t, os.Symlink(version, data+"_tmp"))
	require.NoError(m.t, os.Rename(data+"_tmp", data))
	if before != "" {
		require.NoError(m.t, os.RemoveAll(filepath.Join(m.dir, before)))
	}
}

// gaugeRule serves queue_depth under another name.
func gaugeRule(as string) string {
	return fmt.Sprintf(`- seriesQuery: queue_depth{namespace!=""}
  resources: {template: <<.Resource>>}
  name: {as: %s}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)
`, as)
}

// page is a page of the web port, without HTML's escapes.
func (p *process) page(path string) string {
	p.t.Helper()
	code, body, err := p.get(p.web + path)
	require.NoError(p.t, err)
	require.Equal(p.t, http.StatusOK, code)
	return html.UnescapeString(string(body))
}

// eventuallyOn waits until a page of the web port holds a text.
func (p *process) eventuallyOn(path, want string) {
	p.t.Helper()
	page := ""
	for start := time.Now(); time.Since(start) < patience; time.Sleep(100 * time.Millisecond) {
		if page = p.page(path); strings.Contains(page, want) {
			return
		}
	}
	require.Contains(p.t, page, want)
}

// The configuration is reloaded when its ConfigMap changes. An invalid one is a problem,
// and the running one stays.
func TestReload(t *testing.T) {
	manifests := t.TempDir()
	writeManifests(t, manifests, map[string]string{"app-1": counting(t, 10)})
	file := newMountedConfig(t, "rules:\n"+gaugeRule("waiting"))
	p := startProcess(t, manifests, t.TempDir(), "--config", file.path())
	p.eventually("services/app/waiting", "app=3")
	none := func(name string) string {
		return "the server could not find the metric " + name + " for services app: no rule makes a metric called " + name
	}
	require.Equal(t, none("queued"), first(p.metric("services/app/queued")))

	file.replace("rules:\n" + gaugeRule("queued"))
	p.eventually("services/app/queued", "app=3")
	p.eventually("services/app/waiting", none("waiting"))

	// A monitor of its own, which is gone with the next version.
	const monitor = `serviceMonitors:
- metadata: {name: inline, namespace: default}
  spec: {selector: {matchLabels: {app: app}}, endpoints: [{port: web, path: /inline}]}
`
	file.replace(monitor + "rules:\n" + gaugeRule("queued"))
	p.eventuallyOn("/targets", "/inline")
	file.replace("rules:\n" + gaugeRule("queued"))
	require.Eventually(t, func() bool { return !strings.Contains(p.page("/targets"), "/inline") }, patience, 100*time.Millisecond)

	p.wrongConfigs(file)
	p.eventually("services/app/queued", "app=3")

	// What is right again is in force, and the problem is gone.
	file.replace("rules:\n" + gaugeRule("deep"))
	p.eventually("services/app/deep", "app=3")
	require.NotContains(t, p.page("/"), `id="problems"`)
	require.Contains(t, p.page("/metrics"), "promlet_config_last_reload_successful 1")

	// Asked to, it loads the same again.
	loaded := func() int { return strings.Count(p.log.String(), `msg="configuration loaded"`) }
	before := loaded()
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGHUP))
	require.Eventually(t, func() bool { return loaded() == before+1 }, patience, 100*time.Millisecond)
	p.eventually("services/app/deep", "app=3")
}

func first(message string, _ any) string { return message }

// wrongConfigs replaces the file by ones that are refused, each for its own reason.
func (p *process) wrongConfigs(file *mountedConfig) {
	p.t.Helper()
	f := func(content, want string) {
		p.t.Helper()
		file.replace(content)
		p.eventuallyOn("/", "<li>--config="+file.path()+": "+want)
		require.Contains(p.t, p.page("/"), "(the running configuration stays)")
		require.Contains(p.t, p.page("/metrics"), "promlet_config_last_reload_successful 0")
		require.Equal(p.t, "app=3", first(p.metric("services/app/queued")))
	}
	second := gaugeRule("queued") + "- "
	f("rules:\n"+second+"seriesQuery: x\n  metricsQuery: sum(", "rules[1]: metricsQuery gives no PromQL")
	f("rules:\n"+second+"seriesQuerry: x\n", `unknown field "rules[1].seriesQuerry"`)
	f("rules: {", "yaml: line 1")
	f("\n", "the file is empty: for the default rules alone, write {}")
	f("rules:\n"+second+"seriesQuery: x\n  metricsQuery: count_over_time(vector(1)[2d:1ms])\n", "rules[1]: metricsQuery: the subquery [2d:1ms] takes")
	f("rules:\n"+second+"seriesQuery: x\n  metricsQuery: '<<range 2000000000>><<end>>'\n", "rules[1]: metricsQuery: ")
	f("keep: ['(']\nrules:\n"+gaugeRule("other"), "keep[0]: ")
	f("serviceMonitors: [{}]\nrules:\n"+gaugeRule("other"), "serviceMonitors[0]: give it a metadata.name")
	require.NoError(p.t, os.Remove(filepath.Join(file.dir, "..data"))) // as when the ConfigMap loses the key
	p.eventuallyOn("/", "<li>--config="+file.path()+": open ")
}
