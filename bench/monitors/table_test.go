package monitors

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"
)

// cases is a document of kind Cases in testdata/table: monitors in short.
type cases struct {
	Kind      string              `json:"kind"`
	Of        []string            `json:"of"` // kinds of monitors that each case is made into
	Namespace string              `json:"namespace"`
	Cases     map[string]caseSpec `json:"cases"` // by the monitors' name
}

// caseSpec is one case, and what upstream makes of it: unless it says otherwise the
// monitor is good and has targets.
type caseSpec struct {
	Rejected bool              `json:"rejected"`
	Targets  *int              `json:"targets"` // over all endpoints
	Labels   map[string]string `json:"labels"`
	// Spec is that of the monitor without endpoints; without a selector it selects
	// app: web. Without endpoints there is one, with port: http.
	Spec      document   `json:"spec"`
	Endpoint  document   `json:"endpoint"`
	Endpoints []document `json:"endpoints"`
}

// TestTable compares each file of testdata/table, together with testdata/base.yaml.
func TestTable(t *testing.T) {
	base, err := os.ReadFile("testdata/base.yaml")
	require.NoError(t, err)
	files, err := filepath.Glob("testdata/table/*.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			table, objects := split(t, string(text))
			c, err := ReadCluster(strings.NewReader(string(base) + "---\n" + objects))
			require.NoError(t, err)
			require.NoError(t, c.fillPEMs())
			all := *c
			for _, group := range table {
				for _, kind := range group.Of {
					for _, name := range slices.Sorted(maps.Keys(group.Cases)) {
						spec := group.Cases[name]
						m := spec.monitor(t, kind, group.Namespace, name)
						all.ServiceMonitors = append(all.ServiceMonitors, m.ServiceMonitors...)
						all.PodMonitors = append(all.PodMonitors, m.PodMonitors...)
						t.Run(kind+"/"+group.Namespace+"/"+name, func(t *testing.T) {
							one := *c
							one.ServiceMonitors, one.PodMonitors = m.ServiceMonitors, m.PodMonitors
							spec.check(t, &one)
						})
					}
				}
			}
			if !t.Failed() {
				compare(t, &all) // all of them at once
			}
		})
	}
}

// split takes the documents of kind Cases from the objects.
func split(t *testing.T, text string) (table []cases, objects string) {
	var rest []string
	for _, doc := range strings.Split(text, "\n---\n") {
		var c cases
		if err := yaml.UnmarshalStrict([]byte(doc), &c); c.Kind == "Cases" {
			require.NoError(t, err)
			require.NotEmpty(t, c.Cases)
			table = append(table, c)
		} else {
			rest = append(rest, doc)
		}
	}
	require.NotEmpty(t, table)
	return table, strings.Join(rest, "\n---\n")
}

// monitor makes the monitor, as the only object of a Cluster.
func (s *caseSpec) monitor(t *testing.T, kind, namespace, name string) *Cluster {
	spec := maps.Clone(s.Spec)
	if spec == nil {
		spec = document{}
	}
	if spec["selector"] == nil {
		spec["selector"] = document{"matchLabels": document{"app": "web"}}
	}
	endpoints := s.Endpoints
	if endpoints == nil {
		endpoints = []document{{"port": "http"}}
	}
	if s.Endpoint != nil {
		endpoints = []document{s.Endpoint}
	}
	field := "endpoints"
	if kind == monitoringv1.PodMonitorsKind {
		field = "podMetricsEndpoints"
	}
	spec[field] = endpoints
	raw, err := json.Marshal(document{
		"apiVersion": monitoringv1.SchemeGroupVersion.String(), "kind": kind,
		"metadata": document{"name": name, "namespace": namespace, "labels": s.Labels}, "spec": spec,
	})
	require.NoError(t, err)
	c, err := ReadCluster(bytes.NewReader(raw))
	require.NoError(t, err, name)
	return c
}

// check compares the two sides on a Cluster that has the monitor alone.
func (s *caseSpec) check(t *testing.T, c *Cluster) {
	_, theirs := compare(t, c)
	require.NotNil(t, theirs, "there are no Endpoints for it")
	require.Equal(t, s.Rejected, len(theirs.Rejected) > 0, theirs.Rejected)
	switch {
	case s.Targets != nil:
		require.Equal(t, *s.Targets, theirs.Targets())
	case !s.Rejected:
		require.NotZero(t, theirs.Targets())
	}
}
