// Package connlimit bounds what clients can hold of a server before the server knows who they are.
//
// [New] wraps a listener. A connection is a stranger's until [Listener.Trust] is called for its remote address, which
// is for whoever has authenticated a request of it. Strangers have a limited number of connections, in all and for each
// source address, and a limited number of bytes that the server reads without an answer. Where there would be too
// many connections, the stranger that has been there longest is cut off: it holds a connection and asks nothing, while
// one that asks is trusted, or answered and gone, in milliseconds. So a flood keeps nobody out.
//
// A Listener starts no goroutines.
package connlimit

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
)

// The limits on strangers. With them they hold some 10 MB of a TLS server's memory.
const (
	// maxStrangers is how many connections they may have.
	maxStrangers = 100
	// maxPerSource is how many of them may come from one IP address; of IPv6, from one network of 64 bits.
	maxPerSource = 20
	// maxUnheard is how many bytes a stranger may send before the server writes anything: the TLS handshake and the
	// headers of a request.
	maxUnheard = 64 << 10
)

// ErrTooMuch is returned by a stranger's connection that has sent more than 64 KiB without an answer.
var ErrTooMuch = errors.New("too many bytes before an answer")

// Listener is a net.Listener with limits on strangers.
type Listener struct {
	net.Listener
	max, perSource int

	mu        sync.Mutex
	strangers []*conn // the oldest first; at most max
}

// New wraps a listener.
func New(l net.Listener) *Listener {
	return &Listener{Listener: l, max: maxStrangers, perSource: maxPerSource}
}

// Accept implements net.Listener.
func (l *Listener) Accept() (net.Conn, error) {
	accepted, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	remote := accepted.RemoteAddr().String()
	c := &conn{Conn: accepted, listener: l, remote: remote, source: sourceOf(remote)}
	if cutOff := l.add(c); cutOff != nil {
		_ = cutOff.Close() // whoever reads from it gets the error
	}
	return c, nil
}

// Trust lifts the limits from the connection with a remote address (http.Request.RemoteAddr): it is no stranger's.
func (l *Listener) Trust(remote string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.strangers = slices.DeleteFunc(l.strangers, func(c *conn) bool {
		if c.remote != remote {
			return false
		}
		c.trusted.Store(true)
		return true
	})
}

// add returns the connection that is to be closed for the new one, if any.
func (l *Listener) add(c *conn) (cutOff *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	ofSource := 0
	for _, old := range l.strangers {
		if old.source == c.source {
			ofSource++
		}
	}
	oldest := -1
	if ofSource >= l.perSource {
		oldest = slices.IndexFunc(l.strangers, func(old *conn) bool { return old.source == c.source })
	} else if len(l.strangers) >= l.max {
		oldest = 0
	}
	if oldest >= 0 {
		cutOff = l.strangers[oldest]
		l.strangers = slices.Delete(l.strangers, oldest, oldest+1)
	}
	l.strangers = append(l.strangers, c)
	return cutOff
}

func (l *Listener) remove(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.strangers = slices.DeleteFunc(l.strangers, func(old *conn) bool { return old == c })
}

// sourceOf is the IP address of a remote address, of IPv6 its network of 64 bits; or else the whole of it.
func sourceOf(remote string) string {
	at, err := netip.ParseAddrPort(remote)
	if err != nil {
		return remote
	}
	addr := at.Addr().Unmap().WithZone("")
	network, _ := addr.Prefix(min(64, addr.BitLen())) // the address is at least as long
	return network.String()
}

// conn is a connection, of a stranger at first.
type conn struct {
	net.Conn
	listener       *Listener
	remote, source string
	trusted        atomic.Bool
	unheard        atomic.Int64
}

// Read implements net.Conn.
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.unheard.Add(int64(n)) > maxUnheard && !c.trusted.Load() {
		return 0, errors.Join(ErrTooMuch, c.Close())
	}
	return n, err
}

// Write implements net.Conn.
func (c *conn) Write(b []byte) (int, error) {
	c.unheard.Store(0)
	return c.Conn.Write(b)
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.listener.remove(c)
	return c.Conn.Close()
}
