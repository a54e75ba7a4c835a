package discovery

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	config_util "github.com/prometheus/common/config"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"

	"github.com/promlet/promlet/discovery/monitors"
	"github.com/promlet/promlet/discovery/objects"
	"github.com/promlet/promlet/scrape"
)

// The namespaces of two tenants, which run the same things. The monitors are the attacker's.
const attacker, victim = "attacker", "victim"

// forgery is what an attacker chooses.
type forgery struct {
	choices                           uint64 // of the monitors, bit by bit
	regex, target, replacement, label string // words of the relabelings
	body                              string
}

// choose takes a number below n off the choices.
func (f *forgery) choose(n uint64) uint64 {
	chosen := f.choices % n
	f.choices /= n
	return chosen
}

func (f *forgery) yes() bool { return f.choose(2) == 1 }

// rules are a few relabelings of every kind.
func (f *forgery) rules() (rules []monitoringv1.RelabelConfig) {
	source := []monitoringv1.LabelName{monitoringv1.LabelName(f.label)}
	for range f.choose(4) {
		rules = append(rules, []monitoringv1.RelabelConfig{
			{TargetLabel: f.target, Replacement: &f.replacement},
			{SourceLabels: source, Regex: f.regex, TargetLabel: f.target, Replacement: &f.replacement},
			{Action: "labelmap", Regex: f.regex, Replacement: &f.replacement},
			{Action: "labeldrop", Regex: f.regex},
			{Action: "labelkeep", Regex: f.regex + "|__.*|job|instance"},
			{Action: "lowercase", SourceLabels: source, TargetLabel: f.target},
			{Action: "hashmod", SourceLabels: source, TargetLabel: f.target, Modulus: 2},
			{Action: "keepequal", SourceLabels: source, TargetLabel: f.target},
		}[f.choose(8)])
	}
	return rules
}

// monitors are a ServiceMonitor and a PodMonitor.
func (f *forgery) monitors() (*monitoringv1.ServiceMonitor, *monitoringv1.PodMonitor) {
	meta := metav1.ObjectMeta{Namespace: attacker, Name: "m"}
	namespaces := []monitoringv1.NamespaceSelector{{}, {Any: true}, {MatchNames: []string{victim}}, {MatchNames: []string{attacker, victim}}}[f.choose(4)]
	mechanism := []monitoringv1.SelectorMechanism{monitoringv1.SelectorMechanismRelabel, monitoringv1.SelectorMechanismRole}[f.choose(2)]
	honor, more := f.yes(), []string{"", "namespace", f.label}[f.choose(3)]
	var copied []string
	if more != "" {
		copied = []string{more}
	}
	endpoint := monitoringv1.Endpoint{Port: "web", HonorLabels: honor, RelabelConfigs: f.rules(), MetricRelabelConfigs: f.rules()}
	ofService := &monitoringv1.ServiceMonitor{ObjectMeta: meta, Spec: monitoringv1.ServiceMonitorSpec{
		NamespaceSelector: namespaces, SelectorMechanism: &mechanism, JobLabel: more, TargetLabels: copied, PodTargetLabels: copied,
		Endpoints: []monitoringv1.Endpoint{endpoint},
	}}
	ofPod := &monitoringv1.PodMonitor{ObjectMeta: meta, Spec: monitoringv1.PodMonitorSpec{
		NamespaceSelector: namespaces, SelectorMechanism: &mechanism, JobLabel: more, PodTargetLabels: copied,
		PodMetricsEndpoints: []monitoringv1.PodMetricsEndpoint{{
			Port: &endpoint.Port, HonorLabels: honor, RelabelConfigs: endpoint.RelabelConfigs, MetricRelabelConfigs: endpoint.MetricRelabelConfigs,
		}},
	}}
	return ofService, ofPod
}

// tenants are the objects of both tenants, and the monitors. The attacker's labels and
// annotations claim to be the victim's.
func (f *forgery) tenants(t *testing.T) *objects.Store {
	store := objects.NewStore()
	add := func(resource, group string, object any) {
		indexer, ok := store.Indexer(schema.GroupResource{Resource: resource, Group: group})
		require.True(t, ok)
		require.NoError(t, indexer.Add(object))
	}
	for i, namespace := range []string{attacker, victim} {
		meta := func(name string) metav1.ObjectMeta {
			return metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{
				"namespace": victim, "exported_namespace": victim, discoveryv1.LabelServiceName: "app",
			}}
		}
		ip := fmt.Sprintf("10.0.0.%d", i+1)
		pod := &corev1.Pod{ObjectMeta: meta("app-0"), Status: corev1.PodStatus{PodIP: ip}}
		pod.Spec.Containers = []corev1.Container{{Name: "app", Ports: []corev1.ContainerPort{{Name: "web", ContainerPort: 80}}}}
		add("pods", "", pod)
		add("services", "", &corev1.Service{ObjectMeta: meta("app")})
		add("endpointslices", discoveryv1.GroupName, &discoveryv1.EndpointSlice{
			ObjectMeta: meta("app-1"), AddressType: discoveryv1.AddressTypeIPv4,
			Ports:     []discoveryv1.EndpointPort{{Name: ptr.To("web"), Port: ptr.To[int32](80)}},
			Endpoints: []discoveryv1.Endpoint{{Addresses: []string{ip}, TargetRef: &corev1.ObjectReference{Kind: "Pod", Namespace: namespace, Name: "app-0"}}},
		})
	}
	annotated := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: attacker, Name: "annotated", Labels: map[string]string{"namespace": victim}, Annotations: map[string]string{
		"prometheus.io/scrape": "true", "prometheus.io/port": "80", "prometheus.io/path": "/forged",
	}}, Status: corev1.PodStatus{PodIP: "10.0.0.3"}}
	add("pods", "", annotated)
	ofService, ofPod := f.monitors()
	add(monitoringv1.ServiceMonitorName, monitoringv1.SchemeGroupVersion.Group, ofService)
	add(monitoringv1.PodMonitorName, monitoringv1.SchemeGroupVersion.Group, ofPod)
	return store
}

// body is served to every request, whatever the address.
type forgedBody struct {
	server *httptest.Server
	text   atomic.Pointer[string]
}

func newForgedBody(t testing.TB) *forgedBody {
	b := &forgedBody{}
	b.text.Store(new(string))
	b.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		text := *b.text.Load()
		if strings.HasSuffix(text, "# EOF\n") {
			w.Header().Set("Content-Type", "application/openmetrics-text; version=1.0.0")
		} else {
			w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		}
		_, _ = w.Write([]byte(text)) // the client may have gone
	}))
	t.Cleanup(b.server.Close)
	return b
}

func (b *forgedBody) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "tcp", b.server.Listener.Addr().String())
}

// stored collects the labels of all series that were appended.
type storedSeries struct {
	mtx  sync.Mutex
	last storage.SeriesRef
	all  []labels.Labels
}

func (s *storedSeries) AppenderV2(context.Context) storage.AppenderV2 { return s }
func (s *storedSeries) Commit() error                                 { return nil }
func (s *storedSeries) Rollback() error                               { return nil }

func (s *storedSeries) Append(ref storage.SeriesRef, lset labels.Labels, _, _ int64, _ float64, _ *histogram.Histogram, _ *histogram.FloatHistogram, _ storage.AOptions) (storage.SeriesRef, error) {
	s.mtx.Lock()
	defer s.mtx.Unlock()
	s.all = append(s.all, lset)
	if ref == 0 {
		s.last++
		ref = s.last
	}
	return ref, nil
}

// attempt discovers and scrapes what the attacker made, as cmd/promlet puts the two together.
// It returns the series of other namespaces than the attacker's, and the groups of targets in them.
func (f forgery) attempt(t *testing.T, from *forgedBody, of monitors.Enforcement, ignoreSelectors bool) (series []labels.Labels, groups []string) {
	from.text.Store(&f.body)
	d := New(f.tenants(t), Options{
		Annotations: true, Enforcement: of, IgnoreNamespaceSelectors: ignoreSelectors,
		ScrapeInterval: time.Hour, ScrapeTimeout: 10 * time.Second,
	})
	configs, found, err := d.Resolve()
	require.NoError(t, err)
	for job, in := range found {
		require.Contains(t, []string{"", attacker}, monitors.NamespaceOf(job))
		for _, g := range in {
			if strings.Split(g.Source, "/")[1] != attacker {
				groups = append(groups, g.Source)
			}
		}
	}
	stored := &storedSeries{}
	scraper, err := scrape.NewManager(scrape.Options{
		Appendable: stored, Namespace: of.Namespace, HTTPClientOptions: []config_util.HTTPClientOption{config_util.WithDialContextFunc(from.dial)},
	})
	require.NoError(t, err)
	_ = scraper.Apply(configs, found) // relabelings make targets that cannot be
	active := 0
	for _, targets := range scraper.TargetsActive() {
		active += len(targets)
	}
	require.Positive(t, active, "the annotated Pod is always scraped")
	for len(scraper.LastSamples()) < active {
		time.Sleep(time.Millisecond)
	}
	scraper.Stop()
	for _, lset := range stored.all {
		if lset.Get("namespace") != attacker {
			series = append(series, lset)
		}
	}
	return series, groups
}

// forgeries are ways that work where nothing is enforced.
func forgeries() map[string]forgery {
	const forged = "loot{namespace=\"victim\"} 1\n"
	replace := forgery{regex: "(.*)", target: "namespace", replacement: victim, label: "pod", body: "loot 1\n"}
	with := func(f forgery, choices ...uint64) forgery { // of (number, out of)
		f.choices = 0
		for i := len(choices) - 2; i >= 0; i -= 2 {
			f.choices = f.choices*choices[i+1] + choices[i]
		}
		return f
	}
	// In the order of monitors(): namespaceSelector, mechanism, honorLabels, labels to copy, and
	// then the numbers and kinds of relabelings and metricRelabelings.
	return map[string]forgery{
		"honorLabels":       with(forgery{body: forged}, 0, 4, 0, 2, 1, 2),
		"namespaceSelector": with(forgery{body: "loot 1\n"}, 1, 4, 0, 2, 0, 2),
		"targetLabels":      with(forgery{body: "loot 1\n"}, 0, 4, 0, 2, 0, 2, 1, 3),
		"relabelings":       with(replace, 0, 4, 0, 2, 0, 2, 0, 3, 1, 4, 1, 8),
		"metricRelabelings": with(replace, 0, 4, 0, 2, 0, 2, 0, 3, 0, 4, 1, 4, 0, 8),
		"dropped":           with(forgery{regex: "namespace", body: "loot 1\n"}, 0, 4, 0, 2, 0, 2, 0, 3, 0, 4, 1, 4, 3, 8),
		"exported":          with(forgery{regex: "exported_(.*)", replacement: "$1", body: forged}, 0, 4, 0, 2, 0, 2, 0, 3, 0, 4, 1, 4, 2, 8),
		"openmetrics":       with(forgery{body: "# TYPE loot gauge\n" + forged + "# EOF\n"}, 0, 4, 0, 2, 1, 2),
	}
}

// What the fuzz target starts from works without the flags, and does not with them.
func TestForgeries(t *testing.T) {
	from := newForgedBody(t)
	for name, f := range forgeries() {
		series, _ := f.attempt(t, from, monitors.Enforcement{}, false)
		require.NotEmpty(t, series, name)
		series, groups := f.attempt(t, from, monitors.Enforcement{Enabled: true}, true)
		require.Empty(t, series, name)
		require.Empty(t, groups, name)
	}
}

// FuzzIsolation scrapes a body as monitors of an attacker ask for. Where the label is
// enforced all that is stored is of the attacker's namespace, and where selectors of
// namespaces are ignored so are all targets.
func FuzzIsolation(f *testing.F) {
	for _, of := range forgeries() {
		for ignore := range uint64(2) {
			f.Add(of.choices, ignore == 1, of.regex, of.target, of.replacement, of.label, of.body)
		}
	}
	from := newForgedBody(f)
	f.Fuzz(func(t *testing.T, choices uint64, ignore bool, regex, target, replacement, label, body string) {
		made := forgery{choices: choices, regex: regex, target: target, replacement: replacement, label: label, body: body}
		series, groups := made.attempt(t, from, monitors.Enforcement{Enabled: true, Exempt: []string{victim}}, ignore)
		require.Empty(t, series)
		if ignore {
			require.Empty(t, groups)
		}
	})
}
