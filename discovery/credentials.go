package discovery

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"strings"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	commonconfig "github.com/prometheus/common/config"
)

// errFileAccess is why a path in a monitor is refused.
var errFileAccess = errors.New("paths in monitors are refused, because whoever writes a monitor could read promlet's own files " +
	"and send them anywhere: name a Secret instead, or start promlet with --monitor-file-access")

// applyCredentials sets how the scraper proves who it is and whom it trusts, from
// the Secrets and ConfigMaps that the endpoint names. Values that the operator
// leaves out are left out here.
func (s *endpointSpec) applyCredentials(c *commonconfig.HTTPClientConfig, a *assets) error {
	if s.bearerTokenFile != "" {
		if !a.files {
			return fmt.Errorf("bearerTokenFile: %w", errFileAccess)
		}
		c.BearerTokenFile = s.bearerTokenFile
	}
	// Many manifests have a bearerTokenSecret with empty values, which the
	// operator passes over; and in a PodMonitor one without a key as well.
	if t := s.http.BearerTokenSecret; t != nil && t.Name != "" && (t.Key != "" || !s.pod) { //nolint:staticcheck // deprecated, and in wide use
		token, err := a.secret(t)
		if err != nil {
			return fmt.Errorf("bearerTokenSecret: %w", err)
		}
		c.BearerToken = commonconfig.Secret(token)
	}
	if err := applyBasicAuth(c, s.http.BasicAuth, a); err != nil {
		return err
	}
	if err := applyAuthorization(c, s.http.Authorization, a); err != nil {
		return err
	}
	if err := applyOAuth2(c, s.http.OAuth2, a); err != nil {
		return fmt.Errorf("oauth2.%w", err)
	}
	return applyTLS(&c.TLSConfig, s.tls, &s.tlsFiles, a)
}

func applyBasicAuth(c *commonconfig.HTTPClientConfig, auth *monitoringv1.BasicAuth, a *assets) error {
	if auth == nil {
		return nil
	}
	username, err := a.secret(&auth.Username)
	if err != nil {
		return fmt.Errorf("basicAuth.username: %w", err)
	}
	password, err := a.secret(&auth.Password)
	if err != nil {
		return fmt.Errorf("basicAuth.password: %w", err)
	}
	c.BasicAuth = &commonconfig.BasicAuth{Username: username, Password: commonconfig.Secret(password)}
	return nil
}

func applyAuthorization(c *commonconfig.HTTPClientConfig, auth *monitoringv1.SafeAuthorization, a *assets) error {
	if auth == nil {
		return nil
	}
	out := &commonconfig.Authorization{Type: strings.TrimSpace(auth.Type)}
	if out.Type == "" {
		out.Type = "Bearer"
	}
	if auth.Credentials != nil && auth.Credentials.Name != "" {
		credentials, err := a.secret(auth.Credentials)
		if err != nil {
			return fmt.Errorf("authorization.credentials: %w", err)
		}
		out.Credentials = commonconfig.Secret(credentials)
	}
	c.Authorization = out
	return nil
}

func applyOAuth2(c *commonconfig.HTTPClientConfig, auth *monitoringv1.OAuth2, a *assets) error {
	if auth == nil {
		return nil
	}
	id, err := a.secretOrConfigMap(&auth.ClientID)
	if err != nil {
		return fmt.Errorf("clientId: %w", err)
	}
	secret, err := a.secret(&auth.ClientSecret)
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
	if err := applyTLS(&out.TLSConfig, auth.TLSConfig, &monitoringv1.TLSFilesConfig{}, a); err != nil {
		return err
	}
	if err := applyProxy(&out.ProxyConfig, &auth.ProxyConfig, a); err != nil {
		return err
	}
	c.OAuth2 = out
	return nil
}

func applyTLS(c *commonconfig.TLSConfig, from *monitoringv1.SafeTLSConfig, files *monitoringv1.TLSFilesConfig, a *assets) error {
	if from == nil {
		return nil
	}
	c.InsecureSkipVerify = deref(from.InsecureSkipVerify)
	c.ServerName = deref(from.ServerName)
	var err error
	if c.MinVersion, err = tlsVersion(from.MinVersion); err != nil {
		return fmt.Errorf("tlsConfig.minVersion: %w", err)
	}
	if c.MaxVersion, err = tlsVersion(from.MaxVersion); err != nil {
		return fmt.Errorf("tlsConfig.maxVersion: %w", err)
	}
	if *files != (monitoringv1.TLSFilesConfig{}) && !a.files {
		return fmt.Errorf("tlsConfig.caFile, certFile, keyFile: %w", errFileAccess)
	}
	c.CAFile, c.CertFile, c.KeyFile = files.CAFile, files.CertFile, files.KeyFile
	if c.CA, err = a.secretOrConfigMap(&from.CA); err != nil {
		return fmt.Errorf("tlsConfig.ca: %w", err)
	}
	if err := checkCA(&from.CA, c.CA); err != nil && a.pending == nil {
		return fmt.Errorf("tlsConfig.ca: %w", err)
	}
	if c.Cert, err = a.secretOrConfigMap(&from.Cert); err != nil {
		return fmt.Errorf("tlsConfig.cert: %w", err)
	}
	if from.KeySecret == nil {
		return nil
	}
	key, err := a.secret(from.KeySecret)
	if err != nil {
		return fmt.Errorf("tlsConfig.keySecret: %w", err)
	}
	c.Key = commonconfig.Secret(key)
	if c.CertFile != "" || a.pending != nil {
		return nil // whether they belong together will be seen
	}
	if _, err := tls.X509KeyPair([]byte(c.Cert), []byte(key)); err != nil {
		return fmt.Errorf("tlsConfig.cert, keySecret: %w", err)
	}
	return nil
}

// checkCA holds a CA against what the operator and Prometheus ask of it.
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

func applyProxy(c *commonconfig.ProxyConfig, from *monitoringv1.ProxyConfig, a *assets) error {
	if deref(from.ProxyURL) != "" {
		u, err := url.Parse(*from.ProxyURL)
		if err != nil {
			return fmt.Errorf("proxyUrl: %w", err)
		}
		c.ProxyURL = commonconfig.URL{URL: u}
	}
	c.NoProxy = deref(from.NoProxy)
	c.ProxyFromEnvironment = deref(from.ProxyFromEnvironment)
	for _, name := range sortedKeys(from.ProxyConnectHeader) {
		if c.ProxyConnectHeader == nil {
			c.ProxyConnectHeader = commonconfig.ProxyHeader{}
		}
		for i := range from.ProxyConnectHeader[name] {
			value, err := a.secret(&from.ProxyConnectHeader[name][i])
			if err != nil {
				return fmt.Errorf("proxyConnectHeader[%s][%d]: %w", name, i, err)
			}
			c.ProxyConnectHeader[name] = append(c.ProxyConnectHeader[name], commonconfig.Secret(value))
		}
	}
	return nil
}
