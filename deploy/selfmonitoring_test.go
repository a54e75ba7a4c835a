package deploy_test

import (
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"
)

// The ServiceMonitor reaches promlet's port with a token that may read /metrics and
// nothing else, and verifies the certificate.
func TestSelfMonitoring(t *testing.T) {
	const dir = "components/self-monitoring/"
	install := read(t, "install.yaml")
	monitors := read(t, dir+"servicemonitor.yaml")
	require.Len(t, monitors, 1)
	written, err := monitors[0].MarshalJSON()
	require.NoError(t, err)
	var monitor monitoringv1.ServiceMonitor
	require.NoError(t, yaml.UnmarshalStrict(written, &monitor))
	service := find[corev1.Service](t, install, "Service promlet/promlet")
	require.Subset(t, service.Labels, monitor.Spec.Selector.MatchLabels)
	require.Len(t, monitor.Spec.Endpoints, 1)
	endpoint := monitor.Spec.Endpoints[0]
	require.Equal(t, service.Spec.Ports[0].Name, endpoint.Port)
	require.Equal(t, "https", string(*endpoint.Scheme))
	require.Equal(t, service.Name+"."+service.Namespace+".svc", *endpoint.TLSConfig.ServerName)
	require.Nil(t, endpoint.TLSConfig.InsecureSkipVerify)
	require.Equal(t, "promlet-serving-cert", endpoint.TLSConfig.CA.Secret.Name, "the Secret of --serving-cert-secret")

	reader := read(t, dir+"reader.yaml")
	token := find[corev1.Secret](t, reader, "Secret promlet/"+endpoint.Authorization.Credentials.Name)
	require.Equal(t, corev1.SecretTypeServiceAccountToken, token.Type)
	require.Equal(t, corev1.ServiceAccountTokenKey, endpoint.Authorization.Credentials.Key)
	account := find[corev1.ServiceAccount](t, reader, "ServiceAccount promlet/"+token.Annotations[corev1.ServiceAccountNameKey])
	role := find[rbacv1.ClusterRole](t, reader, "ClusterRole promlet-metrics-reader")
	require.Equal(t, []rbacv1.PolicyRule{{NonResourceURLs: []string{"/metrics"}, Verbs: []string{"get"}}}, role.Rules)
	binding := find[rbacv1.ClusterRoleBinding](t, reader, "ClusterRoleBinding promlet-metrics-reader")
	require.Equal(t, rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name}, binding.RoleRef)
	require.Equal(t, []rbacv1.Subject{{Kind: "ServiceAccount", Name: account.Name, Namespace: account.Namespace}}, binding.Subjects)
}
