package cluster

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

	"github.com/promlet/promlet/discovery"
	"github.com/promlet/promlet/discovery/internal/runtest"
	"github.com/promlet/promlet/discovery/internal/samples"
	"github.com/promlet/promlet/discovery/internal/storetest"
	"github.com/promlet/promlet/discovery/objects"
)

// tokenOf returns what the last targets are scraped with.
func tokenOf(a *runtest.Applied) commonconfig.Secret {
	calls := a.All()
	if len(calls) == 0 {
		return ""
	}
	for _, c := range calls[len(calls)-1].Configs {
		if auth := c.HTTPClientConfig.Authorization; auth != nil {
			return auth.Credentials
		}
	}
	return ""
}

const secretMonitor = `{selector: {matchLabels: {app: web}}, endpoints: [{port: metrics, authorization: {credentials: {name: creds, key: token}}}]}`

func TestReadsReferences(t *testing.T) {
	ctx := context.Background()
	creds := `{apiVersion: v1, kind: Secret, metadata: {name: creds}, stringData: {token: one}}`
	c := newFakeCluster(t, samples.Web, samples.ServiceMonitor(secretMonitor), creds, `{apiVersion: v1, kind: Secret, metadata: {name: private, namespace: shop}, stringData: {a: b}}`)
	c.setCRDs("servicemonitors")
	o := objects.NewStore()
	d := discovery.New(o, discovery.Options{})
	var a runtest.Applied
	start(t, d, New(c.clients(), Options{}), &a)
	runtest.EventuallyTargets(t, &a, samples.WebTargets)
	require.Equal(t, commonconfig.Secret("one"), tokenOf(&a))
	require.Len(t, a.All(), 1, "the first targets wait for the Secret")
	for _, action := range c.kube.Actions() {
		if list, ok := action.(clienttesting.ListAction); ok && action.GetResource().Resource == "secrets" {
			require.Equal(t, "default", action.GetNamespace())
			require.Equal(t, "metadata.name=creds", list.GetListRestrictions().Fields.String())
		}
	}
	require.Nil(t, objects.Get[corev1.Secret](o, "shop/private"), "nothing else is read")

	secrets := c.kube.CoreV1().Secrets("default")
	_, err := secrets.Update(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "creds", Namespace: "default", ResourceVersion: "2"},
		Data: map[string][]byte{"token": []byte("two")}}, metav1.UpdateOptions{})
	require.NoError(t, err)
	runtest.Eventually(t, func() bool { return tokenOf(&a) == "two" })

	require.NoError(t, secrets.Delete(ctx, "creds", metav1.DeleteOptions{}))
	runtest.EventuallyTargets(t, &a, "")
	require.Contains(t, runtest.Rejected(d.Monitors(), "m"), "there is no Secret default/creds")
}

func TestMayNotReadReferences(t *testing.T) {
	c := newFakeCluster(t, samples.Web, samples.ServiceMonitor(secretMonitor), strings.Replace(samples.PodMonitor(`{selector: {}, podMetricsEndpoints: [{}]}`), "name: m", "name: good", 1),
		`{apiVersion: v1, kind: Secret, metadata: {name: creds}, stringData: {token: one}}`)
	c.setCRDs("servicemonitors", "podmonitors")
	refusal := refuse(&c.kube.Fake, "list", "secrets")
	refuseWatch := refuse(&c.kube.Fake, "watch", "secrets")
	o := objects.NewStore()
	d := discovery.New(o, discovery.Options{})
	var a runtest.Applied
	start(t, d, New(c.clients(), Options{}), &a)
	runtest.Eventually(t, func() bool {
		return strings.Contains(runtest.Rejected(d.Monitors(), "m"), "Secret default/creds cannot be read")
	})
	require.Contains(t, runtest.Rejected(d.Monitors(), "m"), "list and watch")
	runtest.Eventually(t, func() bool { return len(a.Last()) > 0 }, "the other monitor goes on")

	refusal.set(false)
	refuseWatch.set(false)
	runtest.Eventually(t, func() bool { return tokenOf(&a) == "one" })
	require.Empty(t, runtest.Rejected(d.Monitors(), "m"))
}

func TestReferencesAreLetGo(t *testing.T) {
	c := newFakeCluster(t, samples.Web, samples.ServiceMonitor(secretMonitor), `{apiVersion: v1, kind: Secret, metadata: {name: creds}, stringData: {token: one}}`)
	c.setCRDs("servicemonitors")
	o := objects.NewStore()
	d := discovery.New(o, discovery.Options{})
	var a runtest.Applied
	start(t, d, New(c.clients(), Options{CRDPoll: 1}), &a)
	runtest.EventuallyTargets(t, &a, samples.WebTargets)
	c.setCRDs()
	runtest.EventuallyTargets(t, &a, "")
	runtest.Eventually(t, func() bool { return objects.Get[corev1.Secret](o, "default/creds") == nil })
	require.Empty(t, o.References().Wanted())
}

func TestReferencesThatFail(t *testing.T) {
	c := newFakeCluster(t, samples.Web, samples.ServiceMonitor(secretMonitor), `{apiVersion: v1, kind: Secret, metadata: {name: creds}, stringData: {token: one}}`)
	c.setCRDs("servicemonitors")
	failing := true
	var mtx sync.Mutex
	c.kube.PrependReactor("list", "secrets", func(clienttesting.Action) (bool, runtime.Object, error) {
		mtx.Lock()
		defer mtx.Unlock()
		return failing, nil, apierrors.NewInternalError(errors.New("etcd cannot decrypt"))
	})
	d := discovery.New(objects.NewStore(), discovery.Options{})
	var a runtest.Applied
	start(t, d, New(c.clients(), Options{}), &a)
	runtest.Eventually(t, func() bool { return strings.Contains(runtest.Rejected(d.Monitors(), "m"), "etcd cannot decrypt") })
	mtx.Lock()
	failing = false
	mtx.Unlock()
	runtest.Eventually(t, func() bool { return tokenOf(&a) == "one" })
}

// TestReferencesComeAndGo drops a reference and takes it up again while the one who
// follows may not have looked in between.
func TestReferencesComeAndGo(t *testing.T) {
	c := newFakeCluster(t, samples.Web, samples.ServiceMonitor(secretMonitor), `{apiVersion: v1, kind: Secret, metadata: {name: creds}, stringData: {token: one}}`)
	c.setCRDs("servicemonitors")
	o := objects.NewStore()
	d := discovery.New(o, discovery.Options{})
	ctx, cancel := context.WithCancel(context.Background())
	src := New(c.clients(), Options{})
	done := make(chan error, 1)
	go func() { done <- src.Run(ctx, o, func() {}) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})
	runtest.Eventually(t, src.HasSynced)
	read := func() bool {
		configs, _, err := d.Resolve()
		require.NoError(t, err)
		return len(configs) == 1 && runtest.Rejected(d.Monitors(), "m") == ""
	}
	runtest.Eventually(t, read)
	m := objects.List[monitoringv1.ServiceMonitor](o, nil)[0]
	for range 50 {
		require.NoError(t, storetest.ServiceMonitors(o).Delete(m))
		_, _, err := d.Resolve()
		require.NoError(t, err)
		require.NoError(t, storetest.ServiceMonitors(o).Add(m))
		runtest.Eventually(t, read)
	}
}

func TestReferencesAreBounded(t *testing.T) {
	texts := []string{samples.Web}
	for i := range maxReferencesPerNamespace + 5 {
		texts = append(texts,
			strings.Replace(samples.ServiceMonitor(fmt.Sprintf(`{selector: {}, endpoints: [{authorization: {credentials: {name: "s%03d", key: token}}}]}`, i)), "name: m", fmt.Sprintf("name: m%03d", i), 1),
			fmt.Sprintf(`{apiVersion: v1, kind: Secret, metadata: {name: "s%03d"}, stringData: {token: one}}`, i))
	}
	c := newFakeCluster(t, texts...)
	c.setCRDs("servicemonitors")
	o := objects.NewStore()
	d := discovery.New(o, discovery.Options{})
	var a runtest.Applied
	start(t, d, New(c.clients(), Options{}), &a)
	good := func() (n int) {
		for _, m := range d.Monitors() {
			if m.Err == nil {
				n++
			}
		}
		return n
	}
	runtest.Eventually(t, func() bool { return good() == maxReferencesPerNamespace })
	require.Contains(t, runtest.Rejected(d.Monitors(), "m104"), "monitors of its namespace refer to more than 100 Secrets and ConfigMaps")
}

func TestNamespaceLabelsAreFollowed(t *testing.T) {
	c := newFakeCluster(t, samples.Web, samples.WebMonitor())
	c.setCRDs("servicemonitors")
	selector, err := labels.Parse("team=blue")
	require.NoError(t, err)
	d := discovery.New(objects.NewStore(), discovery.Options{MonitorNamespaceSelector: selector})
	var a runtest.Applied
	start(t, d, New(c.clients(), Options{}), &a)
	runtest.EventuallyTargets(t, &a, "")
	namespace := &metav1.PartialObjectMetadata{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"},
		ObjectMeta: metav1.ObjectMeta{Name: "default", ResourceVersion: "77", Labels: map[string]string{"team": "blue"}},
	}
	require.NoError(t, c.metadata.Tracker().Update(corev1.SchemeGroupVersion.WithResource("namespaces"), namespace, ""))
	runtest.EventuallyTargets(t, &a, samples.WebTargets)
}
