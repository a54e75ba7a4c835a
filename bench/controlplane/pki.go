package controlplane

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// pki holds the certificates and keys of a control plane: NAME.crt and NAME.key
// in a directory.
type pki struct {
	dir string
	cas map[string]*authority
}

type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// The names of certificates, and of their files.
const (
	clusterCA       = "ca"
	frontProxyCA    = "front-proxy-ca"
	serverCert      = "apiserver"
	frontProxyCert  = "front-proxy-client"
	adminCert       = "admin"
	controllersCert = "controller-manager"
	serviceAccounts = "service-accounts"
)

func newPKI(dir string) (*pki, error) {
	p := &pki{dir: dir, cas: map[string]*authority{}}
	for _, name := range []string{clusterCA, frontProxyCA} {
		if err := p.newCA(name); err != nil {
			return nil, err
		}
	}
	server := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "kube-apiserver"},
		DNSNames:    []string{"localhost", "kubernetes.default.svc"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	client := func(user string, groups ...string) *x509.Certificate {
		return &x509.Certificate{Subject: pkix.Name{CommonName: user, Organization: groups}}
	}
	for _, c := range []struct {
		name, ca string
		template *x509.Certificate
	}{
		{serverCert, clusterCA, server},
		{adminCert, clusterCA, client("admin", "system:masters")},
		{controllersCert, clusterCA, client("system:kube-controller-manager")},
		{frontProxyCert, frontProxyCA, client(frontProxyCert)},
	} {
		if err := p.issue(c.name, c.ca, c.template); err != nil {
			return nil, err
		}
	}
	// kube-apiserver takes RSA and ECDSA; the former is what clusters have.
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, fmt.Errorf("make key of service accounts: %w", err)
	}
	return p, p.writeKey(serviceAccounts, key)
}

func (p *pki) crt(name string) string { return filepath.Join(p.dir, name+".crt") }
func (p *pki) key(name string) string { return filepath.Join(p.dir, name+".key") }

func (p *pki) newCA(name string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make key of %s: %w", name, err)
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: name},
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	cert, err := p.sign(name, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	p.cas[name] = &authority{cert: cert, key: key}
	return p.writeKey(name, key)
}

func (p *pki) issue(name, ca string, template *x509.Certificate) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make key of %s: %w", name, err)
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	if _, err := p.sign(name, template, p.cas[ca].cert, key.Public(), p.cas[ca].key); err != nil {
		return err
	}
	return p.writeKey(name, key)
}

// sign makes a certificate that outlives any test, and writes it.
func (p *pki) sign(name string, template, parent *x509.Certificate, public crypto.PublicKey, signer crypto.Signer) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return nil, fmt.Errorf("sign %s: %w", name, err)
	}
	template.SerialNumber = serial
	template.NotBefore = time.Now().Add(-time.Hour)
	template.NotAfter = time.Now().Add(7 * 24 * time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, signer)
	if err != nil {
		return nil, fmt.Errorf("sign %s: %w", name, err)
	}
	if err := writePEM(p.crt(name), "CERTIFICATE", der); err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func (p *pki) writeKey(name string, key crypto.Signer) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("encode key of %s: %w", name, err)
	}
	return writePEM(p.key(name), "PRIVATE KEY", der)
}

func writePEM(path, kind string, der []byte) error {
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		return fmt.Errorf("write certificate: %w", err)
	}
	return nil
}
