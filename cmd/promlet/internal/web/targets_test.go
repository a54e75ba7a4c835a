package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"

	"github.com/promlet/promlet/discovery/monitors"
	"github.com/promlet/promlet/scrape"
)

func TestTargetsPage(t *testing.T) {
	opts := nothing(t)
	opts.Monitors = func() []monitors.Status {
		return []monitors.Status{
			{Kind: "PodMonitor", Namespace: "default", Name: "empty"},
			{Kind: "ServiceMonitor", Namespace: "default", Name: "legacy", Err: errors.New("spec.endpoints[0].bearerTokenFile: refused")},
			{Kind: "ServiceMonitor", Namespace: "default", Name: "shop", Jobs: []string{"shop/0", "shop/1"}, Adjusted: []string{"spec.endpoints[0].interval: 5ms is raised to 1s"}},
		}
	}
	opts.WhyNoTargets = func(m *monitors.Status) string {
		require.Equal(t, "empty", m.Name)
		return "it selects no Service; the closest is search"
	}
	targets := []Target{
		{Job: "shop/0", Address: "10.0.0.1:80/metrics", Health: "up", Seen: 154, Stored: 3, Took: 38 * time.Millisecond, LastScrape: time.Now(), Labels: labels.FromStrings("pod", "a"), Discovered: labels.FromStrings("__meta_pod", "a")},
		{Job: "shop/0", Address: "10.0.0.2:80/metrics", Health: "down", Err: "connection refused"},
		{Job: "shop/1", Address: "10.0.0.1:81/metrics", Health: "unknown"},
	}
	opts.Targets = func() []Target { return targets }
	opts.Foreign = func() map[string]scrape.Foreign {
		return map[string]scrape.Foreign{"shop/0": {Series: 7, Example: "kube-system"}, "shop/1": {Series: 2, Targets: 1, Enforced: true}, "other": {Series: 1}}
	}
	page := get(t, opts, "/targets", http.StatusOK)
	for _, want := range []string{
		"1 down", "1 monitor rejected", "waiting for the first scrape", "bearerTokenFile: refused", "1 of 3 up", "3 of 154", "38ms", "connection refused",
		"no targets", "it selects no Service; the closest is search", "1 monitor without targets", `</code> <small>a</small>`, "never", "adjusted: spec.endpoints[0].interval: 5ms is raised to 1s", "shop/0: writes 7 series of other namespaces, such as kube-system",
		"shop/1: 1 targets and 2 series of other namespaces were given to namespace default", `{pod=&#34;a&#34;}`, `{__meta_pod=&#34;a&#34;}`,
	} {
		require.Contains(t, page, want)
	}
	require.Less(t, strings.Index(page, "default-legacy"), strings.Index(page, "default-empty"), "what is wrong comes first")
	require.Less(t, strings.Index(page, "10.0.0.2:80"), strings.Index(page, "10.0.0.1:80"))

	page = get(t, opts, "/targets?bad=yes", http.StatusOK)
	require.Contains(t, page, "3 of 3 monitors: <b>0</b> up, <b class=\"bad\">1 down</b>, 1 waiting for the first scrape, <b class=\"bad\">1 monitor rejected</b>, <b class=\"bad\">1 monitor without targets</b>", "filters count what they show")
	require.Contains(t, page, "default-empty", "one without targets is wrong")
	page = get(t, opts, "/targets?bad=yes&q=10.0.0", http.StatusOK)
	require.Contains(t, page, "1 of 3 monitors: <b>0</b> up, <b class=\"bad\">1 down</b>, 1 waiting for the first scrape</p>")
	require.NotContains(t, page, "10.0.0.1:80/")
	require.NotContains(t, page, "legacy")
	require.Contains(t, page, "10.0.0.2:80")
	require.Contains(t, get(t, opts, "/targets?q=pod%3D%22a", http.StatusOK), "10.0.0.1:80/", "by label")

	for i := range 500 {
		targets = append(targets, Target{Job: "shop/1", Address: fmt.Sprintf("10.1.%d.%d:80/metrics", i/250, i%250), Health: "up"})
	}
	seen := map[string]bool{}
	for range 3 {
		var twin targetsData
		require.NoError(t, json.Unmarshal([]byte(get(t, opts, fmt.Sprintf("/targets.json?from=%d", len(seen)), http.StatusOK)), &twin))
		require.Equal(t, 505, twin.Of)
		for _, m := range twin.Monitors {
			if len(m.Targets) == 0 {
				seen[m.Name] = true
			}
			for _, target := range m.Targets {
				seen[target.Address] = true
			}
		}
	}
	require.Len(t, seen, 505, "the parts are the whole")
}

// Kubelets are shown with their nodes, and Nodes whose kubelet is not a target with the reason.
func TestTargetsOfKubelets(t *testing.T) {
	opts := nothing(t)
	opts.Scrapes = false
	of := func(node string) labels.Labels { return labels.FromStrings("job", "kubelets", "node", node) }
	opts.Targets = func() []Target {
		return []Target{
			{Job: "kubelets", Address: "10.1.0.1:10250/metrics/resource", Health: "up", Labels: of("a")},
			{Job: "kubelets", Address: "10.1.0.2:10250/metrics/resource", Health: "down", Err: "kubelet of node b: the answer is 403", Labels: of("b")},
		}
	}
	opts.Unreachable = func() map[string]error {
		return map[string]error{"d": errors.New("no address"), "c": errors.New("no <address>")}
	}
	page := get(t, opts, "/targets", http.StatusOK)
	for _, want := range []string{
		"<small>Nodes /</small> kubelets", "1 of 4 up", "<b>1</b> up, <b class=\"bad\">3 down</b>", "</code> <small>node b</small>", "kubelet of node b: the answer is 403",
		`<p class="reason">kubelet of node c: no &lt;address&gt;</p><p class="reason">kubelet of node d: no address</p>`, "This promlet scrapes only kubelets",
	} {
		require.Contains(t, page, want)
	}
	page = get(t, opts, "/targets?q=node+d", http.StatusOK)
	require.Contains(t, page, "0 of 0 monitors: <b>0</b> up, <b class=\"bad\">1 down</b>")
	require.NotContains(t, page, "node c")
	page = get(t, opts, "/targets?q=kubelets&bad=yes", http.StatusOK)
	require.NotContains(t, page, "10.1.0.1")
	require.Contains(t, page, "10.1.0.2")
	opts.Unreachable, opts.Targets = func() map[string]error { return nil }, func() []Target { return nil }
	require.NotContains(t, get(t, opts, "/targets", http.StatusOK), "kubelets")
}

// The annotated objects of a kind share a job; each has targets of its own.
func TestTargetsOfAnnotatedObjects(t *testing.T) {
	opts := nothing(t)
	opts.Monitors = func() []monitors.Status {
		return []monitors.Status{
			{Kind: "Pod", Namespace: "default", Name: "a", Origin: monitors.OriginAnnotation, Jobs: []string{"annotations/pods"}},
			{Kind: "Pod", Namespace: "default", Name: "b", Origin: monitors.OriginAnnotation, Jobs: []string{"annotations/pods"}},
			{Kind: "Service", Namespace: "default", Name: "a", Origin: monitors.OriginAnnotation, Jobs: []string{"annotations/services"}},
		}
	}
	opts.Targets = func() []Target {
		return []Target{
			{Job: "annotations/pods", Address: "10.0.0.1:80/metrics", Health: "up", Labels: labels.FromStrings("namespace", "default", "pod", "a")},
			{Job: "annotations/pods", Address: "10.0.0.1:81/metrics", Health: "up", Labels: labels.FromStrings("namespace", "default", "pod", "a")},
			{Job: "annotations/pods", Address: "10.0.0.2:80/metrics", Health: "down", Labels: labels.FromStrings("namespace", "default", "pod", "b")},
			{Job: "annotations/services", Address: "10.0.0.2:82/metrics", Health: "up", Labels: labels.FromStrings("namespace", "default", "pod", "b", "service", "a")},
		}
	}
	var twin targetsData
	require.NoError(t, json.Unmarshal([]byte(get(t, opts, "/targets.json", http.StatusOK)), &twin))
	var got []string
	for _, m := range twin.Monitors {
		for _, target := range m.Targets {
			got = append(got, m.Kind+" "+m.Name+" "+target.Address)
		}
	}
	require.Equal(t, []string{"Pod b 10.0.0.2:80/metrics", "Pod a 10.0.0.1:80/metrics", "Pod a 10.0.0.1:81/metrics", "Service a 10.0.0.2:82/metrics"}, got)
}

// A monitor whose targets are in other shards is not shown as one without targets.
func TestTargetsOfOtherShards(t *testing.T) {
	opts := nothing(t)
	opts.Monitors = func() []monitors.Status {
		return []monitors.Status{
			{Kind: "PodMonitor", Namespace: "default", Name: "elsewhere", Jobs: []string{"elsewhere/0"}},
			{Kind: "Pod", Namespace: "default", Name: "b", Origin: monitors.OriginAnnotation, Jobs: []string{"annotations/pods"}},
			{Kind: "ServiceMonitor", Namespace: "default", Name: "both", Jobs: []string{"both/0", "both/1"}},
		}
	}
	opts.Targets = func() []Target { return []Target{{Job: "both/0", Address: "10.0.0.1:80", Health: "up"}} }
	opts.OtherShards = func() []Target {
		return []Target{
			{Job: "elsewhere/0"}, {Job: "both/0"}, {Job: "both/0"}, {Job: "both/1"},
			{Job: "annotations/pods", Labels: labels.FromStrings("namespace", "default", "pod", "b")},
			{Job: "annotations/pods", Labels: labels.FromStrings("namespace", "default", "pod", "c")},
		}
	}
	page := get(t, opts, "/targets", http.StatusOK)
	require.Equal(t, 2, strings.Count(page, "in other shards"), page)
	require.Equal(t, 2, strings.Count(page, "1 target is scraped by another shard"), page)
	require.Contains(t, page, "1 of 1 up")
	require.Contains(t, page, "3 targets are scraped by other shards")
	require.NotContains(t, page, "no targets")
	var twin targetsData
	require.NoError(t, json.Unmarshal([]byte(get(t, opts, "/targets.json", http.StatusOK)), &twin))
	require.Equal(t, 3, twin.Monitors[2].OtherShards)
}
