package monitors

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	commonconfig "github.com/prometheus/common/config"
	"k8s.io/utils/ptr"
)

// errFileAccess is why a path in a monitor is refused.
var errFileAccess = errors.New("paths in monitors are refused, because whoever writes a monitor could read promlet's own files " +
	"and send them anywhere: name a Secret instead, or start promlet with --monitor-file-access")

// applyCredentials sets credentials and trust from the Secrets and ConfigMaps that the
// endpoint names. Values that the operator leaves out are left out here.
func (e *endpoint) applyCredentials(c *commonconfig.HTTPClientConfig, refs *secrets) error {
	if file := e.spec.BearerTokenFile; file != "" { //nolint:staticcheck // deprecated, and in wide use
		if !refs.files {
			return fmt.Errorf("bearerTokenFile: %w", errFileAccess)
		}
		c.BearerTokenFile = file
	}
	// Many manifests have a bearerTokenSecret with empty values, which the
	// operator passes over; and in a PodMonitor one without a key as well.
	if t := e.spec.BearerTokenSecret; t != nil && t.Name != "" && (t.Key != "" || !e.pod) { //nolint:staticcheck // deprecated, and in wide use
		token, err := refs.secret(t)
		if err != nil {
			return fmt.Errorf("bearerTokenSecret: %w", err)
		}
		c.BearerToken = commonconfig.Secret(token)
	}
	if err := applyBasicAuth(c, e.spec.BasicAuth, refs); err != nil {
		return err
	}
	if err := applyAuthorization(c, e.spec.Authorization, refs); err != nil {
		return err
	}
	if err := applyOAuth2(c, e.spec.OAuth2, refs); err != nil {
		return fmt.Errorf("oauth2.%w", err)
	}
	if t := e.spec.TLSConfig; t != nil {
		return applyTLS(&c.TLSConfig, &t.SafeTLSConfig, &t.TLSFilesConfig, refs)
	}
	return nil
}

func applyBasicAuth(c *commonconfig.HTTPClientConfig, auth *monitoringv1.BasicAuth, refs *secrets) error {
	if auth == nil {
		return nil
	}
	username, err := refs.secret(&auth.Username)
	if err != nil {
		return fmt.Errorf("basicAuth.username: %w", err)
	}
	password, err := refs.secret(&auth.Password)
	if err != nil {
		return fmt.Errorf("basicAuth.password: %w", err)
	}
	c.BasicAuth = &commonconfig.BasicAuth{Username: username, Password: commonconfig.Secret(password)}
	return nil
}

func applyAuthorization(c *commonconfig.HTTPClientConfig, auth *monitoringv1.SafeAuthorization, refs *secrets) error {
	if auth == nil {
		return nil
	}
	out := &commonconfig.Authorization{Type: strings.TrimSpace(auth.Type)}
	if out.Type == "" {
		out.Type = "Bearer"
	}
	if auth.Credentials != nil && auth.Credentials.Name != "" {
		credentials, err := refs.secret(auth.Credentials)
		if err != nil {
			return fmt.Errorf("authorization.credentials: %w", err)
		}
		out.Credentials = commonconfig.Secret(credentials)
	}
	c.Authorization = out
	return nil
}

func applyOAuth2(c *commonconfig.HTTPClientConfig, auth *monitoringv1.OAuth2, refs *secrets) error {
	if auth == nil {
		return nil
	}
	id, err := refs.secretOrConfigMap(&auth.ClientID)
	if err != nil {
		return fmt.Errorf("clientId: %w", err)
	}
	secret, err := refs.secret(&auth.ClientSecret)
	if err != nil {
		return fmt.Errorf("clientSecret: %w", err)
	}
	out := &commonconfig.OAuth2{
		ClientID:       id,
		ClientSecret:   commonconfig.Secret(secret),
		TokenURL:       string(auth.TokenURL),
		Scopes:         auth.Scopes,
		EndpointParams: auth.EndpointParams,
	}
	if err := applyTLS(&out.TLSConfig, auth.TLSConfig, &monitoringv1.TLSFilesConfig{}, refs); err != nil {
		return err
	}
	if err := applyProxy(&out.ProxyConfig, &auth.ProxyConfig, refs); err != nil {
		return err
	}
	c.OAuth2 = out
	return nil
}

func applyTLS(c *commonconfig.TLSConfig, from *monitoringv1.SafeTLSConfig, files *monitoringv1.TLSFilesConfig, refs *secrets) error {
	if from == nil {
		return nil
	}
	c.InsecureSkipVerify = ptr.Deref(from.InsecureSkipVerify, false)
	c.ServerName = ptr.Deref(from.ServerName, "")
	var err error
	if c.MinVersion, err = tlsVersion(from.MinVersion); err != nil {
		return fmt.Errorf("tlsConfig.minVersion: %w", err)
	}
	if c.MaxVersion, err = tlsVersion(from.MaxVersion); err != nil {
		return fmt.Errorf("tlsConfig.maxVersion: %w", err)
	}
	if *files != (monitoringv1.TLSFilesConfig{}) && !refs.files {
		return fmt.Errorf("tlsConfig.caFile, certFile, keyFile: %w", errFileAccess)
	}
	c.CAFile, c.CertFile, c.KeyFile = files.CAFile, files.CertFile, files.KeyFile
	if c.CA, err = refs.secretOrConfigMap(&from.CA); err != nil {
		return fmt.Errorf("tlsConfig.ca: %w", err)
	}
	if err := checkCA(&from.CA, c.CA); err != nil && refs.pending == nil {
		return fmt.Errorf("tlsConfig.ca: %w", err)
	}
	if c.Cert, err = refs.secretOrConfigMap(&from.Cert); err != nil {
		return fmt.Errorf("tlsConfig.cert: %w", err)
	}
	if from.KeySecret == nil {
		return nil
	}
	key, err := refs.secret(from.KeySecret)
	if err != nil {
		return fmt.Errorf("tlsConfig.keySecret: %w", err)
	}
	c.Key = commonconfig.Secret(key)
	if c.CertFile != "" || refs.pending != nil {
		return nil // certificate and key cannot be compared yet
	}
	if _, err := tls.X509KeyPair([]byte(c.Cert), []byte(key)); err != nil {
		return fmt.Errorf("tlsConfig.cert, keySecret: %w", err)
	}
	return nil
}

// checkCA reports why the operator or Prometheus would not take a CA.
func checkCA(sel *monitoringv1.SecretOrConfigMap, ca string) error {
	if *sel == (monitoringv1.SecretOrConfigMap{}) {
		return nil
	}
	block, _ := pem.Decode([]byte(ca))
	if block == nil {
		return errors.New("is not PEM")
	}
	if _, err := x509.ParseCertificate(block.Bytes); err != nil {
		return fmt.Errorf("is not a certificate: %w", err)
	}
	if !x509.NewCertPool().AppendCertsFromPEM([]byte(ca)) {
		return errors.New("holds no certificate")
	}
	return nil
}

func tlsVersion(v *monitoringv1.TLSVersion) (commonconfig.TLSVersion, error) {
	if v == nil {
		return 0, nil
	}
	version, ok := commonconfig.TLSVersions[string(*v)]
	if !ok {
		return 0, fmt.Errorf("%q is not a TLS version", *v)
	}
	return version, nil
}

func applyProxy(c *commonconfig.ProxyConfig, from *monitoringv1.ProxyConfig, refs *secrets) error {
	if ptr.Deref(from.ProxyURL, "") != "" {
		u, err := url.Parse(*from.ProxyURL)
		if err != nil {
			return fmt.Errorf("proxyUrl: %w", err)
		}
		c.ProxyURL = commonconfig.URL{URL: u}
	}
	c.NoProxy = ptr.Deref(from.NoProxy, "")
	c.ProxyFromEnvironment = ptr.Deref(from.ProxyFromEnvironment, false)
	for _, name := range slices.Sorted(maps.Keys(from.ProxyConnectHeader)) {
		if c.ProxyConnectHeader == nil {
			c.ProxyConnectHeader = commonconfig.ProxyHeader{}
		}
		for i := range from.ProxyConnectHeader[name] {
			value, err := refs.secret(&from.ProxyConnectHeader[name][i])
			if err != nil {
				return fmt.Errorf("proxyConnectHeader[%s][%d]: %w", name, i, err)
			}
			c.ProxyConnectHeader[name] = append(c.ProxyConnectHeader[name], commonconfig.Secret(value))
		}
	}
	return nil
}
