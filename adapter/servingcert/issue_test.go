package servingcert

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func testNames() names { return names{testHost, testHost + ".cluster.local", "localhost"} }

func TestServingCertificate(t *testing.T) {
	r, now := testNames(), time.Now()
	ca, err := r.newCA(now)
	require.NoError(t, err)
	p, err := r.sign(ca, now)
	require.NoError(t, err)

	roots := x509.NewCertPool()
	roots.AddCert(ca.cert)
	leaf := p.chain[0]
	for _, at := range []time.Duration{-59 * time.Minute, 0, 90*24*time.Hour - time.Second} {
		for _, name := range r {
			_, err := leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots, CurrentTime: now.Add(at)})
			require.NoError(t, err, "%s at %s", name, at)
		}
	}
	for _, at := range []time.Duration{-61 * time.Minute, 90*24*time.Hour + time.Second} {
		_, err := leaf.Verify(x509.VerifyOptions{DNSName: testHost, Roots: roots, CurrentTime: now.Add(at)})
		require.ErrorAs(t, err, new(x509.CertificateInvalidError), "at %s", at)
	}
	require.Equal(t, elliptic.P256(), leaf.PublicKey.(*ecdsa.PublicKey).Curve)
	require.Equal(t, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, leaf.ExtKeyUsage)
	require.False(t, leaf.IsCA)
	require.True(t, ca.cert.PermittedDNSDomainsCritical)
	require.WithinDuration(t, now, madeAt(ca.cert), time.Second)
}

func TestCAVouchesForNothingElse(t *testing.T) {
	r, now := testNames(), time.Now()
	ca, err := r.newCA(now)
	require.NoError(t, err)
	roots := x509.NewCertPool()
	roots.AddCert(ca.cert)
	verify := func(usage x509.ExtKeyUsage, edit func(*x509.Certificate)) error {
		template := &x509.Certificate{
			DNSNames: []string{testHost}, NotBefore: now, NotAfter: now.Add(time.Hour),
			KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{usage},
		}
		edit(template)
		leaf, err := issue(template, ca)
		require.NoError(t, err)
		_, err = leaf.cert.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{usage}})
		return err
	}
	as := func(*x509.Certificate) {}
	require.NoError(t, verify(x509.ExtKeyUsageServerAuth, as))
	require.Error(t, verify(x509.ExtKeyUsageClientAuth, as), "a client")
	require.Error(t, verify(x509.ExtKeyUsageCodeSigning, as), "an author")
	spiffe, err := url.Parse("spiffe://cluster.local/ns/kube-system/sa/root")
	require.NoError(t, err)
	for name, edit := range map[string]func(*x509.Certificate){
		"another service":     func(c *x509.Certificate) { c.DNSNames = []string{"kubernetes.default.svc"} },
		"one besides":         func(c *x509.Certificate) { c.DNSNames = append(c.DNSNames, "kubernetes.default.svc") },
		"a name that ends so": func(c *x509.Certificate) { c.DNSNames = []string{"my" + testHost} },
		"the whole namespace": func(c *x509.Certificate) { c.DNSNames = []string{"*.promlet.svc"} },
		"an IPv4 address":     func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(10, 96, 0, 1)} },
		"an IPv6 address":     func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv6loopback} },
		"a mail address":      func(c *x509.Certificate) { c.EmailAddresses = []string{"root@example.com"} },
		"a URI":               func(c *x509.Certificate) { c.URIs = []*url.URL{spiffe} },
	} {
		require.Error(t, verify(x509.ExtKeyUsageServerAuth, edit), name)
	}

	below := &x509.Certificate{
		NotBefore: now, NotAfter: now.Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	middle, err := issue(below, ca)
	require.NoError(t, err)
	p, err := r.sign(middle, now)
	require.NoError(t, err)
	p.chain = append(p.chain, middle.cert)
	_, err = r.verify(p, []*x509.Certificate{ca.cert}, now)
	require.Error(t, err, "a CA below the CA")
}

// Names of the greatest length that Kubernetes allows.
func TestLongNames(t *testing.T) {
	now := time.Now()
	host := strings.Repeat("s", 63) + "." + strings.Repeat("n", 63) + ".svc"
	r := names{host, host + ".cluster.local", "localhost"}
	ca, err := r.newCA(now)
	require.NoError(t, err)
	p, err := r.sign(ca, now)
	require.NoError(t, err)
	for _, cert := range []*x509.Certificate{ca.cert, p.chain[0]} {
		require.LessOrEqual(t, len(cert.Subject.CommonName), 64, "the upper bound of RFC 5280")
	}
}
