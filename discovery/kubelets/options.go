package kubelets

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
)

const (
	// DefaultPort is the port on which kubelets serve HTTPS.
	DefaultPort = 10250
	// DefaultInterval is that of metrics-server's manifests. Kubelets measure containers about
	// every ten seconds.
	DefaultInterval = 15 * time.Second
	// MinInterval is the shortest that metrics-server allows.
	MinInterval = 10 * time.Second
	// DefaultTimeout is metrics-server's.
	DefaultTimeout = 10 * time.Second

	serviceAccount = "/var/run/secrets/kubernetes.io/serviceaccount/"
	// DefaultTokenFile is the file with the token of the pod's ServiceAccount. Kubernetes
	// renews the token, and each request reads the file again.
	DefaultTokenFile = serviceAccount + "token"
	// DefaultCertificateAuthority is the file of the cluster's own CA. Whether it signs the
	// kubelets' serving certificates depends on the cluster.
	DefaultCertificateAuthority = serviceAccount + "ca.crt"
)

// DefaultAddressTypes returns the address types in metrics-server's order: the host name first,
// then internal before external ones, and names before IP addresses.
func DefaultAddressTypes() []corev1.NodeAddressType {
	return []corev1.NodeAddressType{
		corev1.NodeHostName, corev1.NodeInternalDNS, corev1.NodeInternalIP, corev1.NodeExternalDNS, corev1.NodeExternalIP,
	}
}

// Options say how to scrape kubelets. The zero value works in a pod. Each field but TokenFile is
// a flag of metrics-server, and errors name the flag.
type Options struct {
	// AddressTypes are the types of Node addresses, the most preferred first. The first one
	// that a Node has is used, and the serving certificate must be valid for that address.
	// Empty means DefaultAddressTypes.
	AddressTypes []corev1.NodeAddressType
	// Port is the port of the kubelets. 0 means DefaultPort.
	Port int
	// UseNodeStatusPort uses the port in the status of a Node, if there is one, in place of Port.
	UseNodeStatusPort bool
	// CertificateAuthority is a file of PEM certificates that sign the kubelets' serving
	// certificates. It is read again when it changes. Empty means
	// DefaultCertificateAuthority, unless InsecureSkipVerify is set.
	CertificateAuthority string
	// InsecureSkipVerify does not verify serving certificates. Whoever takes the address of a
	// Node then gets the token, and can report any usage of its containers. It excludes
	// CertificateAuthority.
	InsecureSkipVerify bool
	// TokenFile is the file with the bearer token. Empty means DefaultTokenFile, or no token if
	// there is a client certificate.
	TokenFile string
	// ClientCertificate and ClientKey are PEM files with the certificate to authenticate with
	// and its key. Give both or neither.
	ClientCertificate, ClientKey string
	// Interval is the time between two scrapes, at least MinInterval. 0 means DefaultInterval.
	Interval time.Duration
	// Timeout is the timeout of one scrape, at most nine tenths of Interval. 0 means
	// DefaultTimeout, or nine tenths of Interval if that is less.
	Timeout time.Duration
	// NodeSelector chooses Nodes by their labels. Nil chooses all.
	NodeSelector labels.Selector
}

// withDefaults replaces zero values.
func (o Options) withDefaults() Options {
	if len(o.AddressTypes) == 0 {
		o.AddressTypes = DefaultAddressTypes()
	}
	o.Port = cmp.Or(o.Port, DefaultPort)
	if !o.InsecureSkipVerify {
		o.CertificateAuthority = cmp.Or(o.CertificateAuthority, DefaultCertificateAuthority)
	}
	if o.ClientCertificate == "" {
		o.TokenFile = cmp.Or(o.TokenFile, DefaultTokenFile)
	}
	o.Interval = cmp.Or(o.Interval, DefaultInterval)
	o.Timeout = cmp.Or(o.Timeout, min(DefaultTimeout, longestTimeout(o.Interval)))
	if o.NodeSelector == nil {
		o.NodeSelector = labels.Everything()
	}
	return o
}

func longestTimeout(interval time.Duration) time.Duration { return interval * 9 / 10 }

// Validate returns an error for each invalid option, with the names of the flags.
func (o Options) Validate() error {
	var errs []error
	refuse := func(wrong bool, format string, args ...any) {
		if wrong {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	refuse(o.CertificateAuthority != "" && o.InsecureSkipVerify,
		"--kubelet-certificate-authority and --kubelet-insecure-tls exclude each other")
	refuse((o.ClientCertificate == "") != (o.ClientKey == ""),
		"--kubelet-client-certificate and --kubelet-client-key need each other")
	o = o.withDefaults()
	refuse(o.Port < 1 || o.Port > 65535, "--kubelet-port: %d is not a port", o.Port)
	refuse(o.Interval < MinInterval, "--metric-resolution: %s is less than %s", o.Interval, MinInterval)
	refuse(o.Timeout <= 0, "--kubelet-request-timeout: %s is not positive", o.Timeout)
	refuse(o.Timeout > longestTimeout(o.Interval),
		"--kubelet-request-timeout: %s is more than nine tenths of --metric-resolution=%s", o.Timeout, o.Interval)
	for _, t := range o.AddressTypes {
		refuse(!slices.Contains(DefaultAddressTypes(), t),
			"--kubelet-preferred-address-types: %q is none of %s", t, joined(DefaultAddressTypes()))
	}
	return errors.Join(errs...)
}

func joined(types []corev1.NodeAddressType) string {
	var b strings.Builder
	for i, t := range types {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(string(t))
	}
	return b.String()
}
