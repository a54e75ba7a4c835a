package servingcert

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net"
	"time"

	"k8s.io/client-go/util/keyutil"
)

const (
	// skew is how much clocks may differ: certificates are valid from that long before
	// they are made.
	skew = time.Hour
	// servingValidity is long enough to live through a month of an API server that cannot
	// be written to. It is short enough to be renewed in most clusters' lives, so that
	// renewal is nothing unusual.
	servingValidity = 90 * 24 * time.Hour
	// caValidity outlives most clusters: name constraints keep the CA from being of use
	// for anything else, so there is little to gain from less.
	caValidity = 10 * 365 * 24 * time.Hour
)

var errNoPair = errors.New("there is none")

// names are those of the server that certificates are made for. The first is the one API
// servers ask for.
type names []string

// signer is a certificate that can sign.
type signer struct {
	cert *x509.Certificate
	key  crypto.Signer
	text []byte // the key in PEM
}

// madeAt is when a CA that newCA made was made, to the second.
func madeAt(ca *x509.Certificate) time.Time { return ca.NotBefore.Add(skew) }

// newCA makes a CA that can vouch for the Service's names and nothing else: no
// other DNS name, no address, no client (RFC 5280, 4.2.1.10 and 4.2.1.12; Go
// and OpenSSL heed both). Kinds of names that are not constrained would be
// free, so mail addresses and URIs are bound to the Service too.
func (n names) newCA(now time.Time) (*signer, error) {
	ca, err := issue(&x509.Certificate{
		Subject:               pkix.Name{CommonName: "promlet serving CA " + rand.Text()},
		NotBefore:             now.Add(-skew),
		NotAfter:              now.Add(caValidity),
		KeyUsage:              x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,

		PermittedDNSDomainsCritical: true,
		PermittedDNSDomains:         n,
		PermittedEmailAddresses:     n[:1],
		PermittedURIDomains:         n[:1],
		ExcludedIPRanges: []*net.IPNet{
			{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)},
			{IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)},
		},
	}, nil)
	if err != nil {
		return nil, fmt.Errorf("make CA: %w", err)
	}
	return ca, nil
}

// sign makes a serving certificate. It is an error when the CA cannot vouch for
// the names.
func (n names) sign(by *signer, now time.Time) (*pair, error) {
	leaf, err := issue(&x509.Certificate{
		Subject:               pkix.Name{CommonName: "promlet serving"},
		DNSNames:              n,
		NotBefore:             now.Add(-skew),
		NotAfter:              now.Add(servingValidity),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}, by)
	if err != nil {
		return nil, fmt.Errorf("make serving certificate: %w", err)
	}
	p, err := parsePair(encodeBundle([]*x509.Certificate{leaf.cert}), leaf.text)
	if err != nil {
		return nil, fmt.Errorf("make serving certificate: %w", err)
	}
	if _, err := n.verify(p, []*x509.Certificate{by.cert}, now); err != nil {
		return nil, err
	}
	return p, nil
}

// issue makes a key and a certificate for it, signed by another; nil: by itself.
func issue(template *x509.Certificate, by *signer) (*signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	if by == nil {
		by = &signer{cert: template, key: key}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by.cert, key.Public(), by.key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	text, err := keyutil.MarshalPrivateKeyToPEM(key)
	return &signer{cert: cert, key: key, text: text}, err
}

// verify returns the CAs of the bundle that vouch for p as an API server would
// ask: for SERVICE.NAMESPACE.svc, as a server. Name constraints are checked
// against every name in p.
func (n names) verify(p *pair, bundle []*x509.Certificate, now time.Time) ([]*x509.Certificate, error) {
	if p == nil {
		return nil, errNoPair
	}
	opts := x509.VerifyOptions{
		DNSName:       n[0],
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
