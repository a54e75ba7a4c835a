package attacks

import (
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A tenant's monitors lead to an address that they may not reach: by relabeling, by a redirect, through a proxy, and by
// a token endpoint. Nobody connects there. An answer's text is not passed on either.
func TestDestinations(t *testing.T) {
	t.Parallel()
	// Here all is on loopback, which --manifests allows. What is at 127.0.0.1 stands for it in a cluster.
	s := start(t, "--scrape-refused-networks", "127.0.0.1/32")
	var reached atomic.Int64
	inside, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &peers{listeners: []net.Listener{inside}, conns: map[net.Conn]bool{}, serve: func(net.Conn, int) { reached.Add(1) }}
	p.running.Go(func() { p.accept(inside, 0) })
	t.Cleanup(p.close)
	url := "http://" + inside.Addr().String()

	const secret = "the-text-of-an-answer"
	one := func(name, endpoint string, serve func(net.Conn, int)) {
		t.Helper()
		s.deploy(app{namespace: tenant, name: name, addresses: s.listen(1, serve), endpoint: endpoint}, "stolen")
	}
	fine := exposing(func(int) string { return "# TYPE stolen gauge\nstolen 1\n" })
	one("relabeled", fmt.Sprintf(", relabelings: [{targetLabel: __address__, replacement: %q}]", inside.Addr()), fine)
	one("own", fmt.Sprintf(", path: /api/v1/query, params: {query: [up]}, relabelings: [{targetLabel: __address__, replacement: %q}]", s.web), fine)
	one("redirected", "", answering("HTTP/1.1 302 Found\r\nLocation: "+url+"/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", func(int) string { return "" }))
	one("proxied", fmt.Sprintf(", proxyUrl: %q", url), fine)
	one("authorized", fmt.Sprintf(", oauth2: {clientId: {secret: {name: client, key: id}}, clientSecret: {name: client, key: id}, tokenUrl: %q}", url), fine)
	s.apply("secret", "apiVersion: v1\nkind: Secret\nmetadata: {name: client, namespace: "+tenant+"}\nstringData: {id: x}\n")
	one("quoting", "", exposing(func(int) string { return secret + " is no metric}\n" }))

	names := []string{"relabeled", "own", "redirected", "proxied", "authorized", "quoting"}
	for _, name := range names {
		require.Eventually(t, func() bool {
			_, body, err := s.get("http://" + s.web + "/api/v1/targets")
			return err == nil && strings.Contains(body, "serviceMonitor/"+tenant+"/"+name+"/0")
		}, patience, 100*time.Millisecond, name)
	}
	time.Sleep(2 * scrapeInterval)
	for _, name := range names {
		code, body, err := s.metric(tenant + "/services/" + name + "/stolen")
		require.NoError(t, err)
		require.Equal(t, 404, code, body)
		require.NotContains(t, body, secret)
		require.NotContains(t, body, `status\":`, "promlet's own answer")
	}
	require.Zero(t, reached.Load(), "connections to %s", inside.Addr())
	s.end()
}
