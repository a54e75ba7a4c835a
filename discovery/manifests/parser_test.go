package manifests

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/promlet/promlet/discovery"
	"github.com/promlet/promlet/discovery/internal/runtest"
	"github.com/promlet/promlet/discovery/internal/samples"
	"github.com/promlet/promlet/discovery/objects"
)

// parseText returns the objects of a text as "kind namespace/name@line" and its errors
// as "line: error".
func parseText(text string) (objects, problems []string) {
	objs, errs := parse("web.yaml", []byte(text), slog.New(slog.DiscardHandler))
	for _, o := range objs {
		objects = append(objects, fmt.Sprintf("%s %s@%d", o.kind, objectName(o.object), o.line))
	}
	for _, e := range errs {
		problems = append(problems, fmt.Sprintf("%d: %v", e.line, e.err))
	}
	return objects, problems
}

func TestParse(t *testing.T) {
	for name, tc := range map[string]struct {
		text string
		want []string
	}{
		"empty":         {"", nil},
		"comments only": {"# nothing\n---\n# here\n---\n", nil},
		"one object":    {"apiVersion: v1\nkind: Service\nmetadata: {name: a}\n", []string{"Service default/a@1"}},
		"several documents": {
			"# first\n---\napiVersion: v1\nkind: Service\nmetadata: {name: a}\n--- # second\napiVersion: v1\nkind: Pod\nmetadata: {name: b, namespace: x}\n---\n",
			[]string{"Service default/a@3", "Pod x/b@7"},
		},
		"Windows line ends and a byte order mark": {
			"\xef\xbb\xbfapiVersion: v1\r\nkind: Service\r\nmetadata: {name: a}\r\n---\r\napiVersion: v1\r\nkind: Node\r\nmetadata: {name: n1, namespace: x}\r\n",
			[]string{"Service default/a@1", "Node n1@5"},
		},
		"a List": {
			"apiVersion: v1\nkind: List\nmetadata: {resourceVersion: \"\"}\nitems:\n- apiVersion: v1\n  kind: Service\n  metadata: {name: a}\n- {apiVersion: v1, kind: Namespace, metadata: {name: ns}}\n",
			[]string{"Service default/a@5", "Namespace ns@8"},
		},
		"a list of a kind": {
			"apiVersion: v1\nkind: PodList\nitems:\n- apiVersion: v1\n  metadata: {name: a}\n",
			[]string{"Pod default/a@4"},
		},
		"an empty List": {"apiVersion: v1\nkind: List\nitems: []\n", nil},
		"JSON":          {"{\n \"apiVersion\": \"v1\",\n \"kind\": \"Service\",\n \"metadata\": {\"name\": \"a\"}\n}", []string{"Service default/a@1"}},
		"all kinds that are read": {
			strings.Join([]string{
				"{apiVersion: v1, kind: Namespace, metadata: {name: a}}", "{apiVersion: v1, kind: Node, metadata: {name: a}}",
				"{apiVersion: v1, kind: Pod, metadata: {name: a}}", "{apiVersion: v1, kind: Service, metadata: {name: a}}",
				"{apiVersion: v1, kind: Endpoints, metadata: {name: a}}", "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: a}}",
				"{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: a}}",
				"{apiVersion: monitoring.coreos.com/v1, kind: ServiceMonitor, metadata: {name: a}}",
				"{apiVersion: monitoring.coreos.com/v1, kind: PodMonitor, metadata: {name: a}}",
				"{apiVersion: v1, kind: Secret, metadata: {name: a}, type: Opaque, stringData: {x: v}}", "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {x: v}, binaryData: {z: AAE=}}",
			}, "\n---\n"),
			[]string{
				"Namespace a@1", "Node a@3", "Pod default/a@5", "Service default/a@7", "Endpoints default/a@9", "EndpointSlice default/a@11",
				"HorizontalPodAutoscaler default/a@13", "ServiceMonitor default/a@15", "PodMonitor default/a@17", "Secret default/a@19", "ConfigMap default/a@21",
			},
		},
		"an app's other manifests, whatever is in them": {
			strings.Join([]string{
				"{apiVersion: apps/v1, kind: Deployment, metadata: {name: a}, spec: {anything: goes}}", "{apiVersion: v1, kind: ServiceAccount, metadata: {name: a}, data: {x: \"a\\nb\"}}",
				"{apiVersion: autoscaling/v1, kind: HorizontalPodAutoscaler, metadata: {name: a}}", "{apiVersion: monitoring.coreos.com/v1, kind: PrometheusRule, metadata: {name: a}}",
				"{apiVersion: serving.knative.dev/v1, kind: Service, metadata: {name: a}, spec: {template: {}}}", "{apiVersion: example.org/v1, kind: PriceList, metadata: {name: a}}",
			}, "\n---\n"), nil,
		},
		"fields that only an API server writes": {`
apiVersion: v1
kind: Service
metadata:
  name: a
  uid: "1"
  creationTimestamp: null
  managedFields: [{manager: kubectl, operation: Apply, apiVersion: v1, fieldsType: FieldsV1, fieldsV1: {f:spec: {}}}]
status: {loadBalancer: {}}
`, []string{"Service default/a@2"}},
	} {
		t.Run(name, func(t *testing.T) {
			objects, problems := parseText(tc.text)
			require.Empty(t, problems)
			require.Equal(t, tc.want, objects)
		})
	}
}

func TestParseErrors(t *testing.T) {
	const head = "apiVersion: monitoring.coreos.com/v1\nkind: ServiceMonitor\nmetadata:\n  name: m\n" // 4 lines
	for name, tc := range map[string]struct {
		text string
		want []string
	}{
		"unknown field": {
			head + "spec:\n  selector: {}\n  endpoints:\n  - port: a\n  - port: b\n    intervall: 5s\n",
			[]string{`10: ServiceMonitor m: unknown field "spec.endpoints[1].intervall"`},
		},
		"unknown field in the second document, at the top": {
			"# a\n---\n" + head + "spec: {selector: {}, endpoints: []}\nspecs: {}\n",
			[]string{`8: ServiceMonitor m: unknown field "specs"`},
		},
		"several": {
			head + "spec:\n  a: 1\n  b: 2\n",
			[]string{`6: ServiceMonitor m: unknown field "spec.a"`, `7: ServiceMonitor m: unknown field "spec.b"`},
		},
		"a field in the wrong case": {
			head + "spec:\n  Selector: {}\n  endpoints: []\n",
			[]string{`6: ServiceMonitor m: unknown field "spec.Selector"`},
		},
		"in an item of a List": {
			"apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Service\n  metadata: {name: a}\n- apiVersion: v1\n  kind: Service\n  metadata: {name: b}\n  spec:\n    port: 1\n",
			[]string{`11: Service b: unknown field "spec.port"`},
		},
		"wrong type": {
			head + "spec:\n  selector: {}\n  endpoints:\n  - port: a\n    interval: 5s\n  - interval: 30\n",
			[]string{`10: ServiceMonitor m: spec.endpoints[1].interval: number instead of string; write it in quotes`},
		},
		"a YAML boolean for a string": {
			"apiVersion: v1\nkind: Service\nmetadata:\n  name: a\n  labels:\n    scrape: x\n    quoted: \"yes\"\n    enabled: yes\n",
			[]string{`8: Service a: metadata.labels.enabled: bool instead of string; write it in quotes`},
		},
		"a list for an object": {
			head + "spec:\n- selector: {}\n",
			[]string{`5: ServiceMonitor m: spec: list instead of object`},
		},
		"an object for a list": {
			head + "spec:\n  selector: {}\n  endpoints:\n    port: a\n",
			[]string{`7: ServiceMonitor m: spec.endpoints: object instead of list`},
		},
		"a value that its type refuses": {
			"apiVersion: v1\nkind: Pod\nmetadata: {name: a, creationTimestamp: yesterday}\n",
			[]string{`1: Pod: parsing time "yesterday" as "2006-01-02T15:04:05Z07:00": cannot parse "yesterday" as "2006"`},
		},
		"not YAML":          {"a: b\n---\napiVersion: v1\nkind: [\n", []string{"1: no kind", "4: did not find expected node content"}},
		"a tab":             {"# x\n---\n\tkind: Service\n", []string{"3: found character that cannot start any token"}},
		"a key twice":       {"---\napiVersion: v1\nkind: Service\nkind: Pod\n", []string{`4: key "kind" already set in map`}},
		"keys twice":        {"a: 1\na: 2\nb: 1\nb: 1\n", []string{`2: key "a" already set in map`, `4: key "b" already set in map`}},
		"a template":        {"# Helm\nkind: {{ .Kind }}\n", []string{`1: invalid map key: map[interface {}]interface {}{".Kind":interface {}(nil)}`}},
		"no kind":           {"---\n\napiVersion: v1\nmetadata: {name: a}\n", []string{"3: no kind"}},
		"no object":         {"- a\n- b\n", []string{"1: not a Kubernetes object"}},
		"a word":            {"hello\n", []string{"1: not a Kubernetes object"}},
		"no name":           {"apiVersion: v1\nkind: Service\nmetadata: {generateName: a-}\n", []string{"1: Service: no metadata.name"}},
		"an item no object": {"apiVersion: v1\nkind: List\nitems: [1]\n", []string{"3: not a Kubernetes object"}},
		"items no list":     {"apiVersion: v1\nkind: List\nitems: 1\n", []string{"1: not a Kubernetes object"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, problems := parseText(tc.text)
			require.Equal(t, tc.want, problems)
		})
	}
}

func TestParseBoundsErrors(t *testing.T) {
	_, problems := parseText(strings.Repeat("a: b\n---\n", 100))
	require.Len(t, problems, maxFileErrors)
}

func TestKustomizationIsNoManifest(t *testing.T) {
	_, errs := parse("base/kustomization.yaml", []byte("resources: [a.yaml]\n"), slog.New(slog.DiscardHandler))
	require.Empty(t, errs)
}

func TestPassedOverAtDebugLevel(t *testing.T) {
	var log runtest.LogBuffer
	_, errs := parse("a.yaml", []byte("#\n---\napiVersion: apps/v1\nkind: Deployment\n"), log.Logger())
	require.Empty(t, errs)
	require.Contains(t, log.String(), `level=DEBUG msg="object passed over" file=a.yaml line=3 apiVersion=apps/v1 kind=Deployment`)
}

func TestManifestDefaults(t *testing.T) {
	o := load(t, `
apiVersion: v1
kind: Pod
metadata: {name: running}
spec: {containers: [{name: c, ports: [{containerPort: 1}, {containerPort: 2, protocol: UDP}]}], initContainers: [{name: i, ports: [{containerPort: 3}]}]}
status: {podIPs: [{ip: 10.0.0.1}, {ip: "fd00::1"}]}
---
apiVersion: v1
kind: Pod
metadata: {name: starting, namespace: shop}
---
apiVersion: v1
kind: Pod
metadata: {name: pending}
status: {podIP: 10.0.0.2, phase: Pending}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: s, namespace: shop}
ports: [{port: 1}, {name: x, port: 2, protocol: UDP}]
endpoints:
- {addresses: [127.0.0.1], targetRef: {kind: Pod, name: p}}
- {addresses: [127.0.0.2], targetRef: {kind: Pod, name: p, namespace: other}}
- {addresses: [127.0.0.3], targetRef: {kind: Node, name: n1}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: six}
endpoints: [{addresses: ["::1"]}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: names}
endpoints: [{addresses: [localhost]}]
---
apiVersion: v1
kind: Service
metadata: {name: s}
spec: {ports: [{port: 1}]}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: h}
spec: {maxReplicas: 3, scaleTargetRef: {kind: Deployment, name: d}}
---
apiVersion: v1
kind: Node
metadata: {name: n1, namespace: nonsense}
---
apiVersion: v1
kind: Namespace
metadata: {name: default, labels: {x: z}}
`)
	p := objects.Get[corev1.Pod](o, "default/running")
	require.Equal(t, corev1.PodRunning, p.Status.Phase)
	require.Equal(t, "10.0.0.1", p.Status.PodIP)
	require.Equal(t, corev1.ProtocolTCP, p.Spec.Containers[0].Ports[0].Protocol)
	require.Equal(t, corev1.ProtocolUDP, p.Spec.Containers[0].Ports[1].Protocol)
	require.Equal(t, corev1.ProtocolTCP, p.Spec.InitContainers[0].Ports[0].Protocol)
	require.Empty(t, objects.Get[corev1.Pod](o, "shop/starting").Status.Phase)
	require.Equal(t, corev1.PodPending, objects.Get[corev1.Pod](o, "default/pending").Status.Phase)

	slice := objects.Get[discoveryv1.EndpointSlice](o, "shop/s")
	require.Equal(t, discoveryv1.AddressTypeIPv4, slice.AddressType)
	require.Empty(t, *slice.Ports[0].Name)
	require.Equal(t, corev1.ProtocolTCP, *slice.Ports[0].Protocol)
	require.Equal(t, corev1.ProtocolUDP, *slice.Ports[1].Protocol)
	require.Equal(t, "shop", slice.Endpoints[0].TargetRef.Namespace)
	require.Equal(t, "other", slice.Endpoints[1].TargetRef.Namespace)
	require.Empty(t, slice.Endpoints[2].TargetRef.Namespace)
	require.Equal(t, discoveryv1.AddressTypeIPv6, objects.Get[discoveryv1.EndpointSlice](o, "default/six").AddressType)
	require.Equal(t, discoveryv1.AddressTypeFQDN, objects.Get[discoveryv1.EndpointSlice](o, "default/names").AddressType)

	require.Equal(t, corev1.ProtocolTCP, objects.Get[corev1.Service](o, "default/s").Spec.Ports[0].Protocol)
	require.NotNil(t, objects.Get[corev1.Node](o, "n1"))
	require.ElementsMatch(t, []string{"default", "shop"}, indexer(o, "namespaces").ListKeys(), "those that objects are in exist")
	require.Equal(t, "z", objects.Get[corev1.Namespace](o, "default").Labels["x"])
}

func TestEndpointsAreMirrored(t *testing.T) {
	const endpoints = `
apiVersion: v1
kind: Service
metadata: {name: old, labels: {app: old}}
---
apiVersion: v1
kind: Endpoints
metadata: {name: old, labels: {team: a}, annotations: {note: x, endpoints.kubernetes.io/last-change-trigger-time: now}}
subsets:
- addresses:
  - {ip: 10.0.0.1, hostname: h, nodeName: n1, targetRef: {kind: Pod, name: p}}
  - {ip: "fd00::1"}
  notReadyAddresses: [{ip: 10.0.0.2}]
  ports: [{name: http, port: 8080}, {name: metrics, port: 9090, protocol: TCP, appProtocol: http}]
- addresses: [{ip: 10.0.0.3}]
  ports: [{name: http, port: 8081}]
- addresses: [{ip: 10.0.0.4}]
---
apiVersion: v1
kind: Pod
metadata: {name: p}
status: {podIP: 10.0.0.1}
`
	o := load(t, endpoints, samples.ServiceMonitor(`{selector: {matchLabels: {app: old}}, endpoints: [{port: http}]}`))
	_, groups, err := discovery.New(o, discovery.Options{}).Resolve()
	require.NoError(t, err)
	require.Equal(t, runtest.WantLines(`
		serviceMonitor/default/m/0 10.0.0.1:8080 endpoint=http job=old namespace=default pod=p service=old
		serviceMonitor/default/m/0 10.0.0.2:8080 endpoint=http job=old namespace=default service=old
		serviceMonitor/default/m/0 10.0.0.3:8081 endpoint=http job=old namespace=default service=old
		serviceMonitor/default/m/0 [fd00::1]:8080 endpoint=http job=old namespace=default service=old`), runtest.Lines(groups))

	slice := objects.Get[discoveryv1.EndpointSlice](o, "default/old-mirrored-0-ipv4")
	require.Equal(t, map[string]string{
		"team": "a", "kubernetes.io/service-name": "old",
		"endpointslice.kubernetes.io/managed-by": "endpointslicemirroring-controller.k8s.io",
	}, slice.Labels)
	require.Equal(t, map[string]string{"note": "x"}, slice.Annotations)
	require.True(t, *slice.Endpoints[0].Conditions.Ready)
	require.False(t, *slice.Endpoints[1].Conditions.Ready)
	require.Equal(t, "h", *slice.Endpoints[0].Hostname)
	require.Equal(t, "n1", *slice.Endpoints[0].NodeName)
	require.Equal(t, "http", *slice.Ports[1].AppProtocol)
	require.Len(t, o.SlicesOf("default/old"), 4)

	t.Run("not where the Service has slices", func(t *testing.T) {
		o := load(t, endpoints, `{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: own, labels: {kubernetes.io/service-name: old}}}`)
		require.Equal(t, []string{"default/own"}, indexer(o, "endpointslices.discovery.k8s.io").ListKeys())
	})
	t.Run("not where the label forbids it", func(t *testing.T) {
		o := load(t, strings.Replace(endpoints, "team: a", `endpointslice.kubernetes.io/skip-mirror: "true"`, 1))
		require.Empty(t, indexer(o, "endpointslices.discovery.k8s.io").ListKeys())
	})
}

func TestSameObjectTwice(t *testing.T) {
	parsed := func(path, text string) *file {
		objects, errs := parse(path, []byte(text), slog.New(slog.DiscardHandler))
		require.Empty(t, errs)
		return &file{path: path, objects: objects}
	}
	one := "apiVersion: v1\nkind: Service\nmetadata: {name: a, labels: {from: one}}\n"
	two := "# two\n---\napiVersion: v1\nkind: Service\nmetadata: {name: a, namespace: default, labels: {from: two}}\n---\n" +
		"apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: a}\n"
	set, problems := assemble([]*file{parsed("1.yaml", one), parsed("2.yaml", two)})
	require.Equal(t, []string{
		"2.yaml:3: Service default/a is in 1.yaml:1 already, which counts",
		"2.yaml:11: Pod default/a is in 2.yaml:7 already, which counts",
	}, problems)
	require.Equal(t, "one", set["Service"]["default/a"].GetLabels()["from"])
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(samples.Web))
	f.Add([]byte(samples.Rich))
	f.Add([]byte("apiVersion: v1\nkind: List\nitems:\n- &a {kind: Pod, apiVersion: v1, metadata: {name: x}}\n- *a\n"))
	f.Add([]byte("--- {a: b}\n--- [\n"))
	f.Add([]byte("apiVersion: monitoring.coreos.com/v1\nkind: ServiceMonitor\nmetadata: {name: m}\nspec: {endpoints: [{interval: 3}], x.y: 1}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		found, errs := parse("fuzz.yaml", data, slog.New(slog.DiscardHandler))
		lineCount := 1
		for _, end := range []string{"\n", "\r", "\u0085", "\u2028", "\u2029"} { // YAML has them all
			lineCount += strings.Count(string(data), end)
		}
		for _, e := range errs {
			if e.line < 1 || e.line > lineCount {
				t.Fatalf("line %d of %d: %v", e.line, lineCount, e.err)
			}
		}
		if len(errs) > 0 {
			return
		}
		set, _ := assemble([]*file{{path: "fuzz.yaml", objects: found}})
		o := objects.NewStore()
		set.store(o)
		// Whatever the objects are, they make targets or are rejected.
		if _, _, err := discovery.New(o, discovery.Options{Annotations: true}).Resolve(); err != nil {
			t.Fatal(err)
		}
	})
}
