package servingcert

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"net"
	"time"
)

// skew is how much clocks may differ: certificates are valid from that long
// before they are made.
const skew = time.Hour

var errNoPair = errors.New("there is none")

// rules say what is made, for whom and for how long.
type rules struct {
	names           []string // of the server; the first is the one API servers ask for
	servingValidity time.Duration
	caValidity      time.Duration
	overlap         time.Duration
}

// madeAt is when a CA that newCA made was made, to the second.
func madeAt(ca *x509.Certificate) time.Time { return ca.NotBefore.Add(skew) }

// newCA makes a CA that can vouch for the Service's names and nothing else: no
// other DNS name, no address, no client (RFC 5280, 4.2.1.10 and 4.2.1.12; Go
// and OpenSSL heed both). Kinds of names that are not constrained would be
// free, so mail addresses and URIs are bound to the Service too.
func (r rules) newCA(now time.Time) (*signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make CA key: %w", err)
	}
	serial := make([]byte, 8)
	rand.Read(serial) // never fails
	serial[0] &= 0x7f // so that it is positive in eight bytes
	template := &x509.Certificate{
		SerialNumber:          new(big.Int).SetBytes(serial),
		Subject:               pkix.Name{CommonName: "promlet serving CA " + hex.EncodeToString(serial)},
		NotBefore:             now.Add(-skew),
		NotAfter:              now.Add(r.caValidity),
		KeyUsage:              x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,

		PermittedDNSDomainsCritical: true,
		PermittedDNSDomains:         r.names,
		PermittedEmailAddresses:     r.names[:1],
		PermittedURIDomains:         r.names[:1],
		ExcludedIPRanges: []*net.IPNet{
			{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)},
			{IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)},
		},
	}
	cert, err := create(template, template, key.Public(), &signer{cert: template, key: key})
	if err != nil {
		return nil, fmt.Errorf("make CA: %w", err)
	}
	return &signer{cert: cert, key: key}, nil
}

// sign makes a serving certificate. It is an error when the CA cannot vouch for
// the names.
func (r rules) sign(by *signer, now time.Time) (*pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make serving key: %w", err)
	}
	expiry := now.Add(r.servingValidity)
	if expiry.After(by.cert.NotAfter) {
		expiry = by.cert.NotAfter
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "promlet serving"},
		DNSNames:              r.names,
		NotBefore:             now.Add(-skew),
		NotAfter:              expiry,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	cert, err := create(template, by.cert, key.Public(), by)
	if err != nil {
		return nil, fmt.Errorf("make serving certificate: %w", err)
	}
	text, err := encodeKey(key)
	if err != nil {
		return nil, err
	}
	p := &pair{cert: encodeBundle([]*x509.Certificate{cert}), key: text, chain: []*x509.Certificate{cert}}
	if _, err := r.verify(p, []*x509.Certificate{by.cert}, now); err != nil {
		return nil, err
	}
	return p, nil
}

func create(template, parent *x509.Certificate, public any, by *signer) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, by.key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// verify returns the CAs of the bundle that vouch for p as an API server would
// ask: for SERVICE.NAMESPACE.svc, as a server. Name constraints are checked
// against every name in p.
func (r rules) verify(p *pair, bundle []*x509.Certificate, now time.Time) ([]*x509.Certificate, error) {
	if p == nil {
		return nil, errNoPair
	}
	opts := x509.VerifyOptions{
		DNSName:       r.names[0],
		Roots:         x509.NewCertPool(),
		Intermediates: x509.NewCertPool(),
		CurrentTime:   now,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, cert := range bundle {
		opts.Roots.AddCert(cert)
	}
	for _, cert := range p.chain[1:] {
		opts.Intermediates.AddCert(cert)
	}
	chains, err := p.chain[0].Verify(opts)
	if err != nil {
		return nil, fmt.Errorf("verify serving certificate: %w", err)
	}
	var roots []*x509.Certificate
	for _, chain := range chains {
		roots = append(roots, chain[len(chain)-1])
	}
	return roots, nil
}
