package embedded

import (
	"net"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/promlet/promlet/discovery/objects"
)

func TestOtherReplicaAnswers(t *testing.T) {
	store := objects.NewStore()
	slices, ok := store.Indexer(discoveryv1.Resource("endpointslices"))
	require.True(t, ok)
	p := &Promlet{objects: store, opts: Options{Replica: Replica{Namespace: "promlet", Service: "promlet", Pod: "promlet-1"}}}
	f := func(namespace, service, pod string, ready, want bool) {
		t.Helper()
		require.NoError(t, slices.Replace([]any{&discoveryv1.EndpointSlice{
			ObjectMeta: metav1.ObjectMeta{Name: "s", Namespace: namespace, Labels: map[string]string{discoveryv1.LabelServiceName: service}},
			Endpoints: []discoveryv1.Endpoint{{
				Addresses:  []string{net.IPv4(10, 0, 0, 1).String()},
				Conditions: discoveryv1.EndpointConditions{Ready: &ready},
				TargetRef:  &corev1.ObjectReference{Kind: "Pod", Name: pod},
			}},
		}}, ""))
		require.Equal(t, want, p.otherReplicaAnswers())
	}
	f("promlet", "promlet", "promlet-2", true, true)
	f("promlet", "promlet", "promlet-2", false, false)
	f("promlet", "promlet", "promlet-1", true, false)
	f("promlet", "other", "promlet-2", true, false)
	f("other", "promlet", "promlet-2", true, false)
	p.opts.Replica = Replica{}
	f("promlet", "promlet", "promlet-2", true, false)
}

func TestOwnPod(t *testing.T) {
	store := objects.NewStore()
	pods, ok := store.Indexer(corev1.Resource("pods"))
	require.True(t, ok)
	require.NoError(t, pods.Add(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "promlet", Name: "promlet-1", UID: "u"}}))
	p := &Promlet{objects: store, opts: Options{Replica: Replica{Namespace: "promlet", Service: "promlet", Pod: "promlet-1"}}}
	require.Equal(t, &corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: "promlet", Name: "promlet-1", UID: "u"}, p.ownPod())
	p.opts.Replica.Pod = "laptop"
	require.Nil(t, p.ownPod())
	p.opts.Replica = Replica{}
	require.Nil(t, p.ownPod())
}
