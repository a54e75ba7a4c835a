package deploy_test

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/promlet/promlet/adapter/servingcert"
	"github.com/promlet/promlet/bench/controlplane"
)

// promletsCertificate keeps the serving certificate as promlet's ServiceAccount does. More APIServices may be added.
func promletsCertificate(t *testing.T, config *rest.Config, more ...string) *servingcert.Keeper {
	t.Helper()
	config = rest.CopyConfig(config)
	config.Impersonate.UserName = "system:serviceaccount:promlet:promlet"
	client, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
	objects, err := dynamic.NewForConfig(config)
	require.NoError(t, err)
	keeper, err := servingcert.New(servingcert.Options{
		Secrets: client.CoreV1(), Dynamic: objects, Namespace: "promlet", Secret: "promlet-serving-cert", Service: "promlet",
		APIServices: append([]string{"v1beta1.custom.metrics.k8s.io", "v1beta2.custom.metrics.k8s.io"}, more...),
	})
	require.NoError(t, err)
	return keeper
}

// The permissions of the manifests suffice to keep the certificate in the Secret of the
// manifests, and to apply these again takes nothing from it.
func TestApplyLeavesTheCertificateAlone(t *testing.T) {
	binary, err := controlplane.Build(t.Context(), controlplane.DefaultVersion, os.Stderr)
	require.NoError(t, err)
	plane, err := controlplane.Start(t.Context(), controlplane.Options{Binary: binary, LogDir: t.TempDir()})
	require.NoError(t, err)
	defer func() { require.NoError(t, plane.Stop()) }()
	client, err := kubernetes.NewForConfig(plane.Config())
	require.NoError(t, err)
	secrets := client.CoreV1().Secrets("promlet")
	secret := func() *corev1.Secret {
		found, err := secrets.Get(t.Context(), "promlet-serving-cert", metav1.GetOptions{})
		require.NoError(t, err)
		return found
	}
	apply := func(flags ...string) {
		out, err := plane.Kubectl(t.Context(), append([]string{"apply", "-f", "install.yaml"}, flags...)...).CombinedOutput()
		require.NoError(t, err, string(out))
	}
	apply()
	require.Empty(t, secret().Data)
	keeper := promletsCertificate(t, plane.Config())
	// The authorizer learns of new roles by watching them.
	require.Eventually(t, func() bool { return keeper.Ensure(t.Context()) == nil && len(keeper.Problems()) == 0 }, time.Minute, 100*time.Millisecond)
	made := secret()
	require.Len(t, made.Data, 4)
	for range 2 {
		apply()
		apply("--server-side", "--force-conflicts")
		require.Equal(t, made.Data, secret().Data)
		require.NoError(t, keeper.Ensure(t.Context()))
		require.Empty(t, keeper.Problems())
		require.Equal(t, made.Data, secret().Data)
	}

	// Deleted, it is not made anew: who runs goes on, who starts says what to do.
	require.NoError(t, secrets.Delete(t.Context(), made.Name, metav1.DeleteOptions{}))
	const mend = "apply deploy/ again, which has the permissions and the Secret"
	require.NoError(t, keeper.Ensure(t.Context()))
	require.Len(t, keeper.Problems(), 1)
	require.Contains(t, keeper.Problems()[0], mend)
	require.ErrorContains(t, promletsCertificate(t, plane.Config()).Ensure(t.Context()), mend)
	apply()
	require.NoError(t, keeper.Ensure(t.Context()))
	require.Empty(t, keeper.Problems())
	require.Len(t, secret().Data, 4)

	// One that an earlier promlet has made is of another type.
	require.NoError(t, secrets.Delete(t.Context(), made.Name, metav1.DeleteOptions{}))
	older := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: made.Name}, Type: corev1.SecretTypeTLS, Data: made.Data}
	_, err = secrets.Create(t.Context(), older, metav1.CreateOptions{FieldManager: "promlet"})
	require.NoError(t, err)
	apply()
	apply("--server-side", "--force-conflicts")
	require.Equal(t, made.Data, secret().Data)

	require.Eventually(t, func() bool {
		pods, err := client.CoreV1().Pods("promlet").List(t.Context(), metav1.ListOptions{})
		return err == nil && len(pods.Items) > 0 && *pods.Items[0].Spec.Priority == 1_000_000_000
	}, time.Minute, 100*time.Millisecond, "the class is there before the pods")
}
