package targeterrors

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"io/fs"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/promlet/promlet/scrape"
)

// What to do about a serving certificate.
const (
	letClusterSign = "set serverTLSBootstrap: true in the kubelet's configuration and approve its certificate signing requests"
	skipChecking   = "--kubelet-insecure-tls skips the check, for tests"
)

// statusError is the prefix of the error for an answer that is not 200.
const statusError = "server returned HTTP status "

// Kubelet returns the text of an error of scraping the kubelet of a node, "" for nil. The text
// names the node, the cause, and the flag of promlet or setting of the kubelet to change. It
// leaves out the URL.
func Kubelet(node string, err error) string {
	if err == nil {
		return ""
	}
	return ofKubelet(node, kubeletError(err, false))
}

// PublicKubelet returns the text of Kubelet without any text that the kubelet has sent.
func PublicKubelet(node string, err error) string {
	if err == nil {
		return ""
	}
	return ofKubelet(node, kubeletError(err, true))
}

func ofKubelet(node, text string) string { return "kubelet of node " + node + ": " + text }

func kubeletError(err error, public bool) string {
	if text := certificateError(err, public); text != "" {
		return text
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return "its address " + dns.Name + " cannot be resolved (" + dns.Err + "): " +
			"choose another type of address with --kubelet-preferred-address-types=InternalIP"
	}
	if file, ok := errors.AsType[*fs.PathError](err); ok {
		return file.Error() + ": check the file, or name another one with --kubelet-certificate-authority, " +
			"--kubelet-client-certificate and --kubelet-client-key"
	}
	if of, ok := errors.AsType[*url.Error](err); ok {
		err = of.Err
	}
	text := err.Error()
	if public {
		text = scrape.PublicReason(err)
	}
	if code, isStatus := strings.CutPrefix(text, statusError); isStatus {
		return text + statusMend(code)
	}
	text = strings.TrimSuffix(text, ": "+context.DeadlineExceeded.Error())
	switch limit, isSize := strings.CutPrefix(text, "body_size_limit exceeded (limit: "); {
	case isSize:
		digits, _, _ := strings.Cut(limit, " ")
		return "the body has " + size(digits) + " or more"
	case text == "http: server gave HTTP response to HTTPS client":
		return "it answers in HTTP, not HTTPS: set --kubelet-port to the port that serves HTTPS"
	case text == "EOF":
		return "the connection was closed without an answer"
	case strings.Contains(text, "connection refused"):
		return text + ": set --kubelet-port, or --kubelet-use-node-status-port"
	case strings.Contains(text, " are refused: "): // by scrape/destination
		return text + ": set --scrape-allowed-networks"
	case strings.HasPrefix(text, "dial "), strings.HasPrefix(text, "timed out after "):
		return text + ": check that the node is up, and that firewalls and NetworkPolicies let promlet connect to its kubelet"
	}
	return text
}

// statusMend returns what to do about an HTTP status that begins with its code, "" if it is not known.
func statusMend(status string) string {
	code, _, _ := strings.Cut(status, " ")
	switch code {
	case "401":
		return ": the kubelet does not accept promlet's credentials: set authentication.webhook.enabled: true in its configuration"
	case "403":
		return ": the ClusterRole of promlet's ServiceAccount needs the verb get on nodes/metrics"
	case "404":
		return ": it does not serve /metrics/resource: leave its node out with --node-selector"
	}
	return ""
}

// certificateError returns what is wrong with the kubelet's serving certificate, "" if err is
// another error. The kubelet has sent the names in the certificate, so a public text leaves them
// out.
func certificateError(err error, public bool) string {
	quoted := func(text string) string {
		if public {
			return `"…"`
		}
		return strconv.Quote(shortened(text))
	}
	unknown, isUnknown := errors.AsType[x509.UnknownAuthorityError](err)
	host, isHost := errors.AsType[x509.HostnameError](err)
	// Go checks the name before the CA. Another address would not help: the CA is unknown, too.
	if signedItself(cmp.Or(unknown.Cert, host.Certificate)) {
		return "it has signed its certificate itself, so that no CA knows it: " + letClusterSign + "; " + skipChecking
	}
	if isUnknown {
		by := ""
		if unknown.Cert != nil {
			by = " " + quoted(unknown.Cert.Issuer.String())
		}
		return "its certificate is signed by" + by + ", which --kubelet-certificate-authority does not have: set it to a file with the CA that signs the kubelets' certificates, or " +
			letClusterSign + "; " + skipChecking
	}
	if isHost {
		return "its certificate is not valid for " + host.Host + ", but for " + validFor(host.Certificate, quoted) +
			": choose an address for which it is valid with --kubelet-preferred-address-types, or " + letClusterSign + "; " + skipChecking
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		if invalid.Reason == x509.Expired {
			return "its certificate is expired or not yet valid: check the clocks, and set rotateCertificates: true and " +
				"serverTLSBootstrap: true in the kubelet's configuration; " + skipChecking
		}
		return "its certificate is not valid as that of a server: " + letClusterSign + "; " + skipChecking
	}
	// An error whose text was too long wraps nothing.
	if strings.Contains(err.Error(), "tls: failed to verify certificate") {
		return "its certificate cannot be verified: set --kubelet-certificate-authority to a file with the CA that signs the kubelets' certificates, " +
			"and choose an address for which they are valid with --kubelet-preferred-address-types; " + skipChecking
	}
	return ""
}

// signedItself reports whether a kubelet has made this certificate itself, because it was given
// none: then the issuer is NODE-ca@TIME.
func signedItself(c *x509.Certificate) bool {
	return c != nil && strings.Contains(c.Issuer.CommonName, "-ca@")
}

// validFor lists the first few names and addresses of a certificate.
func validFor(c *x509.Certificate, quoted func(string) string) string {
	const most = 5
	if c == nil {
		return "others"
	}
	names := slices.Clone(c.DNSNames)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	if len(names) == 0 {
		return "no name at all"
	}
	var out []string
	for _, name := range names[:min(len(names), most)] {
		out = append(out, quoted(name))
	}
	if more := len(names) - most; more > 0 {
		out = append(out, "and "+strconv.Itoa(more)+" more")
	}
	return strings.Join(out, ", ")
}

// shortened cuts a name that is too long to be useful.
func shortened(name string) string {
	const longest = 80
	if len(name) > longest {
		return name[:longest] + "..."
	}
	return name
}
