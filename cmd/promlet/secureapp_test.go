package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// asSecureApp in the environment makes the test binary an application that serves
// its metrics over TLS, on the address of secureAppListen, to who knows the
// password. The directory named has both: tls.crt, tls.key and password, read for
// every connection.
const (
	asSecureApp     = "PROMLET_TEST_SECURE_APP"
	secureAppListen = "PROMLET_TEST_SECURE_APP_LISTEN"
)

func secureApp(dir, listen string) error {
	server := &http.Server{
		Addr: listen, ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			want, err := os.ReadFile(filepath.Join(dir, "password"))
			user, password, _ := r.BasicAuth()
			if err != nil || user != "scraper" || password != string(want) {
				http.Error(w, "who are you?", http.StatusUnauthorized)
				return
			}
			w.Header().Set("Content-Type", "text/plain; version=0.0.4")
			_, _ = fmt.Fprintln(w, "secure_app_up 1")
		}),
		TLSConfig: &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"))
			return &pair, err
		}},
	}
	// A scraper with other credentials is to meet another certificate.
	server.SetKeepAlivesEnabled(false)
	return serveUntilTold(server, func() error { return server.ListenAndServeTLS("", "") })
}

// serveUntilTold serves until the process is told to end.
func serveUntilTold(server *http.Server, serve func() error) error {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	ended := make(chan error, 1)
	go func() { ended <- serve() }()
	select {
	case err := <-ended:
		return err
	case <-stop:
	}
	if err := errors.Join(server.Close(), <-ended); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// secureAppFiles gives the application a new certificate and password, and returns
// what a scraper has to know.
func secureAppFiles(t *testing.T, dir, password string) map[string][]byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), DNSNames: []string{"secure.test"}, NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for name, data := range map[string][]byte{
		"password": []byte(password), "tls.crt": cert, "tls.key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), data, 0o600))
	}
	return map[string][]byte{"username": []byte("scraper"), "password": []byte(password), "ca": cert}
}
