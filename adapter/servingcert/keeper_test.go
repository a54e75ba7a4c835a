package servingcert

import (
	"context"
	"crypto/x509"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	clienttesting "k8s.io/client-go/testing"
)

func TestOptions(t *testing.T) {
	c := newCluster(t)
	good := Options{Secrets: c.secrets.CoreV1(), Namespace: "n", Secret: "s", Service: "v"}
	_, err := New(good)
	require.NoError(t, err, "no APIServices need no dynamic client")
	for want, edit := range map[string]func(*Options){
		"Secrets, Namespace, Secret and Service are required": func(o *Options) { o.Service = "" },
		"Dynamic is required": func(o *Options) { o.APIServices = []string{custom} },
	} {
		opts := good
		edit(&opts)
		_, err := New(opts)
		require.ErrorContains(t, err, want)
	}
}

// A second Keeper of a registry works once the first is closed.
func TestClose(t *testing.T) {
	c, registry := newCluster(t), prometheus.NewRegistry()
	opts := Options{Secrets: c.secrets.CoreV1(), Namespace: testNamespace, Secret: testSecret, Service: testService, Registerer: registry}
	first, err := New(opts)
	require.NoError(t, err)
	require.NoError(t, first.Ensure(t.Context()))
	_, err = New(opts)
	require.ErrorContains(t, err, "duplicate")
	first.Close()
	first.Close()
	families, err := registry.Gather()
	require.NoError(t, err)
	require.Empty(t, families)
	second, err := New(opts)
	require.NoError(t, err)
	defer second.Close()
	require.NoError(t, second.Ensure(t.Context()))
	require.Equal(t, first.CA(), second.CA())
	before, err := first.GetCertificate(nil)
	require.NoError(t, err)
	after, err := second.GetCertificate(nil)
	require.NoError(t, err)
	require.Equal(t, before.Leaf.SerialNumber, after.Leaf.SerialNumber)
}

type listener struct{ told atomic.Int32 }

func (l *listener) Enqueue() { l.told.Add(1) }

func TestFirstStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, custom, custom2, external)
		all := func(o *Options) { o.APIServices = []string{custom, custom2, external} }
		registry := prometheus.NewRegistry()
		caExpiry := func() float64 {
			families, err := registry.Gather()
			require.NoError(t, err)
			return families[0].GetMetric()[0].GetGauge().GetValue()
		}
		k := c.keeper(func(o *Options) { all(o); o.Registerer = registry })
		require.Zero(t, caExpiry())
		cert, key := k.CurrentCertKeyContent()
		require.Nil(t, cert)
		require.Nil(t, key)
		_, err := k.GetCertificate(nil)
		require.ErrorContains(t, err, "no serving certificate yet")
		require.Nil(t, k.CA())
		require.True(t, k.Expiry().IsZero())
		l := &listener{}
		k.AddListener(l)

		require.NoError(t, k.Ensure(t.Context()))
		require.Empty(t, k.Problems())
		require.EqualValues(t, 1, l.told.Load())
		require.Equal(t, time.Now().Add(servingValidity), k.Expiry().Local())
		require.EqualValues(t, time.Now().Add(caValidity).Unix(), caExpiry())
		require.Equal(t, "Secret promlet/promlet-serving-cert", k.Name())

		secret := c.secret()
		require.Equal(t, corev1.SecretTypeTLS, secret.Type)
		require.Len(t, secret.Data, 4)
		cert, key = k.CurrentCertKeyContent()
		require.Equal(t, secret.Data["tls.crt"], cert)
		require.Equal(t, secret.Data["tls.key"], key)
		require.Equal(t, secret.Data["ca.crt"], k.CA())
		for _, name := range []string{custom, custom2, external} {
			require.Equal(t, secret.Data["ca.crt"], c.caBundle(name))
			require.NoError(t, accepts(t, c.caBundle(name), served(t, k)))
			require.Equal(t, "kept", c.apiService(name).Object["spec"].(map[string]any)["groupVersion"])
		}

		writes := c.writes()
		other := c.keeper(all)
		stop := run(t, k, other)
		time.Sleep(time.Hour)
		stop()
		require.Equal(t, served(t, k), served(t, other), "replicas share")
		require.Equal(t, writes, c.writes(), "nothing is written when all is in order")
		require.EqualValues(t, 1, l.told.Load())
	})
}

// Keepers that all find no Secret end with the one that the fastest made.
func TestRaceAtFirstStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, custom)
		// Each sees that there is none before any makes one.
		var looks atomic.Int32
		c.fail("get", "secrets", func() error {
			if looks.Add(1) > 5 {
				return nil
			}
			return apierrors.NewNotFound(secretsResource().GroupResource(), testSecret)
		})
		var keepers []*Keeper
		errs := make(chan error)
		for range 5 {
			k := c.keeper(nil)
			keepers = append(keepers, k)
			go func() { errs <- k.Ensure(t.Context()) }()
		}
		for range keepers {
			require.NoError(t, <-errs)
		}
		creates := 0
		for _, action := range c.secrets.Actions() {
			if action.GetVerb() == "create" {
				creates++
			}
		}
		require.Equal(t, 5, creates, "they did race")
		for _, k := range keepers {
			require.Equal(t, served(t, keepers[0]), served(t, k))
			require.Empty(t, k.Problems())
			require.NoError(t, accepts(t, c.caBundle(custom), served(t, k)))
		}
		require.Len(t, certificates(t, c.caBundle(custom)), 1)
	})
}

// Somebody writes the Secret between a Keeper's reading it and writing it.
func TestConflict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, custom)
		k := c.keeper(nil)
		require.NoError(t, k.Ensure(t.Context()))
		first := served(t, k)
		other := c.keeper(nil)

		c.editSecret(func(data map[string][]byte) { data["tls.crt"] = nil })
		var once atomic.Bool
		c.secrets.PrependReactor("get", "secrets", func(clienttesting.Action) (bool, runtime.Object, error) {
			stale := c.secret()
			if once.Swap(true) {
				return false, nil, nil
			}
			c.editSecret(func(data map[string][]byte) {
				present, _ := parse(data, nil)
				p, err := k.names.sign(present.signer, time.Now())
				require.NoError(t, err)
				data["tls.crt"], data["tls.key"] = p.cert, p.key
				data["of-another"] = []byte("kept")
			})
			return true, stale, nil
		})
		require.NoError(t, k.Ensure(t.Context()))
		require.Empty(t, k.Problems())
		require.Equal(t, c.secret().Data["tls.crt"], encodeBundle([]*x509.Certificate{served(t, k)}))
		require.NotEqual(t, first, served(t, k))
		require.NoError(t, other.Ensure(t.Context()))
		require.Equal(t, served(t, k), served(t, other), "what the other wrote was not overwritten")

		c.editSecret(func(data map[string][]byte) { data["tls.crt"] = nil })
		require.NoError(t, k.Ensure(t.Context()))
		require.Equal(t, "kept", string(c.secret().Data["of-another"]))

		// One that always comes first is a problem, and not for ever.
		c.fail("update", "secrets", func() error {
			return apierrors.NewConflict(secretsResource().GroupResource(), testSecret, errors.New("the object has been modified"))
		})
		c.editSecret(func(data map[string][]byte) { data["tls.crt"] = nil })
		present := served(t, k)
		require.NoError(t, k.Ensure(t.Context()))
		require.Len(t, k.Problems(), 1)
		require.Contains(t, k.Problems()[0], "Secret promlet/promlet-serving-cert: update: Operation cannot be fulfilled")
		require.Equal(t, present, served(t, k))
	})
}

func TestSecretDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, custom)
		k, other := c.keeper(nil), c.keeper(nil)
		defer run(t, k, other)()
		time.Sleep(time.Hour)
		ca, first := certificates(t, c.secret().Data["ca.crt"]), served(t, k)
		c.deleteSecret()
		for range 60 {
			time.Sleep(time.Second)
			require.NoError(t, accepts(t, c.caBundle(custom), served(t, k)))
			require.NoError(t, accepts(t, c.caBundle(custom), served(t, other)))
		}
		synctest.Wait() // the last pass begins at this moment
		require.Equal(t, ca, certificates(t, c.secret().Data["ca.crt"]), "the same CA")
		require.NotEqual(t, first, served(t, k), "a new certificate")
		require.Equal(t, served(t, k), served(t, other))
		require.Empty(t, k.Problems())
	})
}

// An API server that does not answer takes nothing from what is served, and is
// logged when it begins and when it ends.
func TestAPIServerAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, custom)
		log, text := logged()
		var down atomic.Bool
		port := atomic.Int32{}
		c.fail("*", "*", func() error {
			if !down.Load() {
				return nil
			}
			return errors.New("dial tcp 127.0.0.1:6443: connect from port " + string('0'+port.Add(1)%10) + ": connection refused")
		})
		down.Store(true)
		k := c.keeper(func(o *Options) { o.Logger = log })
		k.poll = 3 * time.Minute
		require.ErrorContains(t, k.Ensure(t.Context()), "no valid serving certificate: there is none yet: Secret promlet/promlet-serving-cert: read: dial tcp")
		require.Empty(t, text.String(), "an error is returned or logged")

		down.Store(false)
		stop := run(t, k)
		time.Sleep(time.Minute)
		synctest.Wait()
		first := served(t, k)
		require.Empty(t, k.Problems())
		text.Reset()

		down.Store(true)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		require.Len(t, k.Problems(), 1)
		require.Contains(t, k.Problems()[0], "Secret promlet/promlet-serving-cert: read: dial tcp")
		require.Equal(t, first, served(t, k))
		require.Equal(t, 1, countLines(text), text.String())
		down.Store(false)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		require.Empty(t, k.Problems())
		require.Equal(t, 2, countLines(text), text.String())
		require.Contains(t, text.String(), "a problem is over")

		// Away until after the certificate has expired.
		down.Store(true)
		time.Sleep(91 * 24 * time.Hour)
		synctest.Wait()
		require.Len(t, k.Problems(), 2)
		require.Contains(t, k.Problems()[1], "serving certificate: no valid serving certificate: it expired at 2000-03-31T")
		require.Equal(t, first, served(t, k))
		down.Store(false)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		require.Empty(t, k.Problems())
		require.NoError(t, accepts(t, c.caBundle(custom), served(t, k)))
		text.Reset()
		stop()
		require.Empty(t, text.String(), "the end is no trouble")
	})
}

func TestForbidden(t *testing.T) {
	for _, tc := range []struct {
		verb, resource, want string
		starts               bool
	}{
		{"get", "secrets", "read", false},
		{"create", "secrets", "create", false},
		{"get", "apiservices", "APIService " + custom + ": read", true},
		{"patch", "apiservices", "APIService " + custom + ": patch spec", true},
	} {
		t.Run(tc.verb+" "+tc.resource, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t, custom)
				var granted atomic.Bool
				c.fail(tc.verb, tc.resource, func() error {
					if granted.Load() {
						return nil
					}
					gr := secretsResource().GroupResource()
					if tc.resource == "apiservices" {
						gr = apiServicesResource().GroupResource()
					}
					return apierrors.NewForbidden(gr, "x", errors.New(`User "promlet" cannot `+tc.verb))
				})
				k := c.keeper(nil)
				err := k.Ensure(t.Context())
				said := k.Problems()
				if !tc.starts {
					require.Error(t, err)
					said = []string{err.Error()}
				} else {
					require.NoError(t, err)
				}
				require.Len(t, said, 1)
				require.Contains(t, said[0], tc.want+": "+tc.resource)
				require.Contains(t, said[0], `is forbidden: User "promlet" cannot `+tc.verb+"; apply deploy/ again, which has the permissions and the Secret")
				granted.Store(true)
				require.NoError(t, k.Ensure(t.Context()))
				require.Empty(t, k.Problems())
				require.NoError(t, accepts(t, c.caBundle(custom), served(t, k)))
			})
		})
	}
}

// A Secret in order is enough to start with, whatever may not be written.
func TestStartWithoutUpdate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, custom)
		require.NoError(t, c.keeper(nil).Ensure(t.Context()))
		time.Sleep(70 * 24 * time.Hour)
		c.fail("update", "secrets", func() error {
			return apierrors.NewForbidden(secretsResource().GroupResource(), testSecret, errors.New("no"))
		})
		k := c.keeper(nil)
		require.NoError(t, k.Ensure(t.Context()))
		require.Len(t, k.Problems(), 1, "it is due to be renewed")
		require.NoError(t, accepts(t, c.caBundle(custom), served(t, k)))
	})
}

// The end of the process is no problem, wherever a pass is then.
func TestEnd(t *testing.T) {
	for _, resource := range []string{"secrets", "apiservices"} {
		c := newCluster(t, custom)
		log, text := logged()
		k := c.keeper(func(o *Options) { o.Logger = log })
		require.NoError(t, k.Ensure(t.Context()))
		text.Reset()
		ctx, cancel := context.WithCancel(t.Context())
		c.fail("get", resource, func() error {
			cancel()
			return ctx.Err()
		})
		require.ErrorIs(t, k.Ensure(ctx), context.Canceled)
		require.NoError(t, k.Run(ctx))
		require.Empty(t, k.Problems())
		require.Empty(t, text.String())
	}
}

// silent is an API server that takes requests and never answers.
type silent struct{ corev1client.SecretInterface }

func (s silent) Secrets(string) corev1client.SecretInterface { return s }

func (silent) Get(ctx context.Context, _ string, _ metav1.GetOptions) (*corev1.Secret, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, custom)
		k := c.keeper(func(o *Options) { o.Secrets = silent{} })
		require.ErrorIs(t, k.Ensure(t.Context()), context.DeadlineExceeded)
		defer run(t, k)()
		time.Sleep(time.Hour)
		require.Len(t, k.Problems(), 1)
		require.Contains(t, k.Problems()[0], "there is none yet: Secret promlet/promlet-serving-cert: read: context deadline exceeded")
	})
}
