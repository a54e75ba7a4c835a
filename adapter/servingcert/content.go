package servingcert

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// The keys of the Secret, beside those of every kubernetes.io/tls Secret.
const (
	keyCACert = "ca.crt"
	keyCAKey  = "ca.key"
	keyCert   = corev1.TLSCertKey
	keyKey    = corev1.TLSPrivateKeyKey
)

// Bounds on what is read. Certificates of promlet's own take about 800 bytes.
const (
	maxValue  = 64 << 10 // bytes of one value in the Secret, and of a caBundle
	maxBundle = 16       // certificates in ca.crt
)

const (
	blockCertificate = "CERTIFICATE"
	blockPrivateKey  = "PRIVATE KEY"
)

// content is what the Secret holds.
type content struct {
	data    map[string][]byte   // as stored, only our keys
	bundle  []*x509.Certificate // the CA certificates of ca.crt, in its order
	signer  *signer             // nil when ca.key is of none of them
	serving *pair               // nil when tls.crt and tls.key are no pair
}

// signer is a CA that can sign.
type signer struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// pair is a serving certificate with its key.
type pair struct {
	cert, key []byte // PEM
	chain     []*x509.Certificate
}

func (p *pair) equal(other *pair) bool {
	return bytes.Equal(p.cert, other.cert) && bytes.Equal(p.key, other.key)
}

// parse understands what it can of a Secret's data. The error says what could
// not be understood; a value that is missing or empty is no error. fallback is
// what to trust when ca.crt lists nothing.
func parse(data map[string][]byte, fallback []*x509.Certificate) (content, error) {
	c := content{data: map[string][]byte{}}
	var errs []error
	for _, key := range []string{keyCACert, keyCAKey, keyCert, keyKey} {
		value, ok := data[key]
		if !ok {
			continue
		}
		if len(value) > maxValue {
			errs = append(errs, stateError(fmt.Sprintf("%s has %d bytes, more than %d", key, len(value), maxValue)))
			value = nil
		}
		c.data[key] = value
	}
	bundle, err := parseBundle(c.data[keyCACert])
	if err != nil {
		errs = append(errs, stateError(keyCACert+": "+err.Error()))
	}
	c.bundle = bundle
	if len(bundle) == 0 {
		bundle = fallback
	}
	if err != nil || len(c.bundle) == 0 {
		c.setBundle(bundle)
	}
	if c.signer, err = parseSigner(c.data[keyCAKey], c.bundle); err != nil {
		errs = append(errs, stateError(keyCAKey+": "+err.Error()))
	}
	if c.serving, err = parsePair(c.data[keyCert], c.data[keyKey]); err != nil {
		errs = append(errs, stateError(keyCert+" and "+keyKey+": "+err.Error()))
	}
	return c, errors.Join(errs...)
}

// parseBundle returns the CA certificates in PEM text. With an error it returns
// those that are right.
func parseBundle(text []byte) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	var errs []error
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if len(certs) == maxBundle {
			errs = append(errs, fmt.Errorf("more than %d certificates", maxBundle))
			break
		}
		if block.Type != blockCertificate {
			errs = append(errs, errors.New("not only certificates"))
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		switch {
		case err != nil:
			errs = append(errs, err)
		case !cert.BasicConstraintsValid || !cert.IsCA:
			errs = append(errs, errors.New("a certificate that is not a CA's"))
		default:
			certs = append(certs, cert)
		}
	}
	if len(certs) == 0 && len(errs) == 0 && len(text) > 0 {
		errs = append(errs, errors.New("no certificate in it"))
	}
	if len(errs) > 1 {
		errs = append(errs[:1], fmt.Errorf("and %d more mistakes", len(errs)-1))
	}
	return certs, errors.Join(errs...)
}

// parseSigner returns the CA of the bundle that the key is of: of several the
// one that lives longest. It is nil when there is none.
func parseSigner(text []byte, bundle []*x509.Certificate) (*signer, error) {
	if len(text) == 0 {
		return nil, nil
	}
	var best *signer
	for _, cert := range bundle {
		both, err := tls.X509KeyPair(encodeBundle([]*x509.Certificate{cert}), text)
		if err != nil {
			continue
		}
		key, ok := both.PrivateKey.(crypto.Signer)
		if ok && (best == nil || cert.NotAfter.After(best.cert.NotAfter)) {
			best = &signer{cert: cert, key: key}
		}
	}
	if best == nil && len(bundle) > 0 {
		return nil, errors.New("not the key of a certificate in " + keyCACert)
	}
	return best, nil
}

// parsePair returns nil when both or one are missing.
func parsePair(cert, key []byte) (*pair, error) {
	if len(cert) == 0 || len(key) == 0 {
		return nil, nil
	}
	both, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, err
	}
	p := &pair{cert: cert, key: key}
	for _, der := range both.Certificate {
		parsed, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, err
		}
		p.chain = append(p.chain, parsed)
	}
	return p, nil
}

func encodeBundle(certs []*x509.Certificate) []byte {
	var out []byte
	for _, cert := range certs {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: blockCertificate, Bytes: cert.Raw})...)
	}
	return out
}

func encodeKey(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: blockPrivateKey, Bytes: der}), nil
}

func contains(certs []*x509.Certificate, cert *x509.Certificate) bool {
	return slices.ContainsFunc(certs, cert.Equal)
}

// clone returns a content that can be changed without changing c.
func (c content) clone() content {
	c.data = maps.Clone(c.data)
	if c.data == nil {
		c.data = map[string][]byte{}
	}
	return c
}

// withoutServing is what is put into a Secret made anew.
func (c content) withoutServing() content {
	c = c.clone()
	c.serving = nil
	delete(c.data, keyCert)
	delete(c.data, keyKey)
	return c
}

// equal reports whether nothing has to be written.
func (c content) equal(stored map[string][]byte) bool {
	for key, value := range c.data {
		if have, ok := stored[key]; !ok || !bytes.Equal(have, value) {
			return false
		}
	}
	return true
}

func (c *content) setBundle(certs []*x509.Certificate) {
	c.bundle = certs
	c.data[keyCACert] = encodeBundle(certs)
}

func (c *content) setSigner(s *signer) error {
	text, err := encodeKey(s.key)
	if err != nil {
		return err
	}
	c.signer = s
	c.data[keyCAKey] = text
	return nil
}

func (c *content) setServing(p *pair) {
	c.serving = p
	c.data[keyCert], c.data[keyKey] = p.cert, p.key
}
