package servingcert

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"log/slog"
	"maps"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
)

const (
	testNamespace = "promlet"
	testSecret    = "promlet-serving-cert"
	testService   = "adapter"
	testHost      = "adapter.promlet.svc"

	custom   = "v1beta1.custom.metrics.k8s.io"
	custom2  = "v1beta2.custom.metrics.k8s.io"
	external = "v1beta1.external.metrics.k8s.io"
)

// cluster is the fake clients, with what an API server adds to them: resource
// versions and conflicts, and the two rules of validation that matter here.
type cluster struct {
	t       *testing.T
	secrets *fake.Clientset
	dynamic *dynamicfake.FakeDynamicClient
	version atomic.Int64
}

func apiServicesResource() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "apiregistration.k8s.io", Version: "v1", Resource: "apiservices"}
}

func secretsResource() schema.GroupVersionResource {
	return corev1.SchemeGroupVersion.WithResource("secrets")
}

// newCluster has APIServices of the given names, all of the Service under test.
func newCluster(t *testing.T, apiServices ...string) *cluster {
	c := &cluster{t: t, secrets: fake.NewClientset()}
	c.dynamic = dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(),
		map[schema.GroupVersionResource]string{apiServicesResource(): "APIServiceList"})
	for _, name := range apiServices {
		c.addAPIService(name, testNamespace, testService)
	}
	c.secrets.PrependReactor("create", "secrets", c.storeSecret)
	c.secrets.PrependReactor("update", "secrets", c.storeSecret)
	c.dynamic.PrependReactor("patch", "apiservices", c.patchAPIService)
	return c
}

func (c *cluster) nextVersion() string { return strconv.FormatInt(c.version.Add(1), 10) }

func (c *cluster) storeSecret(action clienttesting.Action) (bool, runtime.Object, error) {
	secret := action.(clienttesting.CreateAction).GetObject().(*corev1.Secret).DeepCopy()
	for _, key := range []string{corev1.TLSCertKey, corev1.TLSPrivateKeyKey} {
		if _, ok := secret.Data[key]; !ok && secret.Type == corev1.SecretTypeTLS {
			return true, nil, apierrors.NewBadRequest("data[" + key + "]: Required value")
		}
	}
	if action.GetVerb() == "create" {
		secret.ResourceVersion = c.nextVersion()
		return true, secret, c.secrets.Tracker().Create(secretsResource(), secret, secret.Namespace)
	}
	present, err := c.secrets.Tracker().Get(secretsResource(), secret.Namespace, secret.Name)
	if err != nil {
		return true, nil, err
	}
	if present.(*corev1.Secret).ResourceVersion != secret.ResourceVersion {
		return true, nil, apierrors.NewConflict(secretsResource().GroupResource(), secret.Name, nil)
	}
	secret.ResourceVersion = c.nextVersion()
	return true, secret, c.secrets.Tracker().Update(secretsResource(), secret, secret.Namespace)
}

// patchAPIService applies a merge patch of a flat spec, and refuses what an API
// server does.
func (c *cluster) patchAPIService(action clienttesting.Action) (bool, runtime.Object, error) {
	name := action.(clienttesting.PatchAction).GetName()
	present, err := c.dynamic.Tracker().Get(apiServicesResource(), "", name)
	if err != nil {
		return true, nil, err
	}
	object := present.(*unstructured.Unstructured).DeepCopy()
	var patch struct {
		Metadata struct{ ResourceVersion string }
		Spec     map[string]any
	}
	if action.(clienttesting.PatchAction).GetPatchType() != types.MergePatchType {
		return true, nil, apierrors.NewBadRequest("only JSON merge patches are known here")
	}
	if err := json.Unmarshal(action.(clienttesting.PatchAction).GetPatch(), &patch); err != nil {
		return true, nil, apierrors.NewBadRequest(err.Error())
	}
	if patch.Metadata.ResourceVersion != object.GetResourceVersion() {
		return true, nil, apierrors.NewConflict(apiServicesResource().GroupResource(), name, nil)
	}
	spec := object.Object["spec"].(map[string]any)
	maps.Copy(spec, patch.Spec)
	if spec["insecureSkipTLSVerify"] == true && spec["caBundle"] != nil {
		return true, nil, apierrors.NewBadRequest("spec.insecureSkipTLSVerify: may not be true if caBundle is present")
	}
	object.SetResourceVersion(c.nextVersion())
	return true, object, c.dynamic.Tracker().Update(apiServicesResource(), object, "")
}

func (c *cluster) addAPIService(name, namespace, service string) {
	require.NoError(c.t, c.dynamic.Tracker().Create(apiServicesResource(), &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiregistration.k8s.io/v1",
		"kind":       "APIService",
		"metadata":   map[string]any{"name": name, "resourceVersion": c.nextVersion()},
		"spec": map[string]any{
			"service":      map[string]any{"namespace": namespace, "name": service, "port": int64(443)},
			"groupVersion": "kept",
		},
	}}, ""))
}

// editAPIService changes an APIService as a person would.
func (c *cluster) editAPIService(name string, edit func(spec map[string]any)) {
	c.editWhole(name, func(object *unstructured.Unstructured) { edit(object.Object["spec"].(map[string]any)) })
}

// editWhole changes more of an APIService than its spec.
func (c *cluster) editWhole(name string, edit func(object *unstructured.Unstructured)) {
	object := c.apiService(name)
	edit(object)
	object.SetResourceVersion(c.nextVersion())
	require.NoError(c.t, c.dynamic.Tracker().Update(apiServicesResource(), object, ""))
}

// unavailable makes an APIService say why it is not available.
func (c *cluster) unavailable(name, reason string) {
	c.editWhole(name, func(object *unstructured.Unstructured) {
		object.Object["status"] = map[string]any{"conditions": []any{map[string]any{"type": "Available", "status": "False", "reason": reason}}}
	})
}

func (c *cluster) apiService(name string) *unstructured.Unstructured {
	object, err := c.dynamic.Tracker().Get(apiServicesResource(), "", name)
	require.NoError(c.t, err)
	return object.(*unstructured.Unstructured).DeepCopy()
}

func (c *cluster) caBundle(name string) []byte {
	text, _, err := unstructured.NestedString(c.apiService(name).Object, "spec", "caBundle")
	require.NoError(c.t, err)
	bundle, err := base64.StdEncoding.DecodeString(text)
	require.NoError(c.t, err)
	return bundle
}

// secret is the Secret, nil when there is none.
func (c *cluster) secret() *corev1.Secret {
	object, err := c.secrets.Tracker().Get(secretsResource(), testNamespace, testSecret)
	if apierrors.IsNotFound(err) {
		return nil
	}
	require.NoError(c.t, err)
	return object.(*corev1.Secret).DeepCopy()
}

// editSecret changes the Secret's data as a person would, past the reactors.
func (c *cluster) editSecret(edit func(data map[string][]byte)) {
	secret := c.secret()
	edit(secret.Data)
	secret.ResourceVersion = c.nextVersion()
	require.NoError(c.t, c.secrets.Tracker().Update(secretsResource(), secret, testNamespace))
}

func (c *cluster) deleteSecret() {
	require.NoError(c.t, c.secrets.Tracker().Delete(secretsResource(), testNamespace, testSecret))
}

// fail makes requests fail with the error that the function returns, until it
// returns nil.
func (c *cluster) fail(verb, resource string, reason func() error) {
	reaction := func(clienttesting.Action) (bool, runtime.Object, error) {
		err := reason()
		return err != nil, nil, err
	}
	c.secrets.PrependReactor(verb, resource, reaction)
	c.dynamic.PrependReactor(verb, resource, reaction)
}

// writes counts the requests that change something.
func (c *cluster) writes() int {
	n := 0
	for _, action := range append(c.secrets.Actions(), c.dynamic.Actions()...) {
		if action.GetVerb() != "get" {
			n++
		}
	}
	return n
}

// keeper makes a Keeper of this cluster; edit may change its options.
func (c *cluster) keeper(edit func(*Options)) *Keeper {
	opts := Options{
		Secrets:     c.secrets.CoreV1(),
		Dynamic:     c.dynamic,
		Namespace:   testNamespace,
		Secret:      testSecret,
		Service:     testService,
		APIServices: []string{custom},
	}
	if edit != nil {
		edit(&opts)
	}
	k, err := New(opts)
	require.NoError(c.t, err)
	return k
}

// run runs the keepers until the test calls what it returns.
func run(t *testing.T, keepers ...*Keeper) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, len(keepers))
	for _, k := range keepers {
		go func() { done <- k.Run(ctx) }()
	}
	return func() {
		cancel()
		for range keepers {
			require.NoError(t, <-done)
		}
	}
}

func certificates(t *testing.T, text []byte) []*x509.Certificate {
	var certs []*x509.Certificate
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		cert, err := x509.ParseCertificate(block.Bytes)
		require.NoError(t, err)
		certs = append(certs, cert)
	}
	return certs
}

func served(t *testing.T, k *Keeper) *x509.Certificate {
	cert, key := k.CurrentCertKeyContent()
	pair, err := tls.X509KeyPair(cert, key)
	require.NoError(t, err)
	parsed, err := k.GetCertificate(nil)
	require.NoError(t, err)
	require.Equal(t, pair.Certificate, parsed.Certificate)
	require.Equal(t, pair.PrivateKey, parsed.PrivateKey)
	return pair.Leaf
}

// accepts verifies what is served as kube-apiserver does with a caBundle.
func accepts(t *testing.T, bundle []byte, leaf *x509.Certificate) error {
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(bundle), "caBundle without a certificate")
	_, err := leaf.Verify(x509.VerifyOptions{DNSName: testHost, Roots: roots, CurrentTime: time.Now()})
	return err
}

// logged is a logger and the text of what it got.
func logged() (*slog.Logger, *bytes.Buffer) {
	var text bytes.Buffer
	return slog.New(slog.NewTextHandler(&text, nil)), &text
}

func countLines(text *bytes.Buffer) int { return bytes.Count(text.Bytes(), []byte("\n")) }
