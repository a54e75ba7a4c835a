package discovery

import (
	"context"
	"strings"
	"testing"

	commonconfig "github.com/prometheus/common/config"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clienttesting "k8s.io/client-go/testing"
)

// tokenOf returns what the last targets are scraped with.
func tokenOf(a *applied) commonconfig.Secret {
	calls := a.all()
	if len(calls) == 0 {
		return ""
	}
	for _, c := range calls[len(calls)-1].configs {
		if auth := c.HTTPClientConfig.Authorization; auth != nil {
			return auth.Credentials
		}
	}
	return ""
}

const secretMonitor = `{selector: {matchLabels: {app: web}}, endpoints: [{port: metrics, authorization: {credentials: {name: creds, key: token}}}]}`

func TestClusterReadsReferences(t *testing.T) {
	ctx := context.Background()
	creds := `{apiVersion: v1, kind: Secret, metadata: {name: creds}, stringData: {token: one}}`
	c := newFakeCluster(t, web, monitor(secretMonitor), creds, `{apiVersion: v1, kind: Secret, metadata: {name: private, namespace: shop}, stringData: {a: b}}`)
	c.setCRDs("servicemonitors")
	o := NewObjects()
	d := New(o, Options{})
	var a applied
	start(t, d, Cluster(c.clients(), ClusterOptions{}), &a)
	eventuallyTargets(t, &a, webTargets)
	require.Equal(t, commonconfig.Secret("one"), tokenOf(&a))
	require.Len(t, a.all(), 1, "the first targets wait for the Secret")
	for _, action := range c.kube.Actions() {
		if list, ok := action.(clienttesting.ListAction); ok && action.GetResource().Resource == "secrets" {
			require.Equal(t, "default", action.GetNamespace())
			require.Equal(t, "metadata.name=creds", list.GetListRestrictions().Fields.String())
		}
	}
	require.Nil(t, get[corev1.Secret](o.secrets, "shop/private"), "nothing else is read")

	secrets := c.kube.CoreV1().Secrets("default")
	_, err := secrets.Update(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "creds", Namespace: "default", ResourceVersion: "2"},
		Data: map[string][]byte{"token": []byte("two")}}, metav1.UpdateOptions{})
	require.NoError(t, err)
	eventually(t, func() bool { return tokenOf(&a) == "two" })

	require.NoError(t, secrets.Delete(ctx, "creds", metav1.DeleteOptions{}))
	eventuallyTargets(t, &a, "")
	require.Contains(t, rejected(d, "m"), "there is no Secret default/creds")
}

func TestClusterMayNotReadReferences(t *testing.T) {
	c := newFakeCluster(t, web, monitor(secretMonitor), strings.Replace(podMonitorText(`{selector: {}, podMetricsEndpoints: [{}]}`), "name: m", "name: good", 1),
		`{apiVersion: v1, kind: Secret, metadata: {name: creds}, stringData: {token: one}}`)
	c.setCRDs("servicemonitors", "podmonitors")
	refusal := refuse(&c.kube.Fake, "list", "secrets")
	refuseWatch := refuse(&c.kube.Fake, "watch", "secrets")
	o := NewObjects()
	d := New(o, Options{})
	var a applied
	start(t, d, Cluster(c.clients(), ClusterOptions{}), &a)
	eventually(t, func() bool { return strings.Contains(rejected(d, "m"), "Secret default/creds cannot be read") })
	require.Contains(t, rejected(d, "m"), "list and watch")
	eventually(t, func() bool { return len(a.last()) > 0 }, "the other monitor goes on")

	refusal.set(false)
	refuseWatch.set(false)
	eventually(t, func() bool { return tokenOf(&a) == "one" })
	require.Empty(t, rejected(d, "m"))
}

func TestReferencesAreLetGo(t *testing.T) {
	c := newFakeCluster(t, web, monitor(secretMonitor), `{apiVersion: v1, kind: Secret, metadata: {name: creds}, stringData: {token: one}}`)
	c.setCRDs("servicemonitors")
	o := NewObjects()
	d := New(o, Options{})
	var a applied
	start(t, d, Cluster(c.clients(), ClusterOptions{CRDPoll: 1}), &a)
	eventuallyTargets(t, &a, webTargets)
	c.setCRDs()
	eventuallyTargets(t, &a, "")
	eventually(t, func() bool { return get[corev1.Secret](o.secrets, "default/creds") == nil })
	require.Empty(t, o.references.list())
}

func TestPendingReferencesKeepWhatThereIs(t *testing.T) {
	o := load(t, web, webMonitor)
	d := New(o, Options{})
	before, _ := resolve(t, d)
	wanted := o.references.follow() // as a Source that reads single objects
	<-wanted
	store(t, o, web, monitor(secretMonitor))
	after, groups := resolve(t, d)
	require.Equal(t, before, after)
	require.Equal(t, wantLines(webTargets), lines(groups))
	<-wanted
	ref := reference{kind: kindSecret, namespace: "default", name: "creds"}
	require.Equal(t, map[reference]bool{ref: true}, o.references.list())

	store(t, o, web, monitor(secretMonitor), `{apiVersion: v1, kind: Secret, metadata: {name: creds}, stringData: {token: one}}`)
	told := false
	o.setReference(ref, nil, func() { told = true })
	require.True(t, told)
	after, groups = resolve(t, d)
	require.Equal(t, commonconfig.Secret("one"), after["serviceMonitor/default/m/0"].HTTPClientConfig.Authorization.Credentials)
	require.Equal(t, wantLines(webTargets), lines(groups))
}
