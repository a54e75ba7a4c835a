// Package connection has prometheus-adapter's flags for the engine behind a URL. It makes the engine's connection from
// them, or from the configuration file.
package connection

import (
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/prometheus/common/config"
	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/promlet/promlet/adapter/engine"
	"github.com/promlet/promlet/cmd/promlet/configfile"
)

// Flags has the values of the flags for the engine.
type Flags struct {
	URL, AuthConfig, CAFile, CertFile, KeyFile, TokenFile, Verb string
	AuthInCluster                                               bool
	Headers                                                     []string
	RelistInterval, MaxAge                                      time.Duration
}

// AddTo adds the flags to a set.
func (f *Flags) AddTo(set *pflag.FlagSet) {
	set.StringVar(&f.URL, "prometheus-url", "", "URL of a Prometheus, Thanos, Mimir or VictoriaMetrics to query, without /api/v1. promlet then scrapes nothing unless --scrape is given. See also query in --config.")
	set.BoolVar(&f.AuthInCluster, "prometheus-auth-incluster", false, "Use the Pod's ServiceAccount for --prometheus-url: its token, and the cluster's CA. Ignored with --prometheus-ca-file.")
	set.StringVar(&f.AuthConfig, "prometheus-auth-config", "", "Path to a kubeconfig file with the credentials and the CA for --prometheus-url. Read once. Ignored with --prometheus-ca-file.")
	set.StringVar(&f.CAFile, "prometheus-ca-file", "", "Path to the CA certificates for --prometheus-url. Read again when they change, like the client certificate, its key and the token.")
	set.StringVar(&f.CertFile, "prometheus-client-tls-cert-file", "", "Path to the client certificate for --prometheus-url. Leave it out with --prometheus-auth-config, which has its own.")
	set.StringVar(&f.KeyFile, "prometheus-client-tls-key-file", "", "Path to the key of the client certificate for --prometheus-url.")
	set.StringVar(&f.TokenFile, "prometheus-token-file", "", "Path to a bearer token for --prometheus-url.")
	set.StringArrayVar(&f.Headers, "prometheus-header", nil, "Header of requests to --prometheus-url, such as X-Scope-OrgID=tenant. May be given several times.")
	set.StringVar(&f.Verb, "prometheus-verb", http.MethodGet, "HTTP verb of queries to --prometheus-url. One of GET, POST. POST allows longer queries.")
	set.DurationVar(&f.RelistInterval, "metrics-relist-interval", engine.DefaultRelistInterval, "Time between two lists of the series of --prometheus-url. A request for an unknown metric starts a list sooner, at the earliest 30s after the last one.")
	set.DurationVar(&f.MaxAge, "metrics-max-age", 0, "How far back the series of --prometheus-url are listed. 0: the same as --metrics-relist-interval.")
}

// Validate returns all errors at once, and sets values that depend on other flags.
func (f *Flags) Validate() []error {
	var errs []error
	check := func(ok bool, flag string, value any, mend string) {
		if !ok {
			errs = append(errs, fmt.Errorf("--%s=%v: %s", flag, value, mend))
		}
	}
	if f.MaxAge == 0 {
		f.MaxAge = f.RelistInterval
	}
	check(f.Verb == http.MethodGet || f.Verb == http.MethodPost, "prometheus-verb", f.Verb, "choose GET or POST")
	check(f.RelistInterval >= time.Second, "metrics-relist-interval", f.RelistInterval, "give 1s or more")
	check(f.MaxAge >= f.RelistInterval, "metrics-max-age", f.MaxAge, "give at least --metrics-relist-interval")
	check(!f.AuthInCluster || f.AuthConfig == "", "prometheus-auth-config", f.AuthConfig, "leave it out, or --prometheus-auth-incluster")
	check((f.CertFile == "") == (f.KeyFile == ""), "prometheus-client-tls-cert-file", f.CertFile, "give it together with --prometheus-client-tls-key-file")
	check(f.AuthConfig == "" || f.CertFile == "", "prometheus-client-tls-cert-file", f.CertFile, "leave it out, or --prometheus-auth-config")
	for _, header := range f.Headers {
		name, _, ok := strings.Cut(header, "=")
		// One that is written as in HTTP, with a colon, is not shown: it may be a secret.
		shown := name[:strings.IndexAny(name+":", ": \t")]
		check(ok && name != "" && shown == name, "prometheus-header", shown, "give NAME=VALUE")
	}
	return errs
}

// ErrTwice is returned when both a flag and the file name an engine.
var ErrTwice = errors.New("both --prometheus-url and query in --config name an engine: leave one of them out")

// Connection returns the connection of the engine that the flags or the file name. path is that of the file. ok is false
// if neither names an engine.
func (f *Flags) Connection(file *configfile.Query, path, userAgent string) (c engine.Connection, ok bool, err error) {
	c = engine.Connection{URL: f.URL, Verb: f.Verb, UserAgent: userAgent}
	switch {
	case f.URL != "" && file != nil:
		return c, false, ErrTwice
	case file != nil:
		c.URL, c.HTTP = file.URL, file.HTTP
		c.HTTP.SetDirectory(filepath.Dir(path))
		return c, true, nil
	case f.URL == "":
		return c, false, nil
	}
	c.HTTP, err = f.client()
	if err == nil && f.AuthConfig != "" && f.CAFile == "" {
		c.Transport, err = f.kubeconfig(userAgent)
	}
	return c, true, err
}

// client returns the settings of the HTTP client from the flags.
func (f *Flags) client() (config.HTTPClientConfig, error) {
	c := config.DefaultHTTPClientConfig
	c.TLSConfig = config.TLSConfig{CAFile: f.CAFile, CertFile: f.CertFile, KeyFile: f.KeyFile}
	headers := f.headers()
	if given, ok := headers["Authorization"]; ok { // the library rejects it among the headers
		kind, credentials, _ := strings.Cut(given.Values[0], " ")
		user, password, isBasic := basicAuth(kind, credentials)
		if isBasic {
			c.BasicAuth = &config.BasicAuth{Username: user, Password: config.Secret(password)}
		} else {
			c.Authorization = &config.Authorization{Type: kind, Credentials: config.Secret(credentials)}
		}
		delete(headers, "Authorization")
	}
	c.HTTPHeaders = &config.Headers{Headers: headers}
	token := f.TokenFile
	if f.AuthInCluster && f.CAFile == "" { // a CA file overrides it, as in prometheus-adapter
		cluster, err := rest.InClusterConfig()
		if err != nil {
			return c, fmt.Errorf("--prometheus-auth-incluster: %w", err)
		}
		c.TLSConfig.CAFile = cluster.CAFile
		if token == "" {
			token = cluster.BearerTokenFile
		}
	}
	if token != "" {
		c.Authorization = &config.Authorization{Type: "Bearer", CredentialsFile: token}
	}
	if err := c.Validate(); err != nil {
		return c, fmt.Errorf("--prometheus-url: %w", err)
	}
	return c, nil
}

// basicAuth returns the user and the password of a basic Authorization header.
func basicAuth(kind, credentials string) (user, password string, ok bool) {
	request := http.Request{Header: http.Header{"Authorization": {kind + " " + credentials}}}
	return request.BasicAuth()
}

func (f *Flags) headers() map[string]config.Header {
	headers := map[string]config.Header{}
	for _, header := range f.Headers {
		name, value, _ := strings.Cut(header, "=")
		name = http.CanonicalHeaderKey(name)
		of := headers[name]
		of.Values = append(of.Values, value)
		headers[name] = of
	}
	return headers
}

// kubeconfig returns a transport with the credentials of a kubeconfig, and with the headers and the token of the other
// flags.
func (f *Flags) kubeconfig(userAgent string) (http.RoundTripper, error) {
	rules := &clientcmd.ClientConfigLoadingRules{ExplicitPath: f.AuthConfig}
	cluster, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{}).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("--prometheus-auth-config=%s: %w", f.AuthConfig, err)
	}
	if f.TokenFile != "" {
		cluster.BearerToken, cluster.BearerTokenFile = "", f.TokenFile
	}
	cluster.UserAgent = userAgent
	transport, err := rest.TransportFor(cluster)
	if err != nil {
		return nil, fmt.Errorf("--prometheus-auth-config=%s: %w", f.AuthConfig, err)
	}
	return config.NewHeadersRoundTripper(&config.Headers{Headers: f.headers()}, transport), nil
}
