package answers

import (
	"context"
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
	c = &cluster{served: make(chan error, 1)}
	if c.dir, err = os.MkdirTemp("", "promlet-answers-cluster-"); err != nil {
		return nil, err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen: %w", err), os.RemoveAll(c.dir))
	}
	if err := c.issue(listener.Addr()); err != nil {
		return nil, errors.Join(err, listener.Close(), os.RemoveAll(c.dir))
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

// issue makes the one certificate of kube-apiserver, which is its own CA, with a key as
// kubeadm makes them, and writes the files for a server at an address.
func (c *cluster) issue(address net.Addr) error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return fmt.Errorf("make key: %w", err)
	}
	of := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "front-proxy-client"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, BasicConstraintsValid: true, IsCA: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, of, of, key.Public(), key)
	if err != nil {
		return fmt.Errorf("make certificate: %w", err)
	}
	c.client = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	ca := filepath.Join(c.dir, caFile)
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		return err
	}
	kubeconfig := fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: bench, cluster: {server: "https://%s", certificate-authority: %q}}]
users: [{name: promlet, user: {token: promlet}}]
contexts: [{name: bench, context: {cluster: bench, user: promlet}}]
current-context: bench
`, address, ca)
	return os.WriteFile(filepath.Join(c.dir, kubeconfigFile), []byte(kubeconfig), 0o600)
}
