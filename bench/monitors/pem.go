package monitors

import (
	corev1 "k8s.io/api/core/v1"
)

// Two self-signed certificates, each its own CA, and their keys. Nobody trusts them.
const (
	caCert = `-----BEGIN CERTIFICATE-----
MIIBHDCBz6ADAgECAgECMAUGAytlcDAVMRMwEQYDVQQDEwptb25pdG9ycy0xMCAX
DTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAxMDAwMDAwWjAVMRMwEQYDVQQDEwptb25p
dG9ycy0xMCowBQYDK2VwAyEAiojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQP
b1yjQjBAMA4GA1UdDwEB/wQEAwIChDAPBgNVHRMBAf8EBTADAQH/MB0GA1UdDgQW
BBQ0dQ+YvVn8/JRtpFqqvpM74VSktTAFBgMrZXADQQD+mpxoWDwyXJKvniSPyJvE
Z1S5/MMJFEMNd/fRx2fTFO8YaNzzB9/7yBKFexcqChRxdSdBrtEvMEi1SQx9Ts4O
-----END CERTIFICATE-----
`
	caKey = `-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB
-----END PRIVATE KEY-----
`
	clientCert = `-----BEGIN CERTIFICATE-----
MIIBHDCBz6ADAgECAgEDMAUGAytlcDAVMRMwEQYDVQQDEwptb25pdG9ycy0yMCAX
DTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAxMDAwMDAwWjAVMRMwEQYDVQQDEwptb25p
dG9ycy0yMCowBQYDK2VwAyEAgTl3Dqh9F19Wo1Rmw0x+zMuNipG07jeiXfYPW4/J
s5SjQjBAMA4GA1UdDwEB/wQEAwIChDAPBgNVHRMBAf8EBTADAQH/MB0GA1UdDgQW
BBRqOAPV8FmQKhxtr7ybpHKSEvfKrDAFBgMrZXADQQAHjGaMS5/aGuaY+J5EL+ay
z3mEBK+w8ESPbPsjMmQ/xQojic7xwYePoirWvTmmkUZkqHAmlvPtehjlu0QubzkN
-----END CERTIFICATE-----
`
	clientKey = `-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIAICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIC
-----END PRIVATE KEY-----
`
)

// pems are the values that stand for PEM text in files: @ca and @cert are one
// certificate each, @key belongs to @cert, @other-key to @ca, and @bundle is both
// certificates.
func pems() map[string]string {
	return map[string]string{
		"@ca": caCert, "@cert": clientCert, "@key": clientKey, "@other-key": caKey, "@bundle": caCert + clientCert,
	}
}

// fillPEMs replaces such values in Secrets and ConfigMaps.
func (c *Cluster) fillPEMs() {
	texts := pems()
	for _, s := range c.Secrets {
		for k, v := range s.Data {
			if text, ok := texts[string(v)]; ok {
				s.Data[k] = []byte(text)
			}
		}
	}
	for _, m := range c.ConfigMaps {
		for k, v := range m.Data {
			if text, ok := texts[v]; ok {
				m.Data[k] = text
			}
		}
	}
}

// secret makes a Secret of text.
func secret(namespace, name string, data map[string]string) *corev1.Secret {
	s := &corev1.Secret{Data: map[string][]byte{}}
	s.Namespace, s.Name = namespace, name
	for k, v := range data {
		s.Data[k] = []byte(v)
	}
	return s
}
