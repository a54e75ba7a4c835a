package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/promlet/promlet/"

// Dependencies go one way. Upstream's tsdb and promql bring parts of
// k8s.io/apimachinery along, so what a package may not import itself and what
// may not be in its binary at all are told apart.
func TestDependenciesGoOneWay(t *testing.T) {
	forbidden := []struct{ pkg, dep, reason string }{
		{"scrape", module, "scrape knows targets and an appendable, nothing of promlet"},
		{"scrape/internal/body", module, "a body is read by the decisions on names, and its errors are reasons"},
		{"scrape/internal/budget", module, "bytes are counted, whatever they are"},
		{"scrape/internal/history", module, "a history is hashes and times"},
		{"scrape/internal/names", module, "names are known without bodies, and shortened as reasons are"},
		{"scrape/internal/reason", module, "a reason is a text"},
		{"tsdb/querycost", module, "the cost of an expression needs no database"},
		{"tsdb", module, "tsdb knows samples and queries, nothing of promlet"},
		{"tsdb", "github.com/prometheus/prometheus/web", "who embeds the database need not serve HTTP"},
		{"tsdb/remotewrite", module, "it reads a log and does not know who writes it"},
		{"tsdb/remotewrite", "k8s.io/api/", "remote write needs no cluster"},
		{"tsdb/httpapi", module + "scrape", "the API takes upstream's targets, whoever scrapes them"},
		{"tsdb/httpapi", module + "adapter", "the API is Prometheus's, and knows no Kubernetes"},
		{"tsdb/httpapi", module + "discovery", "the API is Prometheus's, and knows no Kubernetes"},
		{"tsdb/httpapi", "k8s.io/api/", "the API is Prometheus's, and knows no Kubernetes"},
		{"tsdb/httpapi", "k8s.io/apiserver", "the API is Prometheus's, and knows no Kubernetes"},
		{"tsdb/httpapi", "k8s.io/client-go/kubernetes", "the API is Prometheus's, and knows no Kubernetes"},
		{"adapter", module + "tsdb/httpapi", "the adapter serves Kubernetes' APIs"},
		{"discovery", module + "adapter", "discovery gives upstream's types, so that it can be tested and embedded alone"},
		{"discovery", module + "scrape", "discovery gives upstream's types, so that it can be tested and embedded alone"},
		{"discovery", module + "tsdb", "discovery gives upstream's types, so that it can be tested and embedded alone"},
		{"discovery", module + "discovery/cluster", "the Discoverer takes any Source, and who reads files needs no clients"},
		{"discovery", module + "discovery/manifests", "the Discoverer takes any Source, and who watches a cluster needs no files"},
		{"discovery/objects", module, "all other rooms of discovery stand on the objects"},
		{"discovery/cluster", module + "discovery/monitors", "a source knows objects, not what is made of them"},
		{"discovery/cluster", module + "discovery/targets", "a source knows objects, not what is made of them"},
		{"discovery/cluster", module + "discovery/manifests", "the sources are two, of which a program takes one"},
		{"discovery/manifests", module + "discovery/monitors", "a source knows objects, not what is made of them"},
		{"discovery/manifests", module + "discovery/targets", "a source knows objects, not what is made of them"},
		{"discovery/manifests", "k8s.io/client-go/kubernetes", "files need no API server"},
		{"discovery/targets", module + "discovery/monitors", "targets are made of a selection, whoever wrote it"},
		{"discovery/targets", "k8s.io/client-go/kubernetes", "targets are made of objects that are there"},
		{"discovery/kubelets", module, "a target is made of a Node, whoever watches it"},
		{"discovery/kubelets", "k8s.io/client-go/kubernetes", "a target is made of a Node, whoever watches it"},
		{"discovery/monitors", module + "discovery/reach", "what is scraped does not depend on how it is explained"},
		{"discovery/monitors", "k8s.io/client-go/kubernetes", "jobs are made of objects that are there"},
		{"discovery/reach", "k8s.io/client-go/kubernetes", "an explanation asks nobody"},
		{"adapter", module + "scrape", "the adapter reads what is stored, however it came there"},
		{"adapter", module + "discovery", "the adapter reads objects through client-go's listers"},
		{"scrape", "k8s.io/api/", "scraping needs no cluster"},
		{"scrape", "k8s.io/apiserver", "scraping needs no cluster"},
		{"scrape", "k8s.io/client-go/kubernetes", "scraping needs no cluster"},
		{"tsdb", "k8s.io/api/", "storing needs no cluster"},
		{"tsdb", "k8s.io/apiserver", "storing needs no cluster"},
		{"tsdb", "k8s.io/client-go/kubernetes", "storing needs no cluster"},
		{"discovery", "github.com/prometheus/prometheus/tsdb", "discovery stores nothing"},
		{"discovery", "github.com/prometheus/prometheus/promql", "discovery evaluates nothing"},
		{"discovery", "github.com/prometheus/prometheus/scrape", "discovery scrapes nothing"},
		{"discovery", "k8s.io/apiserver", "discovery serves nothing"},
		{"adapter", "github.com/prometheus/prometheus/scrape", "the adapter scrapes nothing"},
		{"adapter", module + "adapter/apiserver", "who embeds the Provider need not serve the API"},
		{"adapter", "k8s.io/apiserver/pkg/server", "who embeds the Provider need not serve the API (upstream's provider interface brings parts of the library)"},
		{"adapter/objects", module, "objects and kinds are Kubernetes's, and need nothing of promlet"},
		{"adapter/rules", module, "rules are compiled without a database, and know kinds only"},
		{"adapter/rules", "k8s.io/apiserver", "rules are checked without serving anything"},
		{"adapter/catalog", module, "the catalog knows what rules make of series, not who reads them"},
		{"adapter/engine", module, "an engine lists the series of rules and evaluates queries; it does not know its callers"},
		{"adapter/demand", module, "values note demand; demand evaluates nothing"},
		{"adapter/values", module, "explanations and the Provider stand on values"},
		{"adapter/resourcemetrics/queried", module, "usage is read from values, as explanations are, and is not known to them"},
		{"adapter/internal/diagnosis", module, "an expression is diagnosed by evaluating its parts, whoever made it"},
		{"adapter/explain", module, "the Provider answers with explanations, and is not known to them"},
		{"adapter/autoscalers", module, "autoscalers stand on explanations, as the Provider does"},
		{"adapter/resourcemetrics", module, "values are made of kubelets' samples, whoever scraped them"},
		{"adapter/resourcemetrics", "k8s.io/apiserver", "who embeds the values need not serve the API"},
		{"adapter/resourcemetrics/api", module, "the API serves any source of values, for objects that exist"},
		{"adapter/apiserver", module, "the API serves any provider, and explanations"},
		{"adapter/embedded", module + "adapter/apiserver", "who embeds promlet need not serve the API"},
		{"adapter/embedded", "k8s.io/apiserver/pkg/server", "who embeds promlet need not serve the API"},
		{"adapter/embedded", module + "tsdb/httpapi", "who embeds promlet need not serve Prometheus's API"},
		{"adapter/embedded", module + "tsdb/remotewrite", "who embeds promlet need not send samples elsewhere"},
		{"adapter/embedded", module + "discovery/cluster", "it takes any Source, and who reads files needs no clients"},
		{"adapter/embedded", module + "discovery/manifests", "it takes any Source, and who watches a cluster needs no files"},
		{"adapter/embedded", module + "cmd", "a library knows no command"},
		{"adapter/servingcert", module, "a certificate needs nothing of promlet"},
		{"adapter/replicas", module, "the HPA's arithmetic needs nothing of promlet"},
		{"adapter/internal/connlimit", module, "connections need nothing of promlet"},
		{"adapter/internal/boundedtemplate", module, "templates need nothing of promlet"},
		{"scrape/targeterrors", module, "errors of scrapes are rewritten for users, who need not know who asks for them"},
		{"scrape/destination", module, "addresses need nothing of promlet"},
		{"scrape/seriesroom", module, "room is divided among owners, whoever they are"},
		{"scrape/sink", module, "a sink is a few functions, and knows neither who calls them nor what they do"},
		{"cmd/promlet/internal/connection", module + "scrape", "connecting to an engine needs no scraping"},
		{"cmd/promlet/internal/client", module + "scrape", "the commands ask a running promlet"},
		{"cmd/promlet/internal/client", module + "cmd/promlet/internal/web", "the commands ask the API that every metrics server has"},
		{"cmd/promlet/internal/client", module + "tsdb/httpapi", "the commands ask the API that every metrics server has"},
		{"cmd/promlet/internal/web", module + "cmd/promlet/internal/client", "the pages ask nothing over the network"},
		{"cmd/promlet", module + "bench", "the control plane is for tests"},
		{"deploy/recipes/played", module, "programs are played over HTTP, whoever scrapes them"},
		{"bench/internal/harness", module, "the harness knows no benchmark; the control plane uses it too"},
		{"bench/internal/sink", module, "both sides of a comparison append to it"},
	}
	// The rooms of a package, and which of them each may know.
	rooms := map[string][]string{
		"tsdb":                  {"tsdb/querycost"},
		"scrape":                {"scrape/internal/body", "scrape/internal/budget", "scrape/internal/history", "scrape/internal/names", "scrape/internal/reason", "scrape/seriesroom", "scrape/sink"},
		"scrape/targeterrors":   {"scrape", "scrape/internal/body", "scrape/internal/budget", "scrape/internal/history", "scrape/internal/names", "scrape/internal/reason", "scrape/seriesroom", "scrape/sink"},
		"scrape/seriesroom":     {"scrape/internal/budget", "scrape/internal/names", "scrape/internal/reason"},
		"scrape/internal/body":  {"scrape/internal/budget", "scrape/internal/names", "scrape/internal/reason"},
		"scrape/internal/names": {"scrape/internal/budget", "scrape/internal/reason"},
		"adapter/rules":         {"adapter/objects", "adapter/internal/boundedtemplate", "tsdb/querycost"},
		"adapter/catalog":       {"adapter/objects", "adapter/internal/boundedtemplate", "adapter/rules", "tsdb", "tsdb/querycost"},
		"adapter/engine":        {"adapter/objects", "adapter/internal/boundedtemplate", "adapter/rules", "adapter/catalog", "tsdb", "tsdb/querycost"},
		"adapter/demand":        {"adapter/objects", "adapter/internal/boundedtemplate", "adapter/rules", "adapter/catalog", "tsdb", "tsdb/querycost"},
		"adapter/values":        {"adapter/objects", "adapter/internal/boundedtemplate", "adapter/rules", "adapter/catalog", "adapter/demand", "tsdb", "tsdb/querycost"},
		"adapter/resourcemetrics/queried": {
			"adapter/resourcemetrics", "adapter/objects", "adapter/internal/boundedtemplate", "adapter/rules", "adapter/catalog", "adapter/demand", "adapter/engine", "adapter/values", "tsdb", "tsdb/querycost",
		},
		"adapter/internal/diagnosis": {"tsdb", "tsdb/querycost"},
		"adapter/explain":            {"adapter/resourcemetrics", "adapter/internal/diagnosis", "adapter/objects", "adapter/internal/boundedtemplate", "adapter/rules", "adapter/catalog", "adapter/demand", "adapter/engine", "adapter/values", "tsdb", "tsdb/querycost"},
		"adapter/autoscalers": {
			"adapter/objects", "adapter/internal/boundedtemplate", "adapter/rules", "adapter/catalog", "adapter/demand", "adapter/values", "adapter/engine", "adapter/internal/diagnosis", "adapter/explain",
			"adapter/replicas", "adapter/resourcemetrics", "tsdb", "tsdb/querycost",
		},
		"adapter/resourcemetrics/api": {"adapter/objects", "adapter/resourcemetrics"},
		"adapter/apiserver": {
			"adapter/objects", "adapter/internal/boundedtemplate", "adapter/rules", "adapter/catalog", "adapter/demand", "adapter/values", "adapter/engine", "adapter/internal/diagnosis", "adapter/explain",
			"adapter/internal/connlimit", "adapter/resourcemetrics", "adapter/resourcemetrics/api", "adapter/resourcemetrics/queried", "tsdb", "tsdb/querycost",
		},
	}
	deps := map[string][]string{}
	for _, f := range forbidden {
		if _, ok := deps[f.pkg]; !ok {
			deps[f.pkg] = listDeps(t, f.pkg)
			if strings.HasPrefix(f.pkg, "discovery/") && slices.Contains(deps[f.pkg], module+"discovery") {
				t.Errorf("%s depends on discovery: a room does not know the house", f.pkg)
			}
		}
		for _, dep := range deps[f.pkg] {
			if dep != module+f.pkg && !slices.Contains(rooms[f.pkg], strings.TrimPrefix(dep, module)) && (strings.HasPrefix(dep, f.dep) || dep == strings.TrimSuffix(f.dep, "/")) {
				t.Errorf("%s depends on %s: %s", f.pkg, dep, f.reason)
			}
		}
	}
}

func listDeps(t *testing.T, pkg string) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", module+pkg).Output()
	require.NoError(t, err)
	deps := strings.Fields(string(out))
	require.Greater(t, len(deps), 10, "go list must have listed something")
	return deps
}

// Packages are libraries: only the command exits, parses flags or reads signals.
func TestOnlyTheCommandOwnsTheProcess(t *testing.T) {
	for _, pkg := range []string{
		"scrape", "scrape/internal/body", "scrape/internal/budget", "scrape/internal/history", "scrape/internal/names", "scrape/internal/reason", "scrape/seriesroom", "scrape/sink", "scrape/targeterrors", "tsdb", "tsdb/httpapi", "tsdb/remotewrite",
		"adapter", "adapter/objects", "adapter/rules", "adapter/catalog", "adapter/demand", "adapter/engine", "adapter/values", "adapter/explain",
		"adapter/autoscalers", "adapter/embedded", "adapter/resourcemetrics", "adapter/resourcemetrics/api", "adapter/resourcemetrics/queried", "adapter/apiserver", "adapter/servingcert", "adapter/replicas",
		"discovery", "discovery/objects", "discovery/cluster", "discovery/kubelets", "discovery/manifests", "discovery/targets", "discovery/monitors", "discovery/reach",
	} {
		out, err := exec.CommandContext(t.Context(), "go", "list", "-f", `{{join .Imports "\n"}}`, module+pkg).Output()
		require.NoError(t, err)
		for _, imported := range strings.Fields(string(out)) {
			require.NotContains(t, []string{"flag", "github.com/spf13/pflag", "github.com/spf13/cobra", "os/signal"}, imported, pkg)
			if pkg == "scrape" || pkg == "tsdb" {
				require.False(t, strings.HasPrefix(imported, "k8s.io/"), "%s imports %s", pkg, imported)
			}
		}
	}
}
