package servingcert

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	certutil "k8s.io/client-go/util/cert"
)

// The keys of the Secret, beside those of every kubernetes.io/tls Secret.
const (
	keyCACert = "ca.crt"
	keyCAKey  = "ca.key"
	keyCert   = corev1.TLSCertKey
	keyKey    = corev1.TLSPrivateKeyKey
)

// maxBundle is how many certificates of ca.crt, and of a caBundle, are read.
const maxBundle = 16

// content is what the Secret holds.
type content struct {
	bundle     []*x509.Certificate // the CA certificates of ca.crt, in its order
	bundleText []byte              // ca.crt, with what a person may have written beside them
	signer     *signer             // nil when ca.key is of none of them
	serving    *pair               // nil when tls.crt and tls.key are no pair
}

// pair is a serving certificate with its key.
type pair struct {
	cert, key []byte // PEM
	chain     []*x509.Certificate
	parsed    tls.Certificate
}

func (p *pair) equal(other *pair) bool {
	return bytes.Equal(p.cert, other.cert) && bytes.Equal(p.key, other.key)
}

// parse understands what it can of a Secret's data. The error says what could
// not be understood; a value that is missing or empty is no error. fallback is
// what to trust when ca.crt lists nothing.
func parse(data map[string][]byte, fallback []*x509.Certificate) (content, error) {
	bundle, bundleErr := parseBundle(data[keyCACert])
	c := content{bundle: bundle, bundleText: data[keyCACert]}
	if len(bundle) == 0 {
		c.setBundle(fallback)
	} else if bundleErr != nil {
		c.setBundle(bundle)
	}
	var signerErr, servingErr error
	c.signer, signerErr = parseSigner(data[keyCAKey], c.bundle)
	c.serving, servingErr = parsePair(data[keyCert], data[keyKey])
	return c, errors.Join(
		malformed(keyCACert, bundleErr),
		malformed(keyCAKey, signerErr),
		malformed(keyCert+" and "+keyKey, servingErr),
	)
}

func malformed(what string, err error) error {
	if err == nil {
		return nil
	}
	return stateError(what + ": " + err.Error())
}

// parseBundle returns the CA certificates in PEM text. With an error, which is
// that of the first mistake, it returns those that are right.
func parseBundle(text []byte) (certs []*x509.Certificate, err error) {
	mistake := func(found error) {
		if err == nil {
			err = found
		}
	}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if len(certs) == maxBundle {
			mistake(fmt.Errorf("more than %d certificates", maxBundle))
			break
		}
		if block.Type != certutil.CertificateBlockType {
			mistake(errors.New("not only certificates"))
			continue
		}
		switch cert, parseErr := x509.ParseCertificate(block.Bytes); {
		case parseErr != nil:
			mistake(parseErr)
		case !cert.BasicConstraintsValid || !cert.IsCA:
			mistake(errors.New("a certificate that is not a CA's"))
		default:
			certs = append(certs, cert)
		}
	}
	if len(certs) == 0 && len(text) > 0 {
		mistake(errors.New("no certificate in it"))
	}
	return certs, err
}

// parseSigner returns the CA of the bundle that the key is of: of several the
// one that lives longest. It is nil when there is none.
func parseSigner(text []byte, bundle []*x509.Certificate) (best *signer, err error) {
	if len(text) == 0 || len(bundle) == 0 {
		return nil, nil
	}
	for _, cert := range bundle {
		both, err := tls.X509KeyPair(encodeBundle([]*x509.Certificate{cert}), text)
		if err == nil && (best == nil || cert.NotAfter.After(best.cert.NotAfter)) {
			best = &signer{cert: cert, key: both.PrivateKey.(crypto.Signer), text: text}
		}
	}
	if best == nil {
		return nil, errors.New("not the key of a certificate in " + keyCACert)
	}
	return best, nil
}

// parsePair returns nil when both or one are missing.
func parsePair(cert, key []byte) (*pair, error) {
	if len(cert) == 0 || len(key) == 0 {
		return nil, nil
	}
	parsed, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, err
	}
	chain, err := certutil.ParseCertsPEM(cert)
	if err != nil {
		return nil, err
	}
	return &pair{cert: cert, key: key, chain: chain, parsed: parsed}, nil
}

func encodeBundle(certs []*x509.Certificate) []byte {
	text, _ := certutil.EncodeCertificates(certs...) // in memory, it cannot fail
	return text
}

func contains(certs []*x509.Certificate, cert *x509.Certificate) bool {
	return slices.ContainsFunc(certs, cert.Equal)
}

func (c *content) setBundle(certs []*x509.Certificate) {
	c.bundle, c.bundleText = certs, encodeBundle(certs)
}

// data is the Secret's, of a content in order.
func (c *content) data() map[string][]byte {
	return map[string][]byte{
		keyCACert: c.bundleText,
		keyCAKey:  c.signer.text,
		keyCert:   c.serving.cert,
		keyKey:    c.serving.key,
	}
}
