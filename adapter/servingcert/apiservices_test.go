package servingcert

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"
)

func TestAPIServices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, custom)
		c.addAPIService(custom2, "monitoring", "prometheus-adapter")
		k := c.keeper(func(o *Options) { o.APIServices = []string{external, custom2, "v1.", custom} })
		c.addAPIService("v1.", "", "")
		c.editAPIService("v1.", func(spec map[string]any) { delete(spec, "service") })
		c.editWhole("v1.", func(o *unstructured.Unstructured) { o.SetLabels(map[string]string{automanaged: "onstart"}) })
		require.NoError(t, k.Ensure(t.Context()))
		require.Equal(t, []string{
			"APIService v1.: it belongs to no Service, not to Service promlet/adapter, and is left alone: for promlet to serve it, run kubectl delete apiservice v1. and apply deploy/ again",
			"APIService " + external + ": it does not exist; apply deploy/ again, which makes it",
			"APIService " + custom2 + ": it belongs to Service monitoring/prometheus-adapter, not to Service promlet/adapter, and is left alone: for promlet to serve it, run kubectl delete apiservice " + custom2 + " and apply deploy/ again",
		}, k.Problems())
		require.Empty(t, c.caBundle(custom2), "of another adapter")
		require.Empty(t, c.caBundle("v1."))
		require.NoError(t, accepts(t, c.caBundle(custom), served(t, k)), "the others' troubles do not matter to it")

		c.addAPIService(external, testNamespace, testService)
		c.editAPIService(custom2, func(spec map[string]any) {
			spec["service"] = map[string]any{"namespace": testNamespace, "name": testService}
		})
		require.NoError(t, k.Ensure(t.Context()))
		require.Len(t, k.Problems(), 1)
		require.NoError(t, accepts(t, c.caBundle(custom2), served(t, k)))
		require.NoError(t, accepts(t, c.caBundle(external), served(t, k)))
	})
}

// An APIService that nobody serves is taken: it names no Service, or one that is gone. One whose server does not answer
// belongs to that server still.
func TestUnservedAPIService(t *testing.T) {
	c := newCluster(t)
	c.addAPIService(custom, "", "")
	c.editAPIService(custom, func(spec map[string]any) { delete(spec, "service") })
	c.addAPIService(custom2, "monitoring", "prometheus-adapter")
	c.unavailable(custom2, "ServiceNotFound")
	c.addAPIService(external, "keda", "keda-operator-metrics-apiserver")
	c.unavailable(external, "FailedDiscoveryCheck")
	k := c.keeper(func(o *Options) { o.APIServices = []string{custom, custom2, external} })
	require.NoError(t, k.Ensure(t.Context()))
	for _, name := range []string{custom, custom2} {
		require.NoError(t, accepts(t, c.caBundle(name), served(t, k)))
		service, _, err := unstructured.NestedMap(c.apiService(name).Object, "spec", "service")
		require.NoError(t, err)
		require.Equal(t, map[string]any{"namespace": testNamespace, "name": testService, "port": 443.0}, service)
	}
	require.Empty(t, c.caBundle(external))
	require.Len(t, k.Problems(), 1)
	require.Contains(t, k.Problems()[0], "it belongs to Service keda/keda-operator-metrics-apiserver")
}

// Two servers of two versions of one group would contradict each other.
func TestVersionOfAnotherServersGroup(t *testing.T) {
	c := newCluster(t)
	c.addAPIService(custom, "monitoring", "prometheus-adapter")
	c.addAPIService(custom2, "", "")
	c.editAPIService(custom2, func(spec map[string]any) { delete(spec, "service") })
	k := c.keeper(func(o *Options) { o.APIServices = []string{custom, custom2} })
	require.NoError(t, k.Ensure(t.Context()))
	require.Equal(t, []string{
		"APIService " + custom + ": it belongs to Service monitoring/prometheus-adapter, not to Service promlet/adapter, and is left alone: for promlet to serve it, run kubectl delete apiservice " + custom + " and apply deploy/ again",
		"APIService " + custom2 + ": it is left alone as long as another version of custom.metrics.k8s.io belongs to another Service",
	}, k.Problems())
	require.Empty(t, c.caBundle(custom2))

	require.NoError(t, c.dynamic.Tracker().Delete(apiServicesResource(), "", custom))
	require.NoError(t, k.Ensure(t.Context()))
	require.Len(t, k.Problems(), 1, "the one that does not exist")
	require.NoError(t, accepts(t, c.caBundle(custom2), served(t, k)))
}

// What a person does to a caBundle is undone at the next poll.
func TestCABundlePutBack(t *testing.T) {
	for name, edit := range map[string]func(spec map[string]any){
		"removed": func(spec map[string]any) { delete(spec, "caBundle") },
		"garbage": func(spec map[string]any) { spec["caBundle"] = "Z2FyYmFnZQ==" },
		"unverified": func(spec map[string]any) {
			delete(spec, "caBundle")
			spec["insecureSkipTLSVerify"] = true
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t, custom)
				k := c.keeper(nil)
				defer run(t, k)()
				time.Sleep(time.Minute)
				first, bundle := served(t, k), c.caBundle(custom)
				c.editAPIService(custom, edit)
				time.Sleep(defaultPoll)
				synctest.Wait()
				require.Equal(t, bundle, c.caBundle(custom))
				require.NotEqual(t, true, c.apiService(custom).Object["spec"].(map[string]any)["insecureSkipTLSVerify"])
				require.Equal(t, first, served(t, k))
				require.Empty(t, k.Problems())
			})
		})
	}
}

// insecureSkipTLSVerify is taken back also where the caBundle is right, which
// API servers do not let happen, but an older one may have stored.
func TestUnverified(t *testing.T) {
	c := newCluster(t, custom)
	k := c.keeper(nil)
	require.NoError(t, k.Ensure(t.Context()))
	c.editAPIService(custom, func(spec map[string]any) { spec["insecureSkipTLSVerify"] = true })
	require.NoError(t, k.Ensure(t.Context()))
	require.Empty(t, k.Problems())
	require.Equal(t, false, c.apiService(custom).Object["spec"].(map[string]any)["insecureSkipTLSVerify"])
}

// An APIService that is given to another Service between reading and patching it
// is not touched.
func TestTakenOverMeanwhile(t *testing.T) {
	c := newCluster(t, custom)
	k := c.keeper(nil)
	done := false
	c.dynamic.PrependReactor("patch", "apiservices", func(clienttesting.Action) (bool, runtime.Object, error) {
		if !done {
			done = true
			c.editAPIService(custom, func(spec map[string]any) {
				spec["service"] = map[string]any{"namespace": "other", "name": "adapter"}
			})
		}
		return false, nil, nil
	})
	require.NoError(t, k.Ensure(t.Context()))
	require.True(t, done)
	require.Empty(t, c.caBundle(custom))
	require.Len(t, k.Problems(), 1)
	require.Contains(t, k.Problems()[0], "it belongs to Service other/adapter")
}

// A new CA does not sign before every APIService can be known to trust it.
func TestUntrustedCAWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, custom, external)
		forbidden := false
		c.dynamic.PrependReactor("patch", "apiservices", func(action clienttesting.Action) (bool, runtime.Object, error) {
			if forbidden && action.(clienttesting.PatchAction).GetName() == external {
				return true, nil, apierrors.NewForbidden(apiServicesResource().GroupResource(), external, errors.New("no"))
			}
			return false, nil, nil
		})
		both := func(o *Options) { o.APIServices = []string{custom, external} }
		k, other := c.keeper(both), c.keeper(both)
		stop := run(t, k, other)
		time.Sleep(time.Hour)
		stop()
		first := served(t, k)

		forbidden = true
		c.editSecret(func(data map[string][]byte) { data["ca.key"] = nil })
		stop = run(t, k, other)
		time.Sleep(time.Hour)
		stop()
		require.Len(t, certificates(t, c.caBundle(custom)), 2)
		require.Len(t, certificates(t, c.caBundle(external)), 1)
		require.Len(t, k.Problems(), 1)
		require.Equal(t, first, served(t, k), "an API server would not trust another")

		// A replica that starts afresh sees it too, and another that signs all
		// the same is not followed.
		fresh := c.keeper(both)
		require.NoError(t, fresh.Ensure(t.Context()))
		require.Equal(t, first, served(t, fresh))
		c.editSecret(func(data map[string][]byte) {
			present, err := parse(data, nil)
			require.NoError(t, err)
			p, err := k.names.sign(present.signer, time.Now())
			require.NoError(t, err)
			data["tls.crt"], data["tls.key"] = p.cert, p.key
		})
		require.NoError(t, k.Ensure(t.Context()))
		require.Equal(t, first, served(t, k))

		forbidden = false
		stop = run(t, k, other, fresh)
		var told time.Time
		for range 120 {
			time.Sleep(time.Second)
			synctest.Wait()
			if told.IsZero() && len(certificates(t, c.caBundle(external))) == 2 {
				told = time.Now()
			}
			if told.IsZero() || time.Since(told) < defaultOverlap-time.Second {
				require.Equal(t, first, served(t, k), "API servers need time to learn of it")
			}
			for _, one := range []*Keeper{k, other, fresh} {
				require.NoError(t, accepts(t, c.caBundle(external), served(t, one)))
			}
		}
		stop()
		require.NotEqual(t, first, served(t, k))
		require.Equal(t, served(t, k), served(t, fresh))
		require.Empty(t, k.Problems())

		// Nothing valid is worse than something that is not trusted.
		forbidden = true
		c.editSecret(func(data map[string][]byte) { data["ca.key"] = nil })
		require.NoError(t, k.Ensure(t.Context()))
		time.Sleep(100 * 24 * time.Hour)
		require.NoError(t, k.Ensure(t.Context()))
		require.NoError(t, accepts(t, c.caBundle(custom), served(t, k)))
		require.Error(t, accepts(t, c.caBundle(external), served(t, k)))
	})
}

// An APIService that is given to another adapter, or deleted, is not waited for.
func TestAPIServiceGone(t *testing.T) {
	for name, leave := range map[string]func(*cluster){
		"given away": func(c *cluster) {
			c.editAPIService(external, func(spec map[string]any) {
				spec["service"] = map[string]any{"namespace": "other", "name": "adapter"}
			})
		},
		"deleted": func(c *cluster) {
			require.NoError(c.t, c.dynamic.Tracker().Delete(apiServicesResource(), "", external))
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t, custom, external)
				k := c.keeper(func(o *Options) { o.APIServices = []string{custom, external} })
				defer run(t, k)()
				time.Sleep(time.Hour)
				synctest.Wait()
				first := served(t, k)
				leave(c)
				c.editSecret(func(data map[string][]byte) { data["ca.key"] = nil })
				time.Sleep(2 * time.Minute)
				synctest.Wait()
				require.Len(t, k.Problems(), 1)
				require.NotEqual(t, first.Issuer, served(t, k).Issuer)
			})
		})
	}
}
