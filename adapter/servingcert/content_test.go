package servingcert

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"maps"
	mathrand "math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func always(*x509.Certificate) bool { return true }

// next brings a content in order, and returns what was done.
func next(t testing.TB, r names, c content, now time.Time) (content, []string) {
	step := renewal{names: r, overlap: defaultOverlap, content: c, trusted: always, now: now}
	require.NoError(t, step.run())
	return step.content, step.did
}

// inOrder is the data of a Secret in order, made at the given time.
func inOrder(t testing.TB, r names, now time.Time) map[string][]byte {
	c, did := next(t, r, content{}, now)
	require.Equal(t, []string{"made a CA: there is none", "made a serving certificate: there is none"}, did)
	return c.data()
}

// once parses data and brings it in order.
func once(t testing.TB, r names, data map[string][]byte, now time.Time) (content, []string, error) {
	c, broken := parse(data, nil)
	want, did := next(t, r, c, now)
	_, err := r.verify(want.serving, want.bundle, now)
	require.NoError(t, err, "it always ends with something to serve")
	require.False(t, want.serving.chain[0].NotAfter.After(want.signer.cert.NotAfter), "it does not outlive the CA that signs")
	return want, did, broken
}

// checkSettled requires that what was brought in order stays as it is.
func checkSettled(t testing.TB, r names, c content, now time.Time) {
	again, did, err := once(t, r, c.data(), now)
	require.NoError(t, err)
	require.Empty(t, did)
	require.Equal(t, c.data(), again.data())
}

func TestGarbage(t *testing.T) {
	r, now := testNames(), time.Now()
	block := func(kind string, b []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}) }
	for name, tc := range map[string]struct {
		edit    func(data map[string][]byte)
		problem string
		did     string // the beginning of each, in order
		cas     int
	}{
		"nothing wrong": {
			edit: func(map[string][]byte) {},
			cas:  1,
		},
		"remarks between certificates": {
			edit: func(d map[string][]byte) { d["ca.crt"] = append([]byte("# mine\n"), d["ca.crt"]...) },
			cas:  1,
		},
		"ca.crt is no PEM": {
			edit:    func(d map[string][]byte) { d["ca.crt"] = []byte("garbage") },
			problem: "ca.crt: no certificate in it",
			did:     "made a CA: there is none; made a serving certificate: verify",
			cas:     1,
		},
		"ca.crt holds what is none beside the CA": {
			edit: func(d map[string][]byte) {
				d["ca.crt"] = slices.Concat(block("CERTIFICATE", []byte("x")), block("PRIVATE KEY", nil), d["tls.crt"], d["ca.crt"])
			},
			problem: "ca.crt: x509: malformed certificate",
			cas:     1,
		},
		"ca.crt holds too many": {
			edit:    func(d map[string][]byte) { d["ca.crt"] = bytes.Repeat(d["ca.crt"], maxBundle+1) },
			problem: "ca.crt: more than 16 certificates",
			cas:     maxBundle,
		},
		"ca.key is no PEM": {
			edit:    func(d map[string][]byte) { d["ca.key"] = []byte("garbage") },
			problem: "ca.key: not the key of a certificate in ca.crt",
			did:     "made a CA: ca.key is missing or not of a CA in ca.crt",
			cas:     2,
		},
		"tls.crt is no PEM": {
			edit:    func(d map[string][]byte) { d["tls.crt"] = []byte("garbage") },
			problem: "tls.crt and tls.key: tls: failed to find any PEM data",
			did:     "made a serving certificate: there is none",
			cas:     1,
		},
		"tls.crt has a second that is none": {
			edit:    func(d map[string][]byte) { d["tls.crt"] = append(d["tls.crt"], block("CERTIFICATE", []byte("x"))...) },
			problem: "tls.crt and tls.key: x509: malformed certificate",
			did:     "made a serving certificate: there is none",
			cas:     1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			data := inOrder(t, r, now)
			old := certificates(t, data["ca.crt"])[0]
			tc.edit(data)
			c, did, err := once(t, r, data, now)
			if tc.problem == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, tc.problem)
			}
			wanted := strings.Split(tc.did, "; ")
			if tc.did == "" {
				wanted = nil
			}
			require.Len(t, did, len(wanted), did)
			for i := range wanted {
				require.True(t, strings.HasPrefix(did[i], wanted[i]), did[i])
			}
			require.Len(t, c.bundle, tc.cas)
			if tc.cas > 1 {
				require.True(t, contains(c.bundle, old), "still trusted")
			}
			checkSettled(t, r, c, now)
		})
	}
}

// ownCA is a CA that a person made, with the given constraints.
func ownCA(t *testing.T, now time.Time, edit func(*x509.Certificate)) *signer {
	template := &x509.Certificate{
		NotBefore: now.Add(-day), NotAfter: now.Add(1000 * day),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	edit(template)
	own, err := issue(template, nil)
	require.NoError(t, err)
	return own
}

// A person puts a CA of their own into the Secret.
func TestOwnCA(t *testing.T) {
	r, now := testNames(), time.Now()
	own := ownCA(t, now, func(c *x509.Certificate) { c.Subject.CommonName = "own" })
	pkcs8, err := x509.MarshalPKCS8PrivateKey(own.key)
	require.NoError(t, err)
	key := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})

	data := inOrder(t, r, now)
	data["ca.crt"] = append(data["ca.crt"], encodeBundle([]*x509.Certificate{own.cert})...)
	data["ca.key"] = key
	c, did, err := once(t, r, data, now)
	require.NoError(t, err)
	require.Equal(t, []string{"listed the CA that signs first", "made a serving certificate: the present one is signed by another CA"}, did)
	require.True(t, own.cert.Equal(c.bundle[0]))
	require.Len(t, c.bundle, 2)
	require.NoError(t, c.serving.chain[0].CheckSignatureFrom(own.cert))
	require.Equal(t, key, c.data()["ca.key"])
	checkSettled(t, r, c, now)
}

// A CA that cannot vouch for the Service is replaced, whatever is wrong with it.
func TestUselessCA(t *testing.T) {
	r, now := testNames(), time.Now()
	for name, edit := range map[string]func(*x509.Certificate){
		"of another service": func(c *x509.Certificate) {
			c.PermittedDNSDomains, c.PermittedDNSDomainsCritical = []string{"other.promlet.svc"}, true
		},
		"for clients":     func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} },
		"not for signing": func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageDigitalSignature },
		"about to expire": func(c *x509.Certificate) { c.NotAfter = now.Add(179 * day) },
		"expired":         func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Second) },
		"not yet valid":   func(c *x509.Certificate) { c.NotBefore = now.Add(time.Hour) },
	} {
		t.Run(name, func(t *testing.T) {
			useless := ownCA(t, now, edit)
			text := encodeBundle([]*x509.Certificate{useless.cert})

			c, did, err := once(t, r, map[string][]byte{"ca.crt": text, "ca.key": useless.text}, now)
			require.NoError(t, err)
			require.True(t, strings.HasPrefix(did[len(did)-1], "made a serving certificate"), did)
			require.False(t, useless.cert.Equal(c.bundle[0]))
			require.True(t, c.signer.cert.Equal(c.bundle[0]))
			require.NoError(t, c.serving.chain[0].CheckSignatureFrom(c.bundle[0]), "signed at once: there was nothing valid")
			require.Equal(t, name != "expired", contains(c.bundle, useless.cert))
			checkSettled(t, r, c, now)

			// Beside something valid, the new CA waits as always.
			data := inOrder(t, r, now)
			serving := data["tls.crt"]
			data["ca.crt"], data["ca.key"] = append(text, data["ca.crt"]...), useless.text
			c, _, err = once(t, r, data, now)
			require.NoError(t, err)
			require.Equal(t, serving, c.data()["tls.crt"])
			for later := time.Duration(0); later < 3*defaultOverlap; later += defaultOverlap / 2 {
				_, err := r.verify(c.serving, c.bundle, now.Add(later))
				require.NoError(t, err)
				c, _, _ = once(t, r, c.data(), now.Add(later))
			}
			require.False(t, useless.cert.Equal(c.bundle[0]))
			require.NoError(t, c.serving.chain[0].CheckSignatureFrom(c.bundle[0]))
			checkSettled(t, r, c, now.Add(3*defaultOverlap))
		})
	}
}

// The bundle does not grow without end, and keeps the newest.
func TestManyNewCAs(t *testing.T) {
	r, now := testNames(), time.Now()
	data := inOrder(t, r, now)
	for range 3 * maxBundle {
		now = now.Add(2 * time.Minute)
		before := certificates(t, data["ca.crt"])
		data["ca.key"] = nil
		c, _, err := once(t, r, data, now)
		require.NoError(t, err)
		require.Len(t, c.bundle, min(len(before)+1, maxBundle))
		require.True(t, before[0].Equal(c.bundle[1]))
		now = now.Add(2 * time.Minute)
		c, _, err = once(t, r, c.data(), now)
		require.NoError(t, err)
		require.NoError(t, c.serving.chain[0].CheckSignatureFrom(c.bundle[0]))
		data = c.data()
	}
}

// However a Secret is damaged, what can be understood of it is, the rest is
// replaced, and then it is in order.
func TestDamaged(t *testing.T) {
	r, now := testNames(), time.Now()
	good := inOrder(t, r, now)
	random := mathrand.New(mathrand.NewPCG(1, 2))
	kinds := map[string]int{}
	for range 300 {
		data := maps.Clone(good)
		for range 1 + random.IntN(3) {
			key := []string{"ca.crt", "ca.key", "tls.crt", "tls.key"}[random.IntN(4)]
			data[key] = damage(random, data[key], good)
		}
		c, did, _ := once(t, r, data, now)
		checkSettled(t, r, c, now)
		for i, one := range did {
			did[i], _, _ = strings.Cut(one, ":")
		}
		kinds[strings.Join(did, ";")]++
	}
	require.Greater(t, len(kinds), 3, "all sorts of damage: %v", kinds)
}

// damage changes a byte, cuts, repeats, or puts another value in its place.
func damage(random *mathrand.Rand, value []byte, others map[string][]byte) []byte {
	value = bytes.Clone(value)
	at := random.IntN(len(value) + 1)
	switch random.IntN(5) {
	case 0:
		return value[:at]
	case 1:
		return append(value, value[:at]...)
	case 2:
		return others[[]string{"ca.crt", "ca.key", "tls.crt", "tls.key"}[random.IntN(4)]]
	case 3:
		return bytes.Repeat(value, random.IntN(200))
	}
	if at < len(value) {
		value[at] ^= byte(1 << random.IntN(8))
	}
	return value
}
