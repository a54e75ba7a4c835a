package monitors

import (
	"fmt"
	"path"
	"slices"
	"strings"

	commonconfig "github.com/prometheus/common/config"
	corev1 "k8s.io/api/core/v1"
)

// assetsDir is where the operator mounts the certificates that monitors refer to.
const assetsDir = "/etc/prometheus/certs"

// assetFiles are the operator's certificate files, by name.
type assetFiles struct {
	files   map[string][]byte
	secrets []*corev1.Secret
}

// secret is the value after which a file is named, which the operator has not
// written: 0 (for a Secret), namespace, name and key, joined by underscores.
func (a *assetFiles) secret(file string) ([]byte, bool) {
	part := strings.SplitN(file, "_", 4)
	if len(part) < 4 || part[0] != "0" {
		return nil, false
	}
	for _, s := range a.secrets {
		if s.Namespace == part[1] && s.Name == part[2] {
			content, ok := s.Data[part[3]]
			return content, ok
		}
	}
	return nil, false
}

// inlineAssets puts the contents of the operator's certificate files in the place
// of their names. An error means that a file is not there, as is the case when its
// content is empty: Prometheus can make no client then.
//
// The operator also leaves out a certificate whose key is named as a file, and the
// other way round, so that no such monitor works. promlet has them work: they are
// added here.
func inlineAssets(c *commonconfig.HTTPClientConfig, assets *assetFiles) error {
	if err := inlineTLS(&c.TLSConfig, assets); err != nil {
		return err
	}
	if c.OAuth2 != nil {
		if err := inlineTLS(&c.OAuth2.TLSConfig, assets); err != nil {
			return fmt.Errorf("oauth2: %w", err)
		}
	}
	return nil
}

func inlineTLS(c *commonconfig.TLSConfig, assets *assetFiles) error {
	var key string
	mixed := slices.ContainsFunc([]string{c.CertFile, c.KeyFile}, func(file string) bool {
		return file != "" && !strings.HasPrefix(file, assetsDir+"/")
	})
	for _, f := range []struct{ file, text *string }{
		{&c.CAFile, &c.CA}, {&c.CertFile, &c.Cert}, {&c.KeyFile, &key},
	} {
		if !strings.HasPrefix(*f.file, assetsDir+"/") {
			continue
		}
		content, ok := assets.files[path.Base(*f.file)]
		if !ok && mixed {
			content, ok = assets.secret(path.Base(*f.file))
		}
		if !ok {
			return fmt.Errorf("%s does not exist", *f.file)
		}
		*f.text, *f.file = string(content), ""
	}
	if key != "" {
		c.Key = commonconfig.Secret(key)
	}
	return nil
}

// clientError tells why a scraper could make no HTTP client. Files that a monitor
// names are not looked at: they are on the machine of the scraper.
func clientError(c commonconfig.HTTPClientConfig) error {
	for _, t := range []*commonconfig.TLSConfig{&c.TLSConfig, oauth2TLS(&c)} {
		if t.CAFile != "" || t.CertFile != "" || t.KeyFile != "" {
			return nil
		}
	}
	client, err := commonconfig.NewClientFromConfig(c, "monitors")
	if err != nil {
		return fmt.Errorf("make client: %w", err)
	}
	client.CloseIdleConnections()
	return nil
}

func oauth2TLS(c *commonconfig.HTTPClientConfig) *commonconfig.TLSConfig {
	if c.OAuth2 == nil {
		return &commonconfig.TLSConfig{}
	}
	return &c.OAuth2.TLSConfig
}
