package monitors_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	commonconfig "github.com/prometheus/common/config"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/promlet/promlet/discovery"
	"github.com/promlet/promlet/discovery/internal/runtest"
	"github.com/promlet/promlet/discovery/internal/samples"
	"github.com/promlet/promlet/discovery/internal/storetest"
	"github.com/promlet/promlet/discovery/objects"
)

// selfSigned makes a certificate and its key in PEM.
func selfSigned(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "x"}, NotAfter: time.Now().Add(time.Hour), IsCA: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	require.NoError(t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
}

// withSecret puts a Secret and a ConfigMap named s into o.
func withSecret(t *testing.T, o *objects.Store, data map[string]string) *objects.Store {
	t.Helper()
	meta := metav1.ObjectMeta{Namespace: "default", Name: "s"}
	secret := &corev1.Secret{ObjectMeta: meta, Data: map[string][]byte{}}
	for key, value := range data {
		secret.Data[key] = []byte(value)
	}
	require.NoError(t, storetest.Secrets(o).Update(secret))
	require.NoError(t, storetest.ConfigMaps(o).Update(&corev1.ConfigMap{ObjectMeta: meta, Data: data}))
	return o
}

func TestCredentials(t *testing.T) {
	cert, key := selfSigned(t)
	data := map[string]string{"user": "me", "pass": "secret", "cert": cert, "key": key}
	ref := func(key string) string { return `{name: s, key: ` + key + `}` }
	for field, check := range map[string]func(t *testing.T, c *commonconfig.HTTPClientConfig){
		`basicAuth: {username: ` + ref("user") + `, password: ` + ref("pass") + `}`: func(t *testing.T, c *commonconfig.HTTPClientConfig) {
			require.Equal(t, &commonconfig.BasicAuth{Username: "me", Password: "secret"}, c.BasicAuth)
		},
		`authorization: {credentials: ` + ref("pass") + `}`: func(t *testing.T, c *commonconfig.HTTPClientConfig) {
			require.Equal(t, &commonconfig.Authorization{Type: "Bearer", Credentials: "secret"}, c.Authorization)
		},
		`authorization: {type: " Token ", credentials: ` + ref("pass") + `}`: func(t *testing.T, c *commonconfig.HTTPClientConfig) {
			require.Equal(t, &commonconfig.Authorization{Type: "Token", Credentials: "secret"}, c.Authorization)
		},
		`bearerTokenSecret: ` + ref("pass"): func(t *testing.T, c *commonconfig.HTTPClientConfig) {
			require.Equal(t, &commonconfig.Authorization{Type: "Bearer", Credentials: "secret"}, c.Authorization)
		},
		`oauth2: {clientId: {configMap: ` + ref("user") + `}, clientSecret: ` + ref("pass") + `, tokenUrl: "http://t", scopes: [a], endpointParams: {b: c},
			proxyUrl: "http://p", tlsConfig: {ca: {secret: ` + ref("cert") + `}}}`: func(t *testing.T, c *commonconfig.HTTPClientConfig) {
			require.Equal(t, "me", c.OAuth2.ClientID)
			require.Equal(t, commonconfig.Secret("secret"), c.OAuth2.ClientSecret)
			require.Equal(t, "http://t", c.OAuth2.TokenURL)
			require.Equal(t, []string{"a"}, c.OAuth2.Scopes)
			require.Equal(t, map[string]string{"b": "c"}, c.OAuth2.EndpointParams)
			require.Equal(t, "http://p", c.OAuth2.ProxyURL.String())
			require.Equal(t, cert, c.OAuth2.TLSConfig.CA)
		},
		`tlsConfig: {ca: {secret: ` + ref("cert") + `}}`: func(t *testing.T, c *commonconfig.HTTPClientConfig) { require.Equal(t, cert, c.TLSConfig.CA) },
		`tlsConfig: {ca: {configMap: ` + ref("cert") + `}, cert: {secret: ` + ref("cert") + `}, keySecret: ` + ref("key") + `}`: func(t *testing.T, c *commonconfig.HTTPClientConfig) {
			require.Equal(t, cert, c.TLSConfig.CA)
			require.Equal(t, cert, c.TLSConfig.Cert)
			require.Equal(t, commonconfig.Secret(key), c.TLSConfig.Key)
		},
		`{proxyUrl: "http://p", proxyConnectHeader: {h: [` + ref("user") + `, ` + ref("pass") + `]}}`: func(t *testing.T, c *commonconfig.HTTPClientConfig) {
			require.Equal(t, commonconfig.ProxyHeader{"h": {"me", "secret"}}, c.ProxyConnectHeader)
		},
	} {
		t.Run(field, func(t *testing.T) {
			if field[0] != '{' {
				field = "{" + field + "}"
			}
			for _, text := range []string{
				samples.ServiceMonitor(`{selector: {}, endpoints: [` + field + `]}`), samples.PodMonitor(`{selector: {}, podMetricsEndpoints: [` + field + `]}`),
			} {
				d := discovery.New(withSecret(t, storetest.Load(t, text), data), discovery.Options{})
				configs, _ := runtest.Resolve(t, d)
				require.NoError(t, d.Monitors()[0].Err)
				for _, c := range configs {
					check(t, &c.HTTPClientConfig)
				}
				for key := range data { // without one of the keys
					less := map[string]string{"unrelated": ""}
					for k, v := range data {
						if k != key {
							less[k] = v
						}
					}
					d := discovery.New(withSecret(t, storetest.Load(t, text), less), discovery.Options{})
					runtest.Resolve(t, d)
					if strings.Contains(field, "key: "+key+"}") {
						require.ErrorContains(t, d.Monitors()[0].Err, `there is no key "`+key+`" in `)
					} else {
						require.NoError(t, d.Monitors()[0].Err)
					}
				}
				d = discovery.New(storetest.Load(t, text), discovery.Options{})
				configs, _ = runtest.Resolve(t, d)
				require.Empty(t, configs)
				require.ErrorContains(t, d.Monitors()[0].Err, "there is no ")
				require.ErrorContains(t, d.Monitors()[0].Err, "default/s")
			}
		})
	}
}

func TestWrongCredentials(t *testing.T) {
	cert, key := selfSigned(t)
	_, other := selfSigned(t)
	data := map[string]string{"a": "top-secret", "cert": cert, "key": key, "other": other, "empty": ""}
	for field, want := range map[string]string{
		`tlsConfig: {ca: {secret: {name: s, key: a}}}`:                                                                             "tlsConfig.ca: is not PEM",
		`tlsConfig: {ca: {secret: {name: s, key: empty}}}`:                                                                         "tlsConfig.ca: is not PEM",
		`tlsConfig: {ca: {secret: {name: s, key: key}}}`:                                                                           "tlsConfig.ca: is not a certificate",
		`tlsConfig: {cert: {secret: {name: s, key: cert}}, keySecret: {name: s, key: other}}`:                                      "tlsConfig.cert, keySecret: tls: private key does not match public key",
		`tlsConfig: {cert: {secret: {name: s, key: cert}}, keySecret: {name: s, key: empty}}`:                                      "tlsConfig.cert, keySecret",
		`tlsConfig: {cert: {secret: {name: s, key: cert}}}`:                                                                        "client key",
		`authorization: {type: basic, credentials: {name: s, key: a}}`:                                                             "basic",
		`{basicAuth: {username: {name: s, key: a}, password: {name: s, key: a}}, authorization: {credentials: {name: s, key: a}}}`: "cannot be configured at the same time",
		`basicAuth: {}`: "basicAuth.username: the Secret has no name",
		`oauth2: {clientId: {secret: {name: s, key: empty}}, clientSecret: {name: s, key: a}, tokenUrl: "http://t"}`: "client_id",
		`{proxyUrl: "http://p", proxyConnectHeader: {h: [{name: t, key: a}]}}`:                                       "proxyConnectHeader[h][0]: there is no Secret default/t",
	} {
		t.Run(field, func(t *testing.T) {
			if field[0] != '{' {
				field = "{" + field + "}"
			}
			o := withSecret(t, storetest.Load(t, samples.ServiceMonitor(`{selector: {}, endpoints: [{}, `+field+`]}`)), data)
			d := discovery.New(o, discovery.Options{})
			configs, _ := runtest.Resolve(t, d)
			require.Empty(t, configs, "rejected whole")
			err := d.Monitors()[0].Err
			require.ErrorContains(t, err, want)
			require.ErrorContains(t, err, "spec.endpoints[1]")
			require.NotContains(t, err.Error(), "top-secret")
		})
	}
}

func TestSecretChanges(t *testing.T) {
	text := samples.ServiceMonitor(`{selector: {matchLabels: {app: web}}, endpoints: [{port: http}, {port: metrics, authorization: {credentials: {name: s, key: a}}}]}`)
	o := withSecret(t, storetest.Load(t, samples.Web, text), map[string]string{"a": "one"})
	d := discovery.New(o, discovery.Options{})
	before, groups := runtest.Resolve(t, d)
	require.Equal(t, commonconfig.Secret("one"), before["serviceMonitor/default/m/1"].HTTPClientConfig.Authorization.Credentials)

	withSecret(t, o, map[string]string{"a": "two"})
	after, groupsAfter := runtest.Resolve(t, d)
	require.Equal(t, commonconfig.Secret("two"), after["serviceMonitor/default/m/1"].HTTPClientConfig.Authorization.Credentials)
	require.Same(t, before["serviceMonitor/default/m/0"], after["serviceMonitor/default/m/0"], "the other endpoint has no part in it")
	require.Equal(t, groups, groupsAfter)

	// Another key: the same settings.
	withSecret(t, o, map[string]string{"a": "two", "b": "x"})
	again, _ := runtest.Resolve(t, d)
	require.Same(t, after["serviceMonitor/default/m/1"], again["serviceMonitor/default/m/1"])

	storetest.Remove(t, storetest.Secrets(o), "default/s")
	configs, groups := runtest.Resolve(t, d)
	require.Empty(t, configs)
	require.Empty(t, groups)
	require.Contains(t, runtest.Rejected(d.Monitors(), "m"), "there is no Secret default/s")
	withSecret(t, o, map[string]string{"a": "three"})
	configs, groups = runtest.Resolve(t, d)
	require.Len(t, configs, 2)
	require.Len(t, groups, 2)
}

func TestFileAccess(t *testing.T) {
	for field, path := range map[string]string{
		`bearerTokenFile: /token`:                    "bearerTokenFile",
		`tlsConfig: {caFile: /ca}`:                   "tlsConfig.caFile",
		`tlsConfig: {certFile: /crt, keyFile: /key}`: "certFile",
	} {
		text := samples.ServiceMonitor(`{selector: {}, endpoints: [{` + field + `}]}`)
		d := discovery.New(storetest.Load(t, text), discovery.Options{})
		configs, _ := runtest.Resolve(t, d)
		require.Empty(t, configs)
		require.ErrorContains(t, d.Monitors()[0].Err, "spec.endpoints[0].")
		require.ErrorContains(t, d.Monitors()[0].Err, path)
		require.ErrorContains(t, d.Monitors()[0].Err, "--monitor-file-access")

		d = discovery.New(storetest.Load(t, text), discovery.Options{FileAccess: true})
		configs, _ = runtest.Resolve(t, d)
		require.NoError(t, d.Monitors()[0].Err)
		c := configs["serviceMonitor/default/m/0"].HTTPClientConfig
		switch path {
		case "bearerTokenFile":
			require.Equal(t, &commonconfig.Authorization{Type: "Bearer", CredentialsFile: "/token"}, c.Authorization)
		case "certFile":
			require.Equal(t, commonconfig.TLSConfig{CertFile: "/crt", KeyFile: "/key"}, c.TLSConfig)
		default:
			require.Equal(t, commonconfig.TLSConfig{CAFile: "/ca"}, c.TLSConfig)
		}
	}
}

func TestReferenceNames(t *testing.T) {
	for name, want := range map[string]string{
		`""`: "the Secret has no name", `a/b`: "there can be no Secret of this name", `"*"`: "there can be no Secret of this name",
		strings.Repeat("a", 300): "there can be no Secret of this name", "gone": "there is no Secret default/gone",
	} {
		d := discovery.New(storetest.Load(t, samples.ServiceMonitor(`{selector: {}, endpoints: [{authorization: {credentials: {name: x, key: k}}, basicAuth: null}, {basicAuth: {username: {name: `+name+`, key: k}}}]}`),
			`{apiVersion: v1, kind: Secret, metadata: {name: x}, stringData: {k: v}}`), discovery.Options{})
		runtest.Resolve(t, d)
		require.ErrorContains(t, d.Monitors()[0].Err, "spec.endpoints[1].basicAuth.username: "+want)
	}
}
