package monitors

import (
	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	corev1 "k8s.io/api/core/v1"
)

// Generated monitors refer to what generator.credentials makes.

func secretKey(name, key string) corev1.SecretKeySelector {
	return corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: name}, Key: key}
}

func configMapKey(key string) corev1.ConfigMapKeySelector {
	return corev1.ConfigMapKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "settings"}, Key: key}
}

// credential is a key of the Secret of credentials, seldom one that is empty or not
// there.
func (g *generator) credential(key string) corev1.SecretKeySelector {
	s := secretKey("creds", key)
	if g.one(60) {
		s = pick(g.choices, secretKey("creds", "empty"), secretKey("creds", "gone"), secretKey("gone", key),
			secretKey("creds", ""), secretKey("", ""), secretKey("", key))
	}
	if g.one(10) {
		s.Optional = new(true)
	}
	return s
}

// http makes settings with none or one kind of authentication, seldom two.
func (g *generator) http() monitoringv1.HTTPConfigWithoutTLS {
	h := monitoringv1.HTTPConfigWithoutTLS{FollowRedirects: maybe(g.choices, true, false), EnableHTTP2: maybe(g.choices, true, false)}
	kinds := 1
	if g.one(40) {
		kinds = 2
	}
	for range kinds {
		switch g.intn(8) {
		case 0:
			h.BasicAuth = &monitoringv1.BasicAuth{Username: g.credential("user"), Password: g.credential("password")}
		case 1:
			h.Authorization = g.authorization()
		case 2:
			h.BearerTokenSecret = new(g.credential("token")) //nolint:staticcheck // deprecated, and in wide use
		case 3:
			h.OAuth2 = g.oauth2()
		}
	}
	return h
}

func (g *generator) authorization() *monitoringv1.SafeAuthorization {
	a := &monitoringv1.SafeAuthorization{Type: pick(g.choices, "", "Bearer", " Token ", "Custom")}
	if g.one(40) {
		a.Type = "Basic"
	}
	if !g.one(30) {
		a.Credentials = new(g.credential("token"))
	}
	return a
}

func (g *generator) oauth2() *monitoringv1.OAuth2 {
	o := &monitoringv1.OAuth2{
		ClientID:     monitoringv1.SecretOrConfigMap{ConfigMap: new(configMapKey("id"))},
		ClientSecret: g.credential("password"), TokenURL: "http://idp/token",
		Scopes:         pick(g.choices, nil, []string{"a", "b"}),
		EndpointParams: pick(g.choices, nil, map[string]string{"audience": "x"}),
		ProxyConfig:    g.proxy(), TLSConfig: g.tls(),
	}
	switch g.intn(16) {
	case 0, 1, 2:
		o.ClientID = monitoringv1.SecretOrConfigMap{Secret: new(g.credential("user"))}
	case 3:
		o.ClientID = pick(g.choices, monitoringv1.SecretOrConfigMap{},
			monitoringv1.SecretOrConfigMap{ConfigMap: new(configMapKey("gone"))},
			monitoringv1.SecretOrConfigMap{ConfigMap: new(configMapKey("empty"))})
	}
	if g.one(30) {
		o.TokenURL = pick[monitoringv1.URL](g.choices, "", "://", "ftp://x")
	}
	return o
}

// tls makes settings that fit together, mostly.
func (g *generator) tls() *monitoringv1.SafeTLSConfig {
	if g.one(2) {
		return nil
	}
	from := func(key string) monitoringv1.SecretOrConfigMap {
		return monitoringv1.SecretOrConfigMap{Secret: new(secretKey("tls", key))}
	}
	t := &monitoringv1.SafeTLSConfig{
		InsecureSkipVerify: maybe(g.choices, true, false), ServerName: maybe(g.choices, "x", ""),
		MinVersion: maybe(g.choices, monitoringv1.TLSVersion12), MaxVersion: maybe(g.choices, monitoringv1.TLSVersion13),
	}
	switch g.intn(4) {
	case 0:
		t.CA = from("ca")
	case 1:
		t.CA = monitoringv1.SecretOrConfigMap{ConfigMap: new(configMapKey("ca"))}
	}
	if g.one(3) {
		t.Cert, t.KeySecret = from("cert"), new(secretKey("tls", "key"))
	}
	if g.one(30) {
		g.spoil(t, from)
	}
	return t
}

func (g *generator) spoil(t *monitoringv1.SafeTLSConfig, from func(string) monitoringv1.SecretOrConfigMap) {
	switch g.intn(9) {
	case 0:
		t.CA = from(pick(g.choices, "junk", "empty", "gone", "key"))
	case 1:
		t.CA = monitoringv1.SecretOrConfigMap{Secret: new(secretKey("tls", "ca")), ConfigMap: new(configMapKey("ca"))}
	case 2:
		t.Cert = from("cert")
		t.KeySecret = nil
	case 3:
		t.Cert = monitoringv1.SecretOrConfigMap{}
		t.KeySecret = new(secretKey("tls", "key"))
	case 4:
		t.Cert, t.KeySecret = from("cert"), new(secretKey("tls", "other-key"))
	case 5:
		t.Cert, t.KeySecret = from("empty"), new(secretKey("tls", "key"))
	case 6:
		t.MinVersion, t.MaxVersion = new(monitoringv1.TLSVersion13), new(monitoringv1.TLSVersion12)
	case 7:
		t.MinVersion = new(monitoringv1.TLSVersion("TLS9"))
	case 8:
		t.Cert, t.KeySecret = from("cert"), new(secretKey("tls", pick(g.choices, "empty", "gone")))
	}
}

func (g *generator) proxy() monitoringv1.ProxyConfig {
	var p monitoringv1.ProxyConfig
	switch g.intn(8) {
	case 0:
		p.ProxyURL = new("http://proxy:3128")
	case 1:
		p.ProxyURL, p.NoProxy = new("http://proxy:3128"), new("10.0.0.0/8,svc")
	case 2:
		p.ProxyFromEnvironment = new(true)
	case 3:
		p.ProxyURL = new("http://u:p@proxy")
		p.ProxyConnectHeader = map[string][]corev1.SecretKeySelector{"X-A": {g.credential("token"), g.credential("user")}}
	case 4:
		if !g.one(12) {
			break
		}
		p = pick(g.choices,
			monitoringv1.ProxyConfig{ProxyURL: new("://")},
			monitoringv1.ProxyConfig{ProxyURL: new("")},
			monitoringv1.ProxyConfig{NoProxy: new("x")},
			monitoringv1.ProxyConfig{ProxyURL: new("http://p"), ProxyFromEnvironment: new(true)},
			monitoringv1.ProxyConfig{ProxyConnectHeader: map[string][]corev1.SecretKeySelector{"X-A": {secretKey("creds", "user")}}},
			monitoringv1.ProxyConfig{ProxyURL: new("http://p"), ProxyConnectHeader: map[string][]corev1.SecretKeySelector{"X-A": {}}},
			monitoringv1.ProxyConfig{ProxyURL: new("http://p"), ProxyConnectHeader: map[string][]corev1.SecretKeySelector{"X-A": {{}}}},
			monitoringv1.ProxyConfig{ProxyURL: new("http://p"), NoProxy: new("")},
		)
	}
	return p
}

// relabelings makes rules; role is that of the monitor, if it names one.
func (g *generator) relabelings(role *monitoringv1.ServiceDiscoveryRole) []monitoringv1.RelabelConfig {
	var out []monitoringv1.RelabelConfig
	for range g.intn(4) {
		out = append(out, g.relabeling())
	}
	if role != nil && g.one(3) {
		out = append(out, monitoringv1.RelabelConfig{Action: "labelmap", Regex: "__meta_kubernetes_(.+)", Replacement: new("all_$1")})
	}
	if g.one(60) {
		out = append(out, pick(g.choices,
			monitoringv1.RelabelConfig{Action: "keep", Regex: "("},
			monitoringv1.RelabelConfig{Action: "mangle", TargetLabel: "x"},
			monitoringv1.RelabelConfig{Action: "replace"},
			monitoringv1.RelabelConfig{TargetLabel: "a\xffb"},
			monitoringv1.RelabelConfig{TargetLabel: "a.b", Replacement: new("utf8")},
			monitoringv1.RelabelConfig{TargetLabel: "$1x", SourceLabels: []monitoringv1.LabelName{"pod"}},
			monitoringv1.RelabelConfig{Action: "hashmod", TargetLabel: "x"},
			monitoringv1.RelabelConfig{Action: "labeldrop", Regex: "x", TargetLabel: "y"},
			monitoringv1.RelabelConfig{Action: "uppercase", TargetLabel: "x", Replacement: new("y")},
			monitoringv1.RelabelConfig{Action: "keepequal", TargetLabel: "x", Regex: "y"},
			monitoringv1.RelabelConfig{Action: "keep", SourceLabels: []monitoringv1.LabelName{""}},
			monitoringv1.RelabelConfig{Action: "labelmap", Regex: "(.+)", Replacement: new("")},
		))
	}
	return out
}

func (g *generator) relabeling() monitoringv1.RelabelConfig {
	from := func(names ...monitoringv1.LabelName) []monitoringv1.LabelName { return names }
	return pick(g.choices,
		monitoringv1.RelabelConfig{Action: "LabelMap", Regex: "__meta_kubernetes_(node|pod|service|namespace)_(.+)", Replacement: new("zz_${1}_$2")},
		monitoringv1.RelabelConfig{SourceLabels: from("__meta_kubernetes_pod_node_name"), TargetLabel: "node"},
		monitoringv1.RelabelConfig{SourceLabels: from("__tmp_prometheus_job_name", "service", "endpoint", "pod"), Separator: new("/"), TargetLabel: "all"},
		monitoringv1.RelabelConfig{
			SourceLabels: from("__address__", "__scheme__", "__metrics_path__", "__param_z", "__scrape_interval__"),
			TargetLabel:  "url", Action: "replace",
		},
		monitoringv1.RelabelConfig{SourceLabels: from("container"), Regex: "c.*", Action: "Keep"},
		monitoringv1.RelabelConfig{SourceLabels: from("__meta_kubernetes_pod_ip"), Regex: "(.+)", TargetLabel: "__address__", Replacement: new("$1:99")},
		monitoringv1.RelabelConfig{Regex: "pod|service", Action: "labeldrop"},
		monitoringv1.RelabelConfig{SourceLabels: from("pod"), TargetLabel: "job", Action: "lowercase"},
		monitoringv1.RelabelConfig{TargetLabel: "static", Replacement: new("v")},
		monitoringv1.RelabelConfig{SourceLabels: from("pod"), TargetLabel: "shard", Modulus: 3, Action: "HashMod"},
		monitoringv1.RelabelConfig{TargetLabel: "container", Replacement: new("")},
		monitoringv1.RelabelConfig{SourceLabels: from("__meta_kubernetes_pod_phase"), Regex: "Pending", Action: "drop"},
		monitoringv1.RelabelConfig{TargetLabel: "__param_target", SourceLabels: from("__address__")},
		monitoringv1.RelabelConfig{TargetLabel: "__scrape_interval__", Replacement: new("45s")},
		monitoringv1.RelabelConfig{SourceLabels: from("service"), TargetLabel: "pod", Action: "dropequal"},
		monitoringv1.RelabelConfig{Regex: "(pod|service|namespace|container|endpoint|job|instance|__.*)", Action: "labelkeep"},
	)
}
