package controlplane

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// kubeletPort is where kubelets listen.
const kubeletPort = 10250

// Node is a node in name only. It serves /metrics/resource as a kubelet does, over HTTPS at its
// address in the [Network], to those that the API server allows nodes/metrics.
type Node struct {
	// Name is that of the Node object, Address its only InternalIP.
	Name, Address string

	kubelet *Kubelet

	mtx    sync.Mutex
	server *http.Server // nil: it serves no more
	ended  chan error   // how it ended
	issued int          // certificates
}

// AddNode registers a node, which serves its metrics until Run ends. Pods run there whose spec
// names it. Run must have been called.
func (k *Kubelet) AddNode(ctx context.Context, name string) (*Node, error) {
	k.mtx.Lock()
	n := &Node{Name: name, Address: fmt.Sprintf(nodeSubnet, len(k.nodes)+1), kubelet: k}
	k.nodes = append(k.nodes, n)
	k.mtx.Unlock()
	k.counters.startNode(name)
	if err := n.serve("", n.metrics()); err != nil {
		return nil, fmt.Errorf("serve node %s: %w", name, err)
	}
	if err := n.register(ctx); err != nil {
		return nil, fmt.Errorf("register node %s: %w", name, err)
	}
	return n, nil
}

// register makes the node, ready to take pods.
func (n *Node) register(ctx context.Context) error {
	nodes := n.kubelet.client.CoreV1().Nodes()
	node, err := nodes.Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{
		Name:   n.Name,
		Labels: map[string]string{corev1.LabelHostname: n.Name, corev1.LabelOSStable: "linux"},
	}}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	node.ResourceVersion = "" // whatever a controller has changed since
	capacity := corev1.ResourceList{
		corev1.ResourceCPU:    resource.MustParse("8"),
		corev1.ResourceMemory: resource.MustParse("32Gi"),
		corev1.ResourcePods:   resource.MustParse("250"),
	}
	node.Status = corev1.NodeStatus{
		Capacity: capacity, Allocatable: capacity,
		// The name is not resolved in pods, as in most clusters.
		Addresses:       []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: n.Address}, {Type: corev1.NodeHostName, Address: n.Name}},
		DaemonEndpoints: corev1.NodeDaemonEndpoints{KubeletEndpoint: corev1.DaemonEndpoint{Port: kubeletPort}},
		Conditions:      []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "KubeletReady"}},
	}
	_, err = nodes.UpdateStatus(ctx, node, metav1.UpdateOptions{})
	return err
}

// metrics answers those who may read the node's metrics.
func (n *Node) metrics() http.Handler {
	return n.kubelet.authorized(n.Name, resourceMetrics{counters: n.kubelet.counters, node: n.Name}.handler())
}

// Hang makes the node take requests from now on and answer none.
func (n *Node) Hang() error {
	return n.serve("", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
}

// Impersonate makes the node serve with the certificate of another host.
func (n *Node) Impersonate(host string) error {
	return n.serve(host, n.metrics())
}

// Vanish makes the node's address unreachable.
func (n *Node) Vanish() error { return n.close() }

// Leave is Vanish, and deletes the Node object if it is still there.
func (n *Node) Leave(ctx context.Context) error {
	err := n.kubelet.client.CoreV1().Nodes().Delete(ctx, n.Name, metav1.DeleteOptions{})
	if apierrors.IsNotFound(err) {
		err = nil
	}
	return errors.Join(err, n.close())
}

// serve serves metrics in place of what was served before, with a certificate for a host: the
// node itself if empty.
func (n *Node) serve(host string, metrics http.Handler) error {
	if err := n.close(); err != nil {
		return err
	}
	certificate, err := n.certificate(host)
	if err != nil {
		return err
	}
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics/resource", metrics)
	server := &http.Server{
		Handler: mux, ReadHeaderTimeout: 10 * time.Second,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12},
		ErrorLog:  slog.NewLogLogger(n.kubelet.logger.With("node", n.Name).Handler(), slog.LevelInfo),
	}
	ended := make(chan error, 1)
	go func() { ended <- server.ServeTLS(listener, "", "") }()
	n.mtx.Lock()
	n.server, n.ended = server, ended
	n.mtx.Unlock()
	n.kubelet.plane.network.Route(n.endpoint(), listener.Addr().String())
	return nil
}

func (n *Node) endpoint() string { return net.JoinHostPort(n.Address, strconv.Itoa(kubeletPort)) }

// certificate returns a serving certificate that the cluster's CA signs.
func (n *Node) certificate(host string) (tls.Certificate, error) {
	template := &x509.Certificate{Subject: pkix.Name{CommonName: "system:node:" + cmp.Or(host, n.Name), Organization: []string{"system:nodes"}}}
	if host == "" {
		template.IPAddresses, template.DNSNames = []net.IP{net.ParseIP(n.Address)}, []string{n.Name}
	} else {
		template.DNSNames = []string{host}
	}
	n.mtx.Lock()
	n.issued++
	name := fmt.Sprintf("kubelet-%s-%d", n.Name, n.issued)
	n.mtx.Unlock()
	pki := n.kubelet.plane.pki
	if err := pki.issue(name, clusterCA, template); err != nil {
		return tls.Certificate{}, err
	}
	return tls.LoadX509KeyPair(pki.crt(name), pki.key(name))
}

// close ends what is served, and waits for it. Close twice is fine.
func (n *Node) close() error {
	n.mtx.Lock()
	server, ended := n.server, n.ended
	n.server, n.ended = nil, nil
	n.mtx.Unlock()
	if server == nil {
		return nil
	}
	n.kubelet.plane.network.Unroute(n.endpoint())
	err := server.Close()
	if served := <-ended; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}
