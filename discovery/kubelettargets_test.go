package discovery

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/promlet/promlet/discovery/internal/runtest"
	"github.com/promlet/promlet/discovery/internal/samples"
	"github.com/promlet/promlet/discovery/internal/storetest"
	"github.com/promlet/promlet/discovery/kubelets"
	"github.com/promlet/promlet/discovery/monitors"
	"github.com/promlet/promlet/discovery/objects"
)

// nodeText is a Node with an address and the rest of its status.
func nodeText(name, address, rest string) string {
	return fmt.Sprintf(`{apiVersion: v1, kind: Node, metadata: {name: %s}, status: {addresses: [{type: InternalIP, address: %q}], %s}}`, name, address, rest)
}

// putNodes adds or replaces Nodes.
func putNodes(t *testing.T, o *objects.Store, texts ...string) {
	t.Helper()
	for _, node := range objects.List[corev1.Node](storetest.Load(t, texts...), nil) {
		require.NoError(t, storetest.Nodes(o).Update(node))
	}
}

func kubeletsJob(t *testing.T, opts kubelets.Options) *kubelets.Job {
	t.Helper()
	j, err := kubelets.New(opts)
	require.NoError(t, err)
	return j
}

func TestKubelets(t *testing.T) {
	o := storetest.Load(t, samples.Web, samples.WebMonitor(), nodeText("n1", "10.1.0.1", ""), nodeText("n2", "10.1.0.2", ""))
	var log runtest.LogBuffer
	d := New(o, Options{Kubelets: kubeletsJob(t, kubelets.Options{}), Logger: log.Logger(), Annotations: true, MonitorTargetLimit: 2, NamespaceTargetLimit: 2})
	require.Nil(t, d.UnreachableNodes())
	check := func(want string) map[string][]*targetgroup.Group {
		t.Helper()
		configs, groups := runtest.Resolve(t, d)
		require.Contains(t, configs, "kubelets")
		require.Contains(t, configs, "serviceMonitor/default/m/0", "monitors are as ever")
		only := map[string][]*targetgroup.Group{"kubelets": groups["kubelets"]}
		var lines []string
		for line := range strings.Lines(want) {
			if line = strings.TrimSpace(line); line != "" {
				name := line[strings.LastIndex(line, " ")+1:]
				address := line[:strings.LastIndex(line, " ")]
				lines = append(lines, fmt.Sprintf("kubelets %s instance=%s job=kubelets metrics_path=/metrics/resource node=%s", address, name, name))
			}
		}
		require.ElementsMatch(t, lines, runtest.Lines(only))
		return groups
	}
	before := check("10.1.0.1:10250 n1\n10.1.0.2:10250 n2")
	require.Len(t, before["serviceMonitor/default/m/0"], 1)

	// Heartbeats change nothing.
	putNodes(t, o, nodeText("n1", "10.1.0.1", `conditions: [{type: Ready, status: "False"}]`))
	after := check("10.1.0.1:10250 n1\n10.1.0.2:10250 n2")
	require.Same(t, before["kubelets"][0], after["kubelets"][0])
	require.Same(t, before["kubelets"][1], after["kubelets"][1])

	// An address changes, a Node comes, one goes, one has no address.
	putNodes(t, o, nodeText("n1", "10.1.0.9", ""), nodeText("n3", "10.1.0.3", ""), nodeText("n4", "", ""))
	storetest.Remove(t, storetest.Nodes(o), "n2")
	check("10.1.0.9:10250 n1\n10.1.0.3:10250 n3")
	require.Len(t, d.UnreachableNodes(), 1)
	require.ErrorContains(t, d.UnreachableNodes()["n4"], "it has no address of the types")
	require.Contains(t, log.String(), `msg="kubelet is not scraped" node=n4`)
	check("10.1.0.9:10250 n1\n10.1.0.3:10250 n3")
	putNodes(t, o, nodeText("n5", "10.1.0.5", ""))
	check("10.1.0.9:10250 n1\n10.1.0.3:10250 n3\n10.1.0.5:10250 n5")
	require.Equal(t, 1, strings.Count(log.String(), "node=n4"), "each reason is logged once")
	putNodes(t, o, nodeText("n4", "10.1.0.4", ""))
	check("10.1.0.9:10250 n1\n10.1.0.3:10250 n3\n10.1.0.4:10250 n4\n10.1.0.5:10250 n5")
	require.Empty(t, d.UnreachableNodes())
	require.Empty(t, Owner(kubelets.JobName, nil), "no namespace pays for them")
}

func TestKubeletsOfSomeNodes(t *testing.T) {
	o := storetest.Load(t, nodeText("n1", "10.1.0.1", ""), nodeText("n2", "10.1.0.2", ""))
	selector := labels.SelectorFromSet(labels.Set{"pool": "a"})
	d := New(o, Options{Kubelets: kubeletsJob(t, kubelets.Options{NodeSelector: selector})})
	_, groups := runtest.Resolve(t, d)
	require.Empty(t, groups)
	node := objects.Get[corev1.Node](o, "n2").DeepCopy()
	node.Labels = map[string]string{"pool": "a"}
	require.NoError(t, storetest.Nodes(o).Update(node))
	_, groups = runtest.Resolve(t, d)
	require.Len(t, groups["kubelets"], 1)
	require.Equal(t, "node/n2", groups["kubelets"][0].Source)
}

// A shard would see some of the nodes only.
func TestShardsScrapeNoKubelets(t *testing.T) {
	o := storetest.Load(t, nodeText("n1", "10.1.0.1", ""))
	for shard, want := range map[monitors.Shard]int{{}: 1, {Index: 0, Count: 1}: 1, {Index: 0, Count: 2}: 0, {Index: 1, Count: 2}: 0} {
		configs, _ := runtest.Resolve(t, New(o, Options{Kubelets: kubeletsJob(t, kubelets.Options{}), Shard: shard}))
		require.Len(t, configs, want, shard)
	}
}

// What follows random changes of Nodes comes to what is computed from scratch.
func TestChangesOfNodesComeToTheSame(t *testing.T) {
	r := rand.New(rand.NewPCG(22, 1))
	job := kubeletsJob(t, kubelets.Options{UseNodeStatusPort: true})
	o := objects.NewStore()
	d := New(o, Options{Kubelets: job})
	for range 300 {
		name := fmt.Sprint("n", r.IntN(6))
		if r.IntN(3) == 0 {
			if _, there, err := storetest.Nodes(o).GetByKey(name); err == nil && there {
				storetest.Remove(t, storetest.Nodes(o), name)
			}
		} else {
			address := []string{"", "10.1.0.1", "10.1.0.2"}[r.IntN(3)]
			putNodes(t, o, nodeText(name, address, fmt.Sprintf("daemonEndpoints: {kubeletEndpoint: {Port: %d}}", 10250+r.IntN(2))))
		}
		fresh := New(o, Options{Kubelets: job})
		require.Equal(t, resolved(t, fresh), resolved(t, d))
		require.Equal(t, fresh.UnreachableNodes(), d.UnreachableNodes())
	}
}

// An address that no target can have costs that Node its target, not the others theirs.
func TestKubeletsAtAddressesThatAreNone(t *testing.T) {
	o := storetest.Load(t, nodeText("n1", "10.1.0.1", ""), nodeText("n2", "10.1.0.2/x", ""))
	d := New(o, Options{Kubelets: kubeletsJob(t, kubelets.Options{})})
	_, groups := runtest.Resolve(t, d)
	require.Len(t, groups["kubelets"], 1)
	require.EqualError(t, d.UnreachableNodes()["n2"], `its address "10.1.0.2/x" is no host name and no IP address`)
}
