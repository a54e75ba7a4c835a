package targeterrors

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/promlet/promlet/discovery/kubelets"
	"github.com/promlet/promlet/scrape"
	"github.com/promlet/promlet/scrape/destination"
	"github.com/promlet/promlet/scrape/sink"
)

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	a := &authority{key: key}
	a.cert = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, a.cert, a.cert, &key.PublicKey, key)
	require.NoError(t, err)
	a.cert, err = x509.ParseCertificate(der)
	require.NoError(t, err)
	return a
}

// issue returns a serving certificate for names and IP addresses. mutate may be nil.
func (a *authority) issue(t *testing.T, mutate func(*x509.Certificate), names ...string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	c := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "system:node:n1", Organization: []string{"system:nodes"}},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			c.IPAddresses = append(c.IPAddresses, ip)
		} else {
			c.DNSNames = append(c.DNSNames, name)
		}
	}
	if mutate != nil {
		mutate(c)
	}
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, &key.PublicKey, a.key)
	require.NoError(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// file writes the certificate of the authority into a file.
func (a *authority) file(t *testing.T) string {
	t.Helper()
	return written(t, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}))
}

func written(t *testing.T, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(path, content, 0o600))
	return path
}

// kubelet serves as a kubelet would: its metrics, to the bearer of a token that may read them.
func kubelet(t *testing.T, certificate *tls.Certificate) (port int) {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path != "/metrics/resource":
			http.NotFound(w, r)
		case r.Header.Get("Authorization") == "Bearer good":
			w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
			_, _ = io.WriteString(w, "# TYPE node_cpu_usage_seconds_total counter\nnode_cpu_usage_seconds_total 12.5 "+strconv.FormatInt(time.Now().UnixMilli(), 10)+"\n")
		case r.Header.Get("Authorization") == "Bearer known":
			http.Error(w, "Forbidden (user=promlet, verb=get, resource=nodes, subresource(s)=[metrics])", http.StatusForbidden)
		case r.Header.Get("Authorization") == "Bearer slow":
			<-r.Context().Done()
		default:
			http.Error(w, "Unauthorized", http.StatusUnauthorized)
		}
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	if certificate == nil {
		s.Start()
	} else {
		s.TLS = &tls.Config{Certificates: []tls.Certificate{*certificate}}
		s.StartTLS()
	}
	t.Cleanup(s.Close)
	u, err := url.Parse(s.URL)
	require.NoError(t, err)
	port, err = strconv.Atoi(u.Port())
	require.NoError(t, err)
	return port
}

// nowhere takes samples and forgets them.
type nowhere struct{}

func (n nowhere) AppenderV2(context.Context) storage.AppenderV2 { return n }

func (nowhere) Append(storage.SeriesRef, labels.Labels, int64, int64, float64, *histogram.Histogram, *histogram.FloatHistogram, storage.AOptions) (storage.SeriesRef, error) {
	return 1, nil
}
func (nowhere) Commit() error   { return nil }
func (nowhere) Rollback() error { return nil }

// scraped scrapes the kubelet of a node n1 that has the address, with a job as the options make
// it, and returns what the sink gets: the samples, or the error.
func scraped(t *testing.T, address string, opts kubelets.Options, dial func(context.Context, string, string) (net.Conn, error)) ([]sink.Sample, error) {
	t.Helper()
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}, Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{{Type: corev1.NodeHostName, Address: address}}}}
	job, err := kubelets.New(opts)
	require.NoError(t, err)
	group, err := job.Group(node)
	require.NoError(t, err)
	type result struct {
		samples []sink.Sample
		err     error
	}
	results := make(chan result, 10)
	manager, err := scrape.NewManager(scrape.Options{
		Appendable: nowhere{}, OnDemand: true, DialContext: dial,
		Sinks: map[string]sink.Sink{kubelets.JobName: {
			Wanted: func(string) bool { return true },
			Scraped: func(target labels.Labels, _ time.Time, samples []sink.Sample) {
				if target.Get("node") == "n1" {
					results <- result{samples: samples}
				}
			},
			Failed: func(_ labels.Labels, _ time.Time, err error) { results <- result{err: err} },
		}},
	})
	require.NoError(t, err)
	defer manager.Stop()
	require.NoError(t, manager.Apply([]*config.ScrapeConfig{job.Config}, map[string][]*targetgroup.Group{kubelets.JobName: {group}}))
	select {
	case r := <-results:
		targets := manager.TargetsActive()[kubelets.JobName]
		require.Len(t, targets, 1)
		require.Equal(t, Kubelet("n1", r.err), Kubelet("n1", targets[0].LastError()), "pages and the sink get the same error")
		return r.samples, r.err
	case <-time.After(30 * time.Second):
		require.Fail(t, "not scraped")
		return nil, nil
	}
}

// The trouble that kubelets' certificates make, each with what to do about it.
func TestKubeletCertificates(t *testing.T) {
	ca := newAuthority(t, "kubernetes")
	f := func(certificate tls.Certificate, want, public string) {
		t.Helper()
		port := kubelet(t, &certificate)
		opts := kubelets.Options{Port: port, CertificateAuthority: ca.file(t), TokenFile: written(t, []byte("good"))}
		_, err := scraped(t, "127.0.0.1", opts, nil)
		require.Equal(t, want, Kubelet("n1", err))
		require.Equal(t, public, PublicKubelet("n1", err))
		// Without checking all of them are scraped.
		opts.CertificateAuthority, opts.InsecureSkipVerify = "", true
		samples, err := scraped(t, "127.0.0.1", opts, nil)
		require.NoError(t, err)
		require.Len(t, samples, 1)
		require.True(t, samples[0].Explicit)
	}
	f(ca.issue(t, nil, "n1", "127.0.0.1"), "", "")
	// As kubelets do without a certificate of the cluster, whatever address they are dialled by.
	const itself = `kubelet of node n1: it has signed its certificate itself, so that no CA knows it: set serverTLSBootstrap: true in the kubelet's configuration ` +
		`and approve its certificate signing requests; --kubelet-insecure-tls skips the check, for tests`
	f(newAuthority(t, "n1-ca@1700000000").issue(t, nil, "n1"), itself, itself)
	f(newAuthority(t, "n1-ca@1700000000").issue(t, nil, "127.0.0.1"), itself, itself)
	f(newAuthority(t, "another CA").issue(t, nil, "127.0.0.1"),
		`kubelet of node n1: its certificate is signed by "CN=another CA", which --kubelet-certificate-authority does not have: set it to a file with the CA that signs the kubelets' certificates, `+
			`or set serverTLSBootstrap: true in the kubelet's configuration and approve its certificate signing requests; --kubelet-insecure-tls skips the check, for tests`,
		`kubelet of node n1: its certificate is signed by "…", which --kubelet-certificate-authority does not have: set it to a file with the CA that signs the kubelets' certificates, `+
			`or set serverTLSBootstrap: true in the kubelet's configuration and approve its certificate signing requests; --kubelet-insecure-tls skips the check, for tests`)
	const connect = `: choose an address for which it is valid with --kubelet-preferred-address-types, ` +
		`or set serverTLSBootstrap: true in the kubelet's configuration and approve its certificate signing requests; --kubelet-insecure-tls skips the check, for tests`
	f(ca.issue(t, nil, "n1"),
		`kubelet of node n1: its certificate is not valid for 127.0.0.1, but for "n1"`+connect,
		`kubelet of node n1: its certificate is not valid for 127.0.0.1, but for "…"`+connect)
	f(ca.issue(t, nil), `kubelet of node n1: its certificate is not valid for 127.0.0.1, but for no name at all`+connect,
		`kubelet of node n1: its certificate is not valid for 127.0.0.1, but for no name at all`+connect)
	f(ca.issue(t, nil, "a", "b", "c", "d", "10.0.0.1", "10.0.0.2", "10.0.0.3"),
		`kubelet of node n1: its certificate is not valid for 127.0.0.1, but for "a", "b", "c", "d", "10.0.0.1", and 2 more`+connect,
		`kubelet of node n1: its certificate is not valid for 127.0.0.1, but for "…", "…", "…", "…", "…", and 2 more`+connect)
	const expired = `kubelet of node n1: its certificate is expired or not yet valid: check the clocks, and set rotateCertificates: true and serverTLSBootstrap: true ` +
		`in the kubelet's configuration; --kubelet-insecure-tls skips the check, for tests`
	f(ca.issue(t, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }, "127.0.0.1"), expired, expired)
	const client = `kubelet of node n1: its certificate is not valid as that of a server: set serverTLSBootstrap: true in the kubelet's configuration and approve ` +
		`its certificate signing requests; --kubelet-insecure-tls skips the check, for tests`
	f(ca.issue(t, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }, "127.0.0.1"), client, client)
	// So many names that the error has lost its type.
	many := make([]string, 60)
	for i := range many {
		many[i] = "10.9.8." + strconv.Itoa(i)
	}
	const unknown = `kubelet of node n1: its certificate cannot be verified: set --kubelet-certificate-authority to a file with the CA that signs the kubelets' certificates, ` +
		`and choose an address for which they are valid with --kubelet-preferred-address-types; --kubelet-insecure-tls skips the check, for tests`
	f(ca.issue(t, nil, many...), unknown, unknown)
}

// The name that the kubelet is dialled by is the one that is verified.
func TestKubeletsAreVerifiedByTheirAddress(t *testing.T) {
	ca := newAuthority(t, "kubernetes")
	certificate := ca.issue(t, nil, "n1.example")
	opts := kubelets.Options{Port: kubelet(t, &certificate), CertificateAuthority: ca.file(t), TokenFile: written(t, []byte("good"))}
	resolve := func(ctx context.Context, network, address string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, strings.ReplaceAll(address, "n1.example", "127.0.0.1"))
	}
	_, err := scraped(t, "n1.example", opts, resolve)
	require.NoError(t, err)
	_, err = scraped(t, "127.0.0.1", opts, resolve)
	require.ErrorAs(t, err, new(x509.HostnameError))
}

// What else goes wrong with kubelets.
func TestKubeletErrors(t *testing.T) {
	ca := newAuthority(t, "kubernetes")
	certificate := ca.issue(t, nil, "127.0.0.1", "n1.invalid")
	port := kubelet(t, &certificate)
	dial := new(net.Dialer).DialContext
	f := func(address string, mutate func(*kubelets.Options), want string) {
		t.Helper()
		opts := kubelets.Options{Port: port, CertificateAuthority: ca.file(t), TokenFile: written(t, []byte("good"))}
		mutate(&opts)
		samples, err := scraped(t, address, opts, dial)
		require.Empty(t, samples)
		got := Kubelet("n1", err)
		require.Regexp(t, "^kubelet of node n1: "+want+"$", got)
		require.NotContains(t, got, "https://", "no URL")
		require.Regexp(t, "^kubelet of node n1: "+want+"$", PublicKubelet("n1", err))
	}
	f("127.0.0.1", func(o *kubelets.Options) { o.TokenFile = written(t, []byte("known")) },
		"server returned HTTP status 403 Forbidden: the ClusterRole of promlet's ServiceAccount needs the verb get on nodes/metrics")
	f("127.0.0.1", func(o *kubelets.Options) { o.TokenFile = written(t, []byte("stale")) },
		"server returned HTTP status 401 Unauthorized: the kubelet does not accept promlet's credentials: set authentication.webhook.enabled: true in its configuration")
	f("127.0.0.1", func(o *kubelets.Options) { o.Port = kubelet(t, nil) },
		"it answers in HTTP, not HTTPS: set --kubelet-port to the port that serves HTTPS")
	f("127.0.0.1", func(o *kubelets.Options) { o.TokenFile = written(t, []byte("slow")); o.Timeout = time.Second },
		"timed out after 1s without an answer: check that the node is up, and that firewalls and NetworkPolicies let promlet connect to its kubelet")
	f("127.0.0.1", func(o *kubelets.Options) { o.Port = 1 },
		"dial tcp 127.0.0.1:1: connect: connection refused: set --kubelet-port, or --kubelet-use-node-status-port")
	f("127.0.0.1", func(o *kubelets.Options) { o.TokenFile = "/does/not/exist" },
		"open /does/not/exist: no such file or directory: check the file.*")
	f("n1.invalid", func(*kubelets.Options) {},
		`its address n1.invalid cannot be resolved \(.+\): choose another type of address with --kubelet-preferred-address-types=InternalIP`)
	dial = destination.Policy{}.DialContext
	f("127.0.0.1", func(*kubelets.Options) {},
		"dial tcp 127.0.0.1:[0-9]+: connections to 127.0.0.1 are refused: it is a loopback address: set --scrape-allowed-networks")
	require.Empty(t, Kubelet("n1", nil))
	require.Empty(t, PublicKubelet("n1", nil))
	require.Equal(t, "kubelet of node n1: server returned HTTP status 404 Not Found: it does not serve /metrics/resource: leave its node out with --node-selector",
		Kubelet("n1", errors.New("server returned HTTP status 404 Not Found")))
	require.Equal(t, "kubelet of node n1: the body has 32 MiB or more", Kubelet("n1", errors.New("body_size_limit exceeded (limit: 33554432 bytes)")))
	require.Equal(t, "kubelet of node n1: the connection was closed without an answer", Kubelet("n1", &url.Error{Op: "Get", URL: "https://n1", Err: io.EOF}))
}

// The CA's file is read again when it changes: kubelets get another CA without a restart.
func TestKubeletCAIsReadAgain(t *testing.T) {
	ca := newAuthority(t, "kubernetes")
	certificate := ca.issue(t, nil, "127.0.0.1")
	path := written(t, bytes.TrimSpace(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: newAuthority(t, "other").cert.Raw})))
	opts := kubelets.Options{Port: kubelet(t, &certificate), CertificateAuthority: path, TokenFile: written(t, []byte("good"))}
	_, err := scraped(t, "127.0.0.1", opts, nil)
	require.ErrorAs(t, err, new(x509.UnknownAuthorityError))
	content, err := os.ReadFile(ca.file(t))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, content, 0o600))
	_, err = scraped(t, "127.0.0.1", opts, nil)
	require.NoError(t, err)
}
