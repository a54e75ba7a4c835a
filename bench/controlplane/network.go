package controlplane

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"
	"time"
)

// dialTimeout is for loopback.
const dialTimeout = 5 * time.Second

// Network reaches pods by the addresses that Kubernetes knows them by. It is an
// HTTP CONNECT proxy on a Unix socket, for other processes, and a dialler.
type Network struct {
	socket   string
	listener net.Listener
	wg       sync.WaitGroup

	mtx    sync.Mutex
	closed bool
	routes map[string]string // pod address to loopback address
	conns  map[net.Conn]struct{}
}

func newNetwork(socket string) (*Network, error) {
	listener, err := new(net.ListenConfig).Listen(context.Background(), "unix", socket)
	if err != nil {
		return nil, fmt.Errorf("make network of pods: %w", err)
	}
	n := &Network{socket: socket, listener: listener, routes: map[string]string{}, conns: map[net.Conn]struct{}{}}
	n.wg.Go(n.serve)
	return n, nil
}

// Socket is the path of the proxy's Unix socket. See [DialThrough].
func (n *Network) Socket() string { return n.socket }

// Route makes connections to a pod's HOST:PORT go to a loopback address.
func (n *Network) Route(pod, loopback string) {
	n.mtx.Lock()
	defer n.mtx.Unlock()
	n.routes[pod] = loopback
}

// Unroute makes a pod's address unreachable. Connections stay.
func (n *Network) Unroute(pod string) {
	n.mtx.Lock()
	defer n.mtx.Unlock()
	delete(n.routes, pod)
}

// DialContext connects to a pod.
func (n *Network) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	n.mtx.Lock()
	loopback, ok := n.routes[address]
	n.mtx.Unlock()
	if !ok {
		return nil, fmt.Errorf("dial %s: no pod listens there", address)
	}
	return (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, network, loopback)
}

// close ends all connections and waits for them.
func (n *Network) close() error {
	n.mtx.Lock()
	n.closed = true
	for conn := range n.conns {
		_ = conn.Close() // its copier ends
	}
	n.mtx.Unlock()
	err := n.listener.Close()
	n.wg.Wait()
	return err
}

func (n *Network) serve() {
	for {
		conn, err := n.listener.Accept()
		if err != nil {
			return // closed
		}
		n.wg.Go(func() { n.handle(conn) })
	}
}

// keep makes close end a connection too, and tells whether there is still time.
func (n *Network) keep(conn net.Conn) bool {
	n.mtx.Lock()
	defer n.mtx.Unlock()
	if !n.closed {
		n.conns[conn] = struct{}{}
	}
	return !n.closed
}

func (n *Network) drop(conn net.Conn) {
	n.mtx.Lock()
	delete(n.conns, conn)
	n.mtx.Unlock()
	_ = conn.Close()
}

func (n *Network) handle(client net.Conn) {
	defer n.drop(client)
	if !n.keep(client) {
		return
	}
	buffered := bufio.NewReader(client)
	request, err := http.ReadRequest(buffered)
	if err != nil || request.Method != http.MethodConnect {
		_, _ = io.WriteString(client, "HTTP/1.1 400 Bad Request\r\n\r\n")
		return
	}
	pod, err := n.DialContext(context.Background(), "tcp", request.Host)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		_, _ = io.WriteString(client, "HTTP/1.1 503 Service Unavailable\r\n\r\n")
		return
	case err != nil:
		_, _ = io.WriteString(client, "HTTP/1.1 502 Bad Gateway\r\n\r\n")
		return
	}
	defer n.drop(pod)
	if !n.keep(pod) {
		return
	}
	if _, err := io.WriteString(client, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		return
	}
	var sent sync.WaitGroup
	sent.Go(func() { pipe(pod, buffered) })
	pipe(client, pod)
	sent.Wait()
}

// pipe copies one direction of a connection, and passes its end on.
func pipe(to net.Conn, from io.Reader) {
	_, _ = io.Copy(to, from) // either side may go at any time
	if half, ok := to.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
}

// DialThrough returns a dialler that reaches pods through a Network of another
// process.
func DialThrough(socket string) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, _, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
		if err != nil {
			return nil, err
		}
		if deadline, ok := ctx.Deadline(); ok {
			_ = conn.SetDeadline(deadline) // a socket takes deadlines
		}
		// Nothing follows the answer before we have written, so that no byte is
		// lost in the reader.
		response, err := connect(conn, address)
		switch {
		case err != nil || response == http.StatusOK:
		case response == http.StatusServiceUnavailable: // as if the pod itself had said so
			err = fmt.Errorf("dial tcp %s: %w", address, os.NewSyscallError("connect", syscall.ECONNREFUSED))
		default:
			err = fmt.Errorf("dial %s: no pod listens there", address)
		}
		if err != nil {
			return nil, errors.Join(err, conn.Close())
		}
		return conn, conn.SetDeadline(time.Time{})
	}
}

func connect(conn net.Conn, address string) (status int, err error) {
	if _, err := fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", address, address); err != nil {
		return 0, err
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: http.MethodConnect})
	if err != nil {
		return 0, err
	}
	return response.StatusCode, response.Body.Close()
}
