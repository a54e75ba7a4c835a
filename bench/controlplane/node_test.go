package controlplane

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
)

// The body is a kubelet's, and the counters are exact through changes of what is used.
func TestResourceMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // it begins at 2000-01-01
		c := newCounters()
		use := Use{Cores: 0.25, Bytes: 100 << 20}
		usage := Usage{
			Container: func(_ *corev1.Pod, name string) Use {
				if name == "sidecar" {
					return Use{Cores: 0.001, Bytes: 1000}
				}
				return use
			},
			Node: func(string) Use { return Use{Cores: 2, Bytes: 1 << 30} },
		}
		c.set(usage)
		c.startNode("node-1")
		c.startNode("node-2")
		web := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web", UID: "1"}}
		web.Spec.Containers = []corev1.Container{{Name: "web"}, {Name: "sidecar"}}
		c.startPod("node-1", web)
		c.startPod("node-2", &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "other", UID: types.UID("2")}})
		body := func() string {
			answer := httptest.NewRecorder()
			resourceMetrics{counters: c, node: "node-1"}.handler().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics/resource", http.NoBody))
			require.Equal(t, http.StatusOK, answer.Code)
			return answer.Body.String()
		}
		time.Sleep(10 * time.Second)
		want := `# HELP container_cpu_usage_seconds_total [STABLE] Cumulative cpu time consumed by the container in core-seconds
# TYPE container_cpu_usage_seconds_total counter
container_cpu_usage_seconds_total{container="sidecar",namespace="default",pod="web"} 0.01 946684810000
container_cpu_usage_seconds_total{container="web",namespace="default",pod="web"} 2.5 946684810000
# HELP container_memory_working_set_bytes [STABLE] Current working set of the container in bytes
# TYPE container_memory_working_set_bytes gauge
container_memory_working_set_bytes{container="sidecar",namespace="default",pod="web"} 1000 946684810000
container_memory_working_set_bytes{container="web",namespace="default",pod="web"} 1.048576e+08 946684810000
# HELP container_start_time_seconds [STABLE] Start time of the container since unix epoch in seconds
# TYPE container_start_time_seconds gauge
container_start_time_seconds{container="sidecar",namespace="default",pod="web"} 9.466848e+08
container_start_time_seconds{container="web",namespace="default",pod="web"} 9.466848e+08
# HELP node_cpu_usage_seconds_total [STABLE] Cumulative cpu time consumed by the node in core-seconds
# TYPE node_cpu_usage_seconds_total counter
node_cpu_usage_seconds_total 20 946684810000
# HELP node_memory_working_set_bytes [STABLE] Current working set of the node in bytes
# TYPE node_memory_working_set_bytes gauge
node_memory_working_set_bytes 1.073741824e+09 946684810000
# HELP pod_cpu_usage_seconds_total [STABLE] Cumulative cpu time consumed by the pod in core-seconds
# TYPE pod_cpu_usage_seconds_total counter
pod_cpu_usage_seconds_total{namespace="default",pod="web"} 2.51 946684810000
# HELP pod_memory_working_set_bytes [STABLE] Current working set of the pod in bytes
# TYPE pod_memory_working_set_bytes gauge
pod_memory_working_set_bytes{namespace="default",pod="web"} 1.048586e+08 946684810000
# HELP resource_scrape_error [STABLE] 1 if there was an error while getting container metrics, 0 otherwise
# TYPE resource_scrape_error gauge
resource_scrape_error 0
`
		require.Equal(t, want, body())

		use.Cores = 1
		c.set(usage)
		time.Sleep(1500 * time.Millisecond)
		use.Cores = 0
		c.set(usage)
		time.Sleep(time.Hour)
		require.Contains(t, body(), `container_cpu_usage_seconds_total{container="web",namespace="default",pod="web"} 4 `)

		c.startPod("node-1", web) // again
		time.Sleep(time.Second)
		require.Contains(t, body(), `container_cpu_usage_seconds_total{container="sidecar",namespace="default",pod="web"} 0.001 `)
		require.Contains(t, body(), `container_start_time_seconds{container="web",namespace="default",pod="web"} 9.466884115e+08`)
		c.endPod(web)
		require.NotContains(t, body(), "container_")
	})
}

// nodeServesMetrics shows that nodes answer those who may read them, and what their troubles look like.
func nodeServesMetrics(t *testing.T, plane *Plane, kubelet *Kubelet, client *kubernetes.Clientset) {
	ctx := t.Context()
	node, err := kubelet.AddNode(ctx, "node-2")
	require.NoError(t, err)
	pem, err := os.ReadFile(plane.pki.crt(clusterCA))
	require.NoError(t, err)
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(pem))
	caller := &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{
		DialContext: plane.Network().DialContext, TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true,
	}}
	get := func(address, token string) (int, string, error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+address+":10250/metrics/resource", http.NoBody)
		require.NoError(t, err)
		request.Header.Set("Authorization", "Bearer "+token)
		response, err := caller.Do(request)
		if err != nil {
			return 0, "", err
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		return response.StatusCode, string(body), err
	}
	f := func(token string, want int, says string) {
		t.Helper()
		code, body, err := get(node.Address, token)
		require.NoError(t, err)
		require.Equal(t, want, code, body)
		require.Contains(t, body, says)
	}
	f("", http.StatusUnauthorized, "Unauthorized")
	f("wrong", http.StatusUnauthorized, "Unauthorized")
	created, err := client.CoreV1().ServiceAccounts("default").CreateToken(ctx, "default", &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	require.NoError(t, err)
	token := created.Status.Token
	f(token, http.StatusForbidden, "Forbidden (user=system:serviceaccount:default:default, verb=get, resource=nodes, subresource(s)=[metrics])")
	_, err = client.RbacV1().ClusterRoles().Create(ctx, &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: "kubelets"},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"nodes/metrics"}, Verbs: []string{"get"}}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = client.RbacV1().ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "kubelets"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "kubelets"},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: "default", Name: "default"}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		code, _, err := get(node.Address, token)
		return err == nil && code == http.StatusOK
	}, patience, 100*time.Millisecond)
	code, body, err := get("10.244.254.1", token)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, code)
	require.Len(t, regexp.MustCompile(`(?m)^container_cpu_usage_seconds_total\{container="web",namespace="default",pod="web-`).FindAllString(body, -1), 2, "of this node's pods\n%s", body)
	f(token, http.StatusOK, "node_cpu_usage_seconds_total")

	require.NoError(t, node.Hang())
	_, _, err = get(node.Address, token)
	require.ErrorContains(t, err, "Client.Timeout exceeded")
	require.NoError(t, node.Impersonate("elsewhere"))
	_, _, err = get(node.Address, token)
	require.ErrorContains(t, err, "cannot validate certificate for "+node.Address)
	require.NoError(t, node.Vanish())
	_, _, err = get(node.Address, token)
	require.ErrorContains(t, err, "no pod listens there")
	require.NoError(t, node.Leave(ctx))
	_, err = client.CoreV1().Nodes().Get(ctx, node.Name, metav1.GetOptions{})
	require.True(t, apierrors.IsNotFound(err), "%v", err)
	require.NoError(t, node.Leave(ctx), "it has left")
	require.Empty(t, kubelet.hostIP("node-3"))
}
