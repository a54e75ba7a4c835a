package servingcert_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"

	"k8s.io/client-go/kubernetes/fake"

	"github.com/promlet/promlet/adapter/servingcert"
)

// This example serves HTTPS with a certificate that is kept in a Secret. A real program has a client of its cluster instead
// of the fake one, and calls Keeper.Run, which renews the certificate.
func Example() {
	keeper, err := servingcert.New(servingcert.Options{
		Secrets: fake.NewClientset().CoreV1(), Namespace: "monitoring", Secret: "worker-cert", Service: "worker",
	})
	check(err)
	defer keeper.Close()
	check(keeper.Ensure(context.Background()))

	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "hello")
	}))
	server.TLS = &tls.Config{GetCertificate: keeper.GetCertificate}
	server.StartTLS()
	defer server.Close()

	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(keeper.CA())
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "worker.monitoring.svc"}}}
	defer client.CloseIdleConnections()
	response, err := client.Get(server.URL)
	check(err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	check(err)
	fmt.Println(string(text), response.TLS.PeerCertificates[0].DNSNames)
	// Output: hello [worker.monitoring.svc worker.monitoring.svc.cluster.local localhost]
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
