package body

import (
	"context"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync"
	"sync/atomic"

	"github.com/promlet/promlet/scrape/internal/budget"
	"github.com/promlet/promlet/scrape/internal/reason"
)

const (
	// maxHeader bounds what a connection may deliver before the body: the header, or the
	// TLS handshake, or the answer of a proxy. net/http's own bound is 10 MB. Real headers
	// are below 2 KiB, but the first TLS record, of up to 16 KiB, counts whole.
	maxHeader = 64 << 10
	// freeHeader of it is covered by seatSize: then nothing else has been taken of that.
	freeHeader = seatSize / headerCost
	// headerCost is what a byte costs in memory: lines as short as "a1:" become entries of
	// a map. Measured are 14, and half as much again while the map grows.
	headerCost = 20
	// fieldCost is what an entry of that map costs beside its text.
	fieldCost = 100
)

// exchange is a scrape's requests and the headers of their answers, as the connections
// see them. While a header is read its bytes are charged to the loan of the scrape.
type exchange struct {
	ctx  context.Context
	loan *budget.Loan

	mu     sync.Mutex
	conn   *conn // of the request under way
	seated bool  // the loan has the bytes that every scrape needs
	read   int64 // of the header under way
	taken  int64 // bytes that the loan has for it beside the seat
	err    error // the first that has ended a connection
}

type exchangeKey struct{}

// newExchange returns an exchange, and the context for its requests.
func newExchange(ctx context.Context, loan *budget.Loan) (*exchange, context.Context) {
	e := &exchange{loan: loan}
	e.ctx = ctx
	ctx = context.WithValue(ctx, exchangeKey{}, e)
	return e, httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: e.gotConn})
}

// gotConn is called before a request is written.
func (e *exchange) gotConn(info httptrace.GotConnInfo) {
	// Through TLS and whatever else is around the connection.
	a, ok := info.Conn.LocalAddr().(localAddr)
	if !ok {
		return
	}
	e.begin(a.conn)
	a.conn.exchange.Store(e)
}

// begin begins a header.
func (e *exchange) begin(c *conn) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.conn, e.read = c, 0
	e.loan.Return(e.taken)
	e.taken = 0
}

// seat takes what every scrape needs, unless a header has done so.
func (e *exchange) seat() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.sit()
}

// sit takes what every scrape needs, as soon as there is room for it. e.mu is held.
func (e *exchange) sit() error {
	if e.seated {
		return nil
	}
	err := e.loan.Wait(e.ctx, seatSize)
	e.seated = err == nil
	return err
}

// add counts n bytes of a header.
func (e *exchange) add(n int) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	err := e.sit()
	if e.read += int64(n); e.read > maxHeader {
		err = reason.Limitf("header", "response header longer than %d bytes", maxHeader)
	}
	if more := (e.read-freeHeader)*headerCost - e.taken; err == nil && more > 0 {
		if err = e.loan.Wait(e.ctx, more); err == nil {
			e.taken += more
		}
	}
	if e.err == nil {
		e.err = err
	}
	return err
}

// done ends a header: what its connection delivers from now on is a body. The header
// itself stays charged, because redirects hold on to those before.
func (e *exchange) done(header http.Header) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.conn == nil {
		return nil
	}
	e.conn.exchange.Store(nil)
	e.conn = nil
	e.loan.Return(e.taken)
	e.taken = 0
	size := int64(0)
	for name, values := range header {
		for _, value := range values {
			size += int64(len(name)+len(value)) + fieldCost
		}
	}
	if size <= seatSize/32 {
		return nil // It fits into what the seat has to spare.
	}
	return e.loan.Wait(e.ctx, size)
}

// failure returns the error that has ended a connection, nil if none has.
func (e *exchange) failure() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.err
}

// exchanges tells the exchange of each request when its header has been read.
type exchanges struct{ http.RoundTripper }

// RoundTrip implements [http.RoundTripper].
func (t exchanges) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.RoundTripper.RoundTrip(req)
	e, ok := req.Context().Value(exchangeKey{}).(*exchange)
	if err != nil || !ok {
		return resp, err
	}
	if err := e.done(resp.Header); err != nil {
		_ = resp.Body.Close() // The error says more.
		return nil, err
	}
	return resp, nil
}

// CloseIdleConnections is called by [http.Client.CloseIdleConnections].
func (t exchanges) CloseIdleConnections() {
	if c, ok := t.RoundTripper.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// DialFunc makes connections, as [net.Dialer.DialContext] does.
type DialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

// counted returns a dial function whose connections count the bytes of headers.
func counted(dial DialFunc) DialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		plain, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		c := &conn{Conn: plain}
		if e, ok := ctx.Value(exchangeKey{}).(*exchange); ok {
			// A proxy's answer and the TLS handshake come first.
			c.exchange.Store(e)
		}
		return c, nil
	}
}

// conn counts the bytes of headers.
type conn struct {
	net.Conn
	exchange atomic.Pointer[exchange] // whose header is read; nil while there is none
}

// Read implements [net.Conn].
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if e := c.exchange.Load(); e != nil && n > 0 {
		if err := e.add(n); err != nil {
			return 0, err
		}
	}
	return n, err
}

// LocalAddr implements [net.Conn]. Its value leads back to c from the connections that are
// wrapped around it.
func (c *conn) LocalAddr() net.Addr { return localAddr{c.Conn.LocalAddr(), c} }

type localAddr struct {
	net.Addr
	conn *conn
}
