// Package destination decides where connections of a scrape may go.
//
// Whoever may write a monitor chooses what promlet connects to: by an address, a relabeling, a redirect, a proxy or a
// token endpoint. A [Policy] refuses addresses at which something may listen that trusts promlet's own machine. It looks
// at the address after the name has been resolved, so that no name gets around it. Behind a proxy it is the proxy that
// decides.
package destination

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"time"
)

// metadataServices are the addresses of cloud metadata services that are not link-local: of Azure's agent, Alibaba
// Cloud, and AWS over IPv6.
func metadataServices() []netip.Prefix {
	return []netip.Prefix{
		netip.MustParsePrefix("168.63.129.16/32"),
		netip.MustParsePrefix("100.100.100.200/32"),
		netip.MustParsePrefix("fd00:ec2::254/128"),
	}
}

// Policy says which IP addresses may be connected to. Its zero value refuses loopback, link-local, unspecified and
// multicast addresses and cloud metadata services, and allows all others.
type Policy struct {
	// Allowed are networks that are allowed whatever they are, unless Refused holds the address, too.
	Allowed []netip.Prefix
	// Refused are networks that are refused beside.
	Refused []netip.Prefix
}

// Check returns an error that says why an address is refused, nil if it is not.
func (p Policy) Check(addr netip.Addr) error {
	addr = addr.Unmap().WithZone("")
	holds := func(network netip.Prefix) bool { return network.Contains(addr) }
	if i := slices.IndexFunc(p.Refused, holds); i >= 0 {
		return fmt.Errorf("connections to %s are refused: network %s", addr, p.Refused[i])
	}
	if slices.ContainsFunc(p.Allowed, holds) {
		return nil
	}
	var kind string
	switch {
	case addr.IsLoopback():
		kind = "a loopback address"
	case addr.IsLinkLocalUnicast():
		kind = "a link-local address"
	case addr.IsUnspecified(), addr.Is4() && addr.As4()[0] == 0:
		kind = "no address of a machine"
	case addr.IsMulticast(), addr == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		kind = "a multicast address"
	case slices.ContainsFunc(metadataServices(), holds):
		kind = "a cloud metadata service"
	default:
		return nil
	}
	return fmt.Errorf("connections to %s are refused: it is %s", addr, kind)
}

// DialContext connects as a net.Dialer does, to an address that is not refused.
func (p Policy) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := &net.Dialer{
		Timeout: 30 * time.Second,
		Control: func(_, resolved string, _ syscall.RawConn) error {
			at, err := netip.ParseAddrPort(resolved)
			if err != nil {
				return fmt.Errorf("connect to %q: %w", resolved, err)
			}
			return p.Check(at.Addr())
		},
	}
	return dialer.DialContext(ctx, network, address)
}

// ParseNetworks reads networks as a flag gives them: 10.0.0.0/8, or one address.
func ParseNetworks(texts []string) ([]netip.Prefix, error) {
	var networks []netip.Prefix
	for _, text := range texts {
		network, err := netip.ParsePrefix(text)
		if addr, addrErr := netip.ParseAddr(text); addrErr == nil {
			network, err = addr.Unmap().Prefix(addr.Unmap().BitLen())
		}
		if err != nil {
			return nil, fmt.Errorf("%q is no network: give one such as 10.0.0.0/8, or an IP address", text)
		}
		networks = append(networks, network.Masked())
	}
	return networks, nil
}
