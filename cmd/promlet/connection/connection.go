// Package connection has prometheus-adapter's flags about the engine that is asked by URL, and makes of them, or of
// the configuration file, how to reach it.
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

// Flags are those about the engine.
type Flags struct {
	URL, AuthConfig, CAFile, CertFile, KeyFile, TokenFile, Verb string
	AuthInCluster                                               bool
	Headers                                                     []string
	RelistInterval, MaxAge                                      time.Duration
}

// AddTo adds the flags to a set.
func (f *Flags) AddTo(set *pflag.FlagSet) {
	set.StringVar(&f.URL, "prometheus-url", "", "URL of a Prometheus, Thanos, Mimir or VictoriaMetrics that answers questions, without /api/v1. Then promlet scrapes nothing, unless --scrape is given. See also query in --config.")
	set.BoolVar(&f.AuthInCluster, "prometheus-auth-incluster", false, "Use the Pod's ServiceAccount for --prometheus-url: its token, and the cluster's CA.")
	set.StringVar(&f.AuthConfig, "prometheus-auth-config", "", "Path to a kubeconfig file whose credentials and CA are used for --prometheus-url.")
	set.StringVar(&f.CAFile, "prometheus-ca-file", "", "Path to the CA certificates for --prometheus-url. Read again when they change, as all files of these flags.")
	set.StringVar(&f.CertFile, "prometheus-client-tls-cert-file", "", "Path to the client certificate for --prometheus-url.")
	set.StringVar(&f.KeyFile, "prometheus-client-tls-key-file", "", "Path to the client certificate's key for --prometheus-url.")
	set.StringVar(&f.TokenFile, "prometheus-token-file", "", "Path to a bearer token for --prometheus-url.")
	set.StringArrayVar(&f.Headers, "prometheus-header", nil, "Header of requests to --prometheus-url, such as X-Scope-OrgID=tenant. May be given several times.")
	set.StringVar(&f.Verb, "prometheus-verb", http.MethodGet, "HTTP verb of queries to --prometheus-url. One of GET, POST. POST allows longer queries.")
	set.DurationVar(&f.RelistInterval, "metrics-relist-interval", engine.DefaultRelistInterval, "Time between two lists of the series of --prometheus-url. A new metric is known after that long.")
	set.DurationVar(&f.MaxAge, "metrics-max-age", 0, "How far back the series of --prometheus-url are listed. 0: as --metrics-relist-interval.")
}

// Validate reports all mistakes at once, and fills in values that depend on other flags.
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
var ErrTwice = errors.New("the engine is named by --prometheus-url as well as by query of --config: leave one of them out")

// Connection returns how to reach the engine that the flags or the file of a path name; ok is false for none.
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

// client returns what the flags make of a client.
func (f *Flags) client() (config.HTTPClientConfig, error) {
	c := config.DefaultHTTPClientConfig
	c.TLSConfig = config.TLSConfig{CAFile: f.CAFile, CertFile: f.CertFile, KeyFile: f.KeyFile}
	headers := f.headers()
	if given, ok := headers["Authorization"]; ok { // the library takes it in this way only
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
	if f.AuthInCluster && f.CAFile == "" { // as in prometheus-adapter, a CA file is used in its place
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

// basicAuth returns the user and the password of an Authorization header, if it is a basic one.
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

// kubeconfig returns a transport with the credentials of a kubeconfig, and the headers and the token of the other
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
