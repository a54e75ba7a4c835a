package manifests

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"github.com/promlet/promlet/discovery/objects"
)

// Set replaces the objects of a text. An invalid text changes nothing.
func TestText(t *testing.T) {
	const one = "apiVersion: v1\nkind: Service\nmetadata: {name: a}\n"
	source, err := FromText([]byte(one))
	require.NoError(t, err)
	store := objects.NewStore()
	ctx, cancel := context.WithCancel(t.Context())
	changes, ended := make(chan struct{}, 10), make(chan error, 1)
	go func() { ended <- source.Run(ctx, store, func() { changes <- struct{}{} }) }()
	next := func() {
		t.Helper()
		select {
		case <-changes:
		case <-time.After(time.Minute):
			t.Fatal("no change")
		}
	}
	next()
	require.True(t, source.HasSynced())
	require.NotNil(t, objects.Get[corev1.Service](store, "default/a"))
	require.NotNil(t, objects.Get[corev1.Namespace](store, "default"))

	err = source.Set([]byte(one + "---\n" + one + "spec: {selectr: {}}\n"))
	require.ErrorContains(t, err, "text:")
	require.ErrorContains(t, err, `unknown field "spec.selectr"`)
	require.EqualError(t, source.Set([]byte(one+"---\n"+one)), "text:5: Service default/a is in text:1 already, which counts")
	require.NotNil(t, objects.Get[corev1.Service](store, "default/a"))
	require.NoError(t, source.Set(nil))
	next()
	require.Nil(t, objects.Get[corev1.Service](store, "default/a"))
	require.Empty(t, source.Problems())
	cancel()
	require.NoError(t, <-ended)
}
