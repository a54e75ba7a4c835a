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
	"cmp"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
)

// The defaults of Options. With them strangers hold some 10 MB of a TLS server's memory.
const (
	DefaultMax          = 100
	DefaultMaxPerSource = 20
	DefaultMaxUnheard   = 64 << 10
)

// ErrTooMuch is returned by a stranger's connection that has sent more than Options.MaxUnheard bytes without an answer.
var ErrTooMuch = errors.New("too many bytes before an answer")

// Options are the limits on strangers. Zero means the default.
type Options struct {
	// Max is how many connections strangers may have.
	Max int
	// MaxPerSource is how many of them may come from one IP address; of IPv6, from one network of 64 bits.
	MaxPerSource int
	// MaxUnheard is how many bytes a stranger may send before the server writes anything: the TLS handshake and the
	// headers of a request.
	MaxUnheard int
}

// Listener is a net.Listener with Options.
type Listener struct {
	net.Listener
	opts Options

	mu        sync.Mutex
	strangers []*conn // the oldest first; at most Options.Max
}

// New wraps a listener.
func New(l net.Listener, opts Options) *Listener {
	opts.Max = cmp.Or(opts.Max, DefaultMax)
	opts.MaxPerSource = cmp.Or(opts.MaxPerSource, DefaultMaxPerSource)
	opts.MaxUnheard = cmp.Or(opts.MaxUnheard, DefaultMaxUnheard)
	return &Listener{Listener: l, opts: opts}
}

// Accept implements net.Listener.
func (l *Listener) Accept() (net.Conn, error) {
	accepted, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	remote := accepted.RemoteAddr().String()
	c := &conn{Conn: accepted, listener: l, remote: remote, source: sourceOf(remote)}
	for _, old := range l.add(c) {
		// Whoever reads from it gets the error.
		_ = old.Close()
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

// Strangers is how many connections are not trusted.
func (l *Listener) Strangers() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.strangers)
}

// add returns the connections that are to be closed for the new one.
func (l *Listener) add(c *conn) (cutOff []*conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	ofSource := 1
	for _, old := range l.strangers {
		if old.source == c.source {
			ofSource++
		}
	}
	tooMany := len(l.strangers) >= l.opts.Max
	l.strangers = slices.DeleteFunc(l.strangers, func(old *conn) bool {
		if len(cutOff) > 0 || ofSource > l.opts.MaxPerSource && old.source != c.source || ofSource <= l.opts.MaxPerSource && !tooMany {
			return false
		}
		cutOff = append(cutOff, old)
		return true
	})
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
	addr := at.Addr().Unmap()
	if addr.Is4() {
		return addr.String()
	}
	network, err := addr.WithZone("").Prefix(64)
	if err != nil {
		return addr.String()
	}
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
	if c.unheard.Add(int64(n)) > int64(c.listener.opts.MaxUnheard) && !c.trusted.Load() {
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
