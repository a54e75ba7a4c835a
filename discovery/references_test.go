package discovery

import (
	"testing"

	commonconfig "github.com/prometheus/common/config"
	"github.com/stretchr/testify/require"

	"github.com/promlet/promlet/discovery/internal/runtest"
	"github.com/promlet/promlet/discovery/internal/samples"
	"github.com/promlet/promlet/discovery/internal/storetest"
	"github.com/promlet/promlet/discovery/objects"
)

// secretMonitor selects web.
const secretMonitor = `{selector: {matchLabels: {app: web}}, endpoints: [{port: metrics, authorization: {credentials: {name: creds, key: token}}}]}`

func TestPendingReferencesKeepWhatThereIs(t *testing.T) {
	o := storetest.Load(t, samples.Web, samples.WebMonitor())
	d := New(o, Options{})
	before, _ := runtest.Resolve(t, d)
	wanted := o.References().Follow() // as a Source that reads single objects
	<-wanted
	storetest.Fill(t, o, samples.Web, samples.ServiceMonitor(secretMonitor))
	after, groups := runtest.Resolve(t, d)
	require.Equal(t, before, after)
	require.Equal(t, runtest.WantLines(samples.WebTargets), runtest.Lines(groups))
	<-wanted
	ref := objects.Reference{Kind: objects.KindSecret, Namespace: "default", Name: "creds"}
	require.Equal(t, map[objects.Reference]bool{ref: true}, o.References().Wanted())

	storetest.Fill(t, o, samples.Web, samples.ServiceMonitor(secretMonitor), `{apiVersion: v1, kind: Secret, metadata: {name: creds}, stringData: {token: one}}`)
	require.True(t, o.References().Set(ref, nil))
	after, groups = runtest.Resolve(t, d)
	require.Equal(t, commonconfig.Secret("one"), after["serviceMonitor/default/m/0"].HTTPClientConfig.Authorization.Credentials)
	require.Equal(t, runtest.WantLines(samples.WebTargets), runtest.Lines(groups))
}
