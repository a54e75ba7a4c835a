package discovery

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	commonconfig "github.com/prometheus/common/config"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
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

func TestReferencesThatFail(t *testing.T) {
	c := newFakeCluster(t, web, monitor(secretMonitor), `{apiVersion: v1, kind: Secret, metadata: {name: creds}, stringData: {token: one}}`)
	c.setCRDs("servicemonitors")
	failing := true
	var mtx sync.Mutex
	c.kube.PrependReactor("list", "secrets", func(clienttesting.Action) (bool, runtime.Object, error) {
		mtx.Lock()
		defer mtx.Unlock()
		return failing, nil, apierrors.NewInternalError(errors.New("etcd cannot decrypt"))
	})
	d := New(NewObjects(), Options{})
	var a applied
	start(t, d, Cluster(c.clients(), ClusterOptions{}), &a)
	eventually(t, func() bool { return strings.Contains(rejected(d, "m"), "etcd cannot decrypt") })
	mtx.Lock()
	failing = false
	mtx.Unlock()
	eventually(t, func() bool { return tokenOf(&a) == "one" })
}

// TestReferencesComeAndGo drops a reference and takes it up again while the one who
// follows may not have looked in between.
func TestReferencesComeAndGo(t *testing.T) {
	c := newFakeCluster(t, web, monitor(secretMonitor), `{apiVersion: v1, kind: Secret, metadata: {name: creds}, stringData: {token: one}}`)
	c.setCRDs("servicemonitors")
	o := NewObjects()
	d := New(o, Options{})
	ctx, cancel := context.WithCancel(context.Background())
	src := Cluster(c.clients(), ClusterOptions{})
	done := make(chan error, 1)
	go func() { done <- src.Run(ctx, o, func() {}) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})
	eventually(t, src.HasSynced)
	read := func() bool {
		_, pending, err := d.resolve()
		require.NoError(t, err)
		return !pending && rejected(d, "m") == ""
	}
	eventually(t, read)
	m := inNamespaces[monitoringv1.ServiceMonitor](o.serviceMonitors, nil)[0]
	for range 50 {
		require.NoError(t, o.serviceMonitors.Delete(m))
		resolve(t, d)
		require.NoError(t, o.serviceMonitors.Add(m))
		eventually(t, read)
	}
}

func TestReferencesAreBounded(t *testing.T) {
	texts := []string{web}
	for i := range maxReferencesPerNamespace + 5 {
		texts = append(texts,
			strings.Replace(monitor(fmt.Sprintf(`{selector: {}, endpoints: [{authorization: {credentials: {name: "s%03d", key: token}}}]}`, i)), "name: m", fmt.Sprintf("name: m%03d", i), 1),
			fmt.Sprintf(`{apiVersion: v1, kind: Secret, metadata: {name: "s%03d"}, stringData: {token: one}}`, i))
	}
	c := newFakeCluster(t, texts...)
	c.setCRDs("servicemonitors")
	o := NewObjects()
	d := New(o, Options{})
	var a applied
	start(t, d, Cluster(c.clients(), ClusterOptions{}), &a)
	good := func() (n int) {
		for _, m := range d.Monitors() {
			if m.Err == nil {
				n++
			}
		}
		return n
	}
	eventually(t, func() bool { return good() == maxReferencesPerNamespace })
	require.Contains(t, rejected(d, "m104"), "monitors of its namespace refer to more than 100 Secrets and ConfigMaps")
}

func TestReferenceNames(t *testing.T) {
	for name, want := range map[string]string{
		`""`: "the Secret has no name", `a/b`: "there can be no Secret of this name", `"*"`: "there can be no Secret of this name",
		strings.Repeat("a", 300): "there can be no Secret of this name", "gone": "there is no Secret default/gone",
	} {
		d := New(load(t, monitor(`{selector: {}, endpoints: [{authorization: {credentials: {name: x, key: k}}, basicAuth: null}, {basicAuth: {username: {name: `+name+`, key: k}}}]}`),
			`{apiVersion: v1, kind: Secret, metadata: {name: x}, stringData: {k: v}}`), Options{})
		resolve(t, d)
		require.ErrorContains(t, d.Monitors()[0].Err, "spec.endpoints[1].basicAuth.username: "+want)
	}
}

func TestNamespaceLabelsAreFollowed(t *testing.T) {
	c := newFakeCluster(t, web, webMonitor)
	c.setCRDs("servicemonitors")
	selector, err := labels.Parse("team=blue")
	require.NoError(t, err)
	d := New(NewObjects(), Options{MonitorNamespaceSelector: selector})
	var a applied
	start(t, d, Cluster(c.clients(), ClusterOptions{}), &a)
	eventuallyTargets(t, &a, "")
	namespace := &metav1.PartialObjectMetadata{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"},
		ObjectMeta: metav1.ObjectMeta{Name: "default", ResourceVersion: "77", Labels: map[string]string{"team": "blue"}},
	}
	require.NoError(t, c.metadata.Tracker().Update(corev1.SchemeGroupVersion.WithResource("namespaces"), namespace, ""))
	eventuallyTargets(t, &a, webTargets)
}
