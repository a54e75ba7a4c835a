package servingcert

import (
	"crypto/x509"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

const day = 24 * time.Hour

// watched are keepers whose certificates are verified at every step, as API
// servers do that know of the caBundle at once, or only one step later.
type watched struct {
	t       *testing.T
	c       *cluster
	keepers []*Keeper
	before  []byte
	seen    []*x509.Certificate // served by the first keeper, in order
}

func (w *watched) step(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
	bundle := w.c.caBundle(custom)
	if w.before == nil {
		w.before = bundle
	}
	for _, k := range w.keepers {
		leaf := served(w.t, k)
		require.NoError(w.t, accepts(w.t, bundle, leaf), "at %s", time.Now())
		require.NoError(w.t, accepts(w.t, w.before, leaf), "by a slow API server at %s", time.Now())
		require.Equal(w.t, leaf.NotAfter, k.Expiry())
	}
	w.before = bundle
	if leaf := served(w.t, w.keepers[0]); len(w.seen) == 0 || !leaf.Equal(w.seen[len(w.seen)-1]) {
		w.seen = append(w.seen, leaf)
	}
}

func (w *watched) steps(n int, d time.Duration) {
	for range n {
		w.step(d)
	}
}

func (w *watched) cas() []*x509.Certificate { return certificates(w.t, w.c.caBundle(custom)) }

// Twelve years: serving certificates are renewed at two thirds of their life,
// and the CA in time, with never one that is not trusted. In between a replica
// is restarted. A poll every four days stands for one every 15 seconds.
func TestYears(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, custom)
		slow := func() *Keeper {
			k := c.keeper(nil)
			k.poll, k.overlap = 4*day, 9*day
			return k
		}
		k, other := slow(), slow()
		start := time.Now()
		stop := run(t, k, other)
		w := &watched{t: t, c: c, keepers: []*Keeper{k, other}}
		w.step(time.Minute)
		first := w.cas()[0]

		var rotated, expired time.Time
		for time.Since(start) < 12*365*day {
			w.step(4 * day)
			switch cas := w.cas(); {
			case rotated.IsZero() && len(cas) == 2:
				rotated = time.Now()
				require.True(t, first.Equal(cas[1]), "the old one comes after")
				require.False(t, first.Equal(cas[0]))
			case !rotated.IsZero() && expired.IsZero() && len(cas) == 1:
				expired = time.Now()
				require.False(t, first.Equal(cas[0]))
			}
			require.Less(t, len(w.cas()), 3)
			if len(w.seen)%10 == 0 {
				stop()
				w.keepers[1] = slow()
				require.NoError(t, w.keepers[1].Ensure(t.Context()))
				stop = run(t, w.keepers...)
				w.step(time.Minute)
			}
		}
		stop()

		require.WithinDuration(t, start.Add(10*365*day-180*day), rotated, 5*day)
		require.WithinDuration(t, start.Add(10*365*day), expired, 5*day)
		for i, leaf := range w.seen[1:] {
			kept := leaf.NotBefore.Sub(w.seen[i].NotBefore)
			issuer, before := leaf.Issuer.CommonName, w.seen[i].Issuer.CommonName
			if issuer == before {
				require.InDelta(t, 60, kept.Hours()/24, 5, "days after which a certificate is renewed")
			} else {
				require.WithinDuration(t, rotated.Add(9*day), leaf.NotBefore, 9*day, "signed by the new CA after the overlap")
			}
		}
		require.InDelta(t, 12*365/60, len(w.seen), 8)
	})
}

// A person asks for a new CA: two phases, at the times that the options say.
func TestNewCA(t *testing.T) {
	for name, edit := range map[string]func(data map[string][]byte){
		"ca.key emptied":         func(data map[string][]byte) { data["ca.key"] = nil },
		"ca.key removed":         func(data map[string][]byte) { delete(data, "ca.key") },
		"ca.key garbage":         func(data map[string][]byte) { data["ca.key"] = []byte("garbage") },
		"ca.key of another":      func(data map[string][]byte) { data["ca.key"] = data["tls.key"] },
		"ca.key and tls emptied": func(data map[string][]byte) { data["ca.key"], data["tls.crt"], data["tls.key"] = nil, nil, nil },
		"all emptied":            func(data map[string][]byte) { clear(data); data["tls.crt"], data["tls.key"] = nil, nil },
		"all garbage": func(data map[string][]byte) {
			for key := range data {
				data[key] = []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t, custom)
				k, other := c.keeper(nil), c.keeper(nil)
				defer run(t, k, other)()
				w := &watched{t: t, c: c, keepers: []*Keeper{k, other}}
				w.steps(5, time.Minute)
				old := w.cas()

				c.editSecret(edit)
				w.steps(1+int(defaultPoll/time.Second), time.Second)
				cas := w.cas()
				require.Len(t, cas, 2)
				require.True(t, old[0].Equal(cas[1]))
				require.Len(t, w.seen, 1, "still the old certificate")
				require.NoError(t, accepts(t, encodeBundle(old), certificates(t, c.secret().Data["tls.crt"])[0]),
					"a replica that starts now finds one that is trusted everywhere")

				w.steps(40, time.Second)
				require.Len(t, w.seen, 1, "the new CA is not to be used yet")
				w.steps(60, time.Second)
				require.Len(t, w.seen, 2)
				require.NoError(t, w.seen[1].CheckSignatureFrom(cas[0]))
				require.Equal(t, served(t, k), served(t, other))
				require.Equal(t, cas, w.cas(), "the old one stays trusted")
				require.Empty(t, k.Problems())

				// Taken out by a person, the old one stays out.
				c.editSecret(func(data map[string][]byte) { data["ca.crt"] = encodeBundle(cas[:1]) })
				w.steps(60, time.Second)
				require.Equal(t, cas[:1], w.cas())
				require.Len(t, w.seen, 2)
			})
		})
	}
}

// A person asks for a new serving certificate: at the next poll, by the same CA.
func TestNewServingCertificate(t *testing.T) {
	for name, edit := range map[string]func(data map[string][]byte){
		"tls.crt emptied": func(data map[string][]byte) { data["tls.crt"] = nil },
		"tls.key emptied": func(data map[string][]byte) { data["tls.key"] = nil },
		"both removed":    func(data map[string][]byte) { delete(data, "tls.crt"); delete(data, "tls.key") },
		"garbage":         func(data map[string][]byte) { data["tls.crt"] = []byte("garbage") },
		"another's key":   func(data map[string][]byte) { data["tls.key"] = data["ca.key"] },
		"the CA's":        func(data map[string][]byte) { data["tls.crt"], data["tls.key"] = data["ca.crt"], data["ca.key"] },
		"too long":        func(data map[string][]byte) { data["tls.crt"] = make([]byte, 1<<20) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t, custom)
				k, other := c.keeper(nil), c.keeper(nil)
				defer run(t, k, other)()
				w := &watched{t: t, c: c, keepers: []*Keeper{k, other}}
				w.steps(10, time.Second)
				old := w.cas()
				c.editSecret(edit)
				w.steps(2*int(defaultPoll/time.Second), time.Second)
				require.Len(t, w.seen, 2)
				require.Equal(t, old, w.cas())
				require.Equal(t, served(t, k), served(t, other))
				w.steps(5, time.Minute)
				require.Len(t, w.seen, 2)
				require.Empty(t, k.Problems())
			})
		})
	}
}

// The Secret is deleted while a new CA waits to be used.
func TestDeletedBetweenThePhases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, custom)
		k, other := c.keeper(nil), c.keeper(nil)
		defer run(t, k, other)()
		w := &watched{t: t, c: c, keepers: []*Keeper{k, other}}
		w.steps(10, time.Minute)
		c.editSecret(func(data map[string][]byte) { data["ca.key"] = nil })
		w.steps(30, time.Second)
		cas := w.cas()
		require.Len(t, cas, 2)
		c.deleteSecret()
		w.steps(20, time.Second)
		require.Len(t, w.seen, 1)
		w.steps(60, time.Second)
		require.Len(t, w.seen, 2)
		require.Equal(t, cas, w.cas())
		require.NoError(t, w.seen[1].CheckSignatureFrom(cas[0]))
	})
}

// All replicas are restarted between the phases: the time counts on.
func TestRestartedBetweenThePhases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, custom)
		k := c.keeper(nil)
		stop := run(t, k)
		w := &watched{t: t, c: c, keepers: []*Keeper{k}}
		w.steps(10, time.Minute)
		c.editSecret(func(data map[string][]byte) { data["ca.key"] = nil })
		w.steps(30, time.Second)
		stop()
		require.Len(t, w.cas(), 2)

		k = c.keeper(nil)
		require.NoError(t, k.Ensure(t.Context()))
		w.keepers = []*Keeper{k}
		defer run(t, k)()
		w.steps(10, time.Second)
		require.Len(t, w.seen, 1)
		w.steps(45, time.Second)
		require.Len(t, w.seen, 2)
	})
}
