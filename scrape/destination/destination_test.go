package destination

import (
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	config_util "github.com/prometheus/common/config"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPolicy(t *testing.T) {
	networks := func(texts ...string) []netip.Prefix {
		parsed, err := ParseNetworks(texts)
		require.NoError(t, err)
		return parsed
	}
	var p Policy
	for addr, why := range map[string]string{
		"127.0.0.1": "a loopback address", "127.9.9.9": "a loopback address", "::1": "a loopback address", "::ffff:127.0.0.1": "a loopback address",
		"169.254.169.254": "a link-local address", "fe80::1%eth0": "a link-local address",
		"0.0.0.0": "no address of a machine", "0.1.2.3": "no address of a machine", "::": "no address of a machine",
		"224.0.0.1": "a multicast address", "ff02::1": "a multicast address", "255.255.255.255": "a multicast address",
		"fd00:ec2::254": "a cloud metadata service", "168.63.129.16": "a cloud metadata service",
	} {
		require.ErrorContains(t, p.Check(netip.MustParseAddr(addr)), "refused: it is "+why, addr)
	}
	for _, addr := range []string{"10.0.0.1", "192.168.1.1", "100.64.0.1", "8.8.8.8", "fd00::1", "2001:db8::1"} {
		require.NoError(t, p.Check(netip.MustParseAddr(addr)), addr)
	}
	p = Policy{Allowed: networks("127.0.0.0/8", "169.254.20.10"), Refused: networks("10.0.0.0/8", "127.0.0.53", "::1")}
	require.NoError(t, p.Check(netip.MustParseAddr("127.0.0.1")))
	require.NoError(t, p.Check(netip.MustParseAddr("169.254.20.10")))
	require.Error(t, p.Check(netip.MustParseAddr("169.254.20.11")))
	require.EqualError(t, p.Check(netip.MustParseAddr("10.9.9.9")), "connections to 10.9.9.9 are refused: network 10.0.0.0/8")
	require.Error(t, p.Check(netip.MustParseAddr("127.0.0.53")))
	_, err := ParseNetworks([]string{"10.0.0.0/8", "ten"})
	require.EqualError(t, err, `"ten" is no network: give one such as 10.0.0.0/8, or an IP address`)
}

// A scrape's client goes where the policy lets it, whatever a name resolves to, by redirect or through a proxy.
func TestClientsGoNowhereElse(t *testing.T) {
	srv := httptest.NewServer(http.RedirectHandler("http://127.0.0.2:1/", http.StatusFound))
	defer srv.Close()
	_, port, err := net.SplitHostPort(srv.Listener.Addr().String())
	require.NoError(t, err)
	get := func(p Policy, url string, cfg config_util.HTTPClientConfig) error {
		client, err := config_util.NewClientFromConfig(cfg, "test", config_util.WithDialContextFunc(p.DialContext))
		require.NoError(t, err)
		defer client.CloseIdleConnections()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
		require.NoError(t, err)
		resp, err := client.Do(req)
		if err == nil {
			require.NoError(t, resp.Body.Close())
		}
		return err
	}
	plain := config_util.DefaultHTTPClientConfig
	require.ErrorContains(t, get(Policy{}, "http://localhost:"+port, plain), "are refused: it is a loopback address")
	only, err := ParseNetworks([]string{"127.0.0.1"})
	require.NoError(t, err)
	allowed := Policy{Allowed: only}
	require.ErrorContains(t, get(allowed, srv.URL, plain), "connections to 127.0.0.2 are refused", "by a redirect")
	proxied := plain
	require.NoError(t, proxied.ProxyURL.UnmarshalYAML(func(v any) error { *v.(*string) = srv.URL; return nil })) //nolint:forcetypeassert // The caller's.
	require.ErrorContains(t, get(Policy{}, "http://app.example:80", proxied), "are refused: it is a loopback address", "the proxy")
	require.True(t, strings.HasPrefix(srv.URL, "http://127.0.0.1"))
}
