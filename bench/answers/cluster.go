package main

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
)

// cluster is kube-apiserver as promlet sees it: who asks by a certificate and says in
// headers for whom, and who is asked what that one may do.
type cluster struct {
	dir     string // of caFile and kubeconfigFile
	client  tls.Certificate
	reviews atomic.Int64
	server  *http.Server
	served  chan error
}

// The files by which promlet knows the cluster.
const (
	caFile         = "ca.crt"
	kubeconfigFile = "kubeconfig"
)

// Whom kube-apiserver asks for.
const (
	caller       = "system:serviceaccount:kube-system:horizontal-pod-autoscaler"
	callersGroup = "system:serviceaccounts"
)

func startCluster(ctx context.Context) (c *cluster, err error) {
	dir, err := os.MkdirTemp("", "promlet-answers-cluster-")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	c = &cluster{dir: dir, served: make(chan error, 1)}
	if err := c.issue(); err != nil {
		return nil, err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	kubeconfig := fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: bench, cluster: {server: "https://%s", certificate-authority: %q}}]
users: [{name: promlet, user: {token: promlet}}]
contexts: [{name: bench, context: {cluster: bench, user: promlet}}]
current-context: bench
`, listener.Addr(), filepath.Join(dir, caFile))
	if err := os.WriteFile(filepath.Join(dir, kubeconfigFile), []byte(kubeconfig), 0o600); err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	c.server = &http.Server{
		Handler: c, ReadHeaderTimeout: time.Minute,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{c.client}, MinVersion: tls.VersionTLS12},
	}
	go func() { c.served <- c.server.ServeTLS(listener, "", "") }()
	return c, nil
}

func (c *cluster) stop() error {
	err := c.server.Close()
	if served := <-c.served; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return errors.Join(err, os.RemoveAll(c.dir))
}

// ServeHTTP lets everybody do everything that is asked about.
func (c *cluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var review authorizationv1.SubjectAccessReview
	if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.reviews.Add(1)
	review.Status.Allowed = true
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(review) // the client may be gone
}

// issue makes a CA and the one certificate of kube-apiserver, with keys as kubeadm makes
// them.
func (c *cluster) issue() error {
	from := x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bench"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, BasicConstraintsValid: true, IsCA: true,
	}
	of := from
	of.SerialNumber, of.Subject.CommonName, of.IsCA = big.NewInt(2), "front-proxy-client", false
	of.KeyUsage = x509.KeyUsageDigitalSignature
	of.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	of.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	var keys [2]*rsa.PrivateKey
	for i := range keys {
		var err error
		if keys[i], err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
			return fmt.Errorf("make key: %w", err)
		}
	}
	ca, err := x509.CreateCertificate(rand.Reader, &from, &from, keys[0].Public(), keys[0])
	if err != nil {
		return fmt.Errorf("make CA: %w", err)
	}
	leaf, err := x509.CreateCertificate(rand.Reader, &of, &from, keys[1].Public(), keys[0])
	if err != nil {
		return fmt.Errorf("make certificate: %w", err)
	}
	c.client = tls.Certificate{Certificate: [][]byte{leaf}, PrivateKey: crypto.PrivateKey(keys[1])}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca})
	return os.WriteFile(filepath.Join(c.dir, caFile), text, 0o600)
}
