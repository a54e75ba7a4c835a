// Command certifying serves HTTPS with a certificate that promlet keeps in a Secret, and asks itself as a client that trusts
// the Secret's CA.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"

	"k8s.io/client-go/kubernetes/fake"

	"github.com/promlet/promlet/adapter/servingcert"
	"github.com/promlet/promlet/bench/stranger/internal/instance"
)

func main() { instance.Main(open) }

type program struct {
	keeper *servingcert.Keeper
	server *http.Server
	url    string
	cancel context.CancelFunc
	ended  chan error // of the keeper and the server
}

func open(config instance.Config) (*program, error) {
	keeper, err := servingcert.New(servingcert.Options{
		Secrets: fake.NewClientset().CoreV1(), Namespace: "default", Secret: "worker-cert", Service: "worker", Registerer: config.Registry,
	})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &program{keeper: keeper, cancel: cancel, ended: make(chan error, 2)}
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p.url = "https://" + listener.Addr().String()
	p.server = &http.Server{
		Handler:   http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, config.Number) }),
		TLSConfig: &tls.Config{GetCertificate: keeper.GetCertificate},
	}
	if err := keeper.Ensure(ctx); err != nil {
		return nil, err
	}
	go func() { p.ended <- keeper.Run(ctx) }()
	go func() { p.ended <- p.server.ServeTLS(listener, "", "") }()
	return p, nil
}

// Ask implements instance.Instance.
func (p *program) Ask(ctx context.Context) (_ float64, err error) {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(p.keeper.CA())
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "worker.default.svc"}}}
	defer client.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url, http.NoBody)
	if err != nil {
		return 0, err
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err
	}
	return strconv.ParseFloat(string(text), 64)
}

// Close implements instance.Instance.
func (p *program) Close() error {
	p.cancel()
	err := p.server.Close()
	for range 2 {
		if ended := <-p.ended; ended != nil && !errors.Is(ended, http.ErrServerClosed) {
			err = ended
		}
	}
	p.keeper.Close()
	return err
}
