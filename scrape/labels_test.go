package scrape

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/prometheus/prometheus/discovery/targetgroup"
)

// ofNamespace says that the series of every job should be of namespace own.
func ofNamespace(enforced bool) func(*Options) {
	return func(o *Options) {
		o.Namespace = func(string) (string, bool) { return "own", enforced }
	}
}

// forging are rules that take the namespace from wherever the target wants, and enforcing
// are those with the ones that enforce it.
const (
	forging = `
honor_labels: true
relabel_configs:
- {source_labels: [wanted], regex: (.+), target_label: namespace}
ENFORCE
metric_relabel_configs:
- {source_labels: [to], regex: (.+), target_label: namespace}
- {regex: to, action: labeldrop}
- {source_labels: [__name__], regex: dropped, action: drop}
ENFORCE`
	forgedBody = "plain 1\nhonored{namespace=\"a\"} 1\nrelabelled{to=\"b\"} 1\ndropped{namespace=\"c\"} 1\nmine{namespace=\"own\"} 1\n"
)

// forgingLoop is a loop that serves the bodies to the rules.
func forgingLoop(t *testing.T, enforced bool, target model.LabelSet, bodies ...string) (*loop, *recorder) {
	t.Helper()
	server, r, rules := serveSequence(t, textType, bodies...), &recorder{}, ""
	if enforced {
		rules = "- {target_label: namespace, replacement: own}"
	}
	target = target.Merge(model.LabelSet{model.AddressLabel: model.LabelValue(addressOf(server.Server)), "namespace": "own"})
	return testLoop(t, newManager(t, r, ofNamespace(enforced)), jobOf(t, strings.ReplaceAll(forging, "ENFORCE", rules)), target), r
}

// scraped scrapes, and returns the namespaces that series were stored under and what is foreign.
func (l *loop) scraped(r *recorder) (namespaces map[string]string, of Foreign) {
	l.scrape(time.Now().Add(time.Duration(len(r.all())) * time.Second))
	namespaces = map[string]string{}
	all := r.all()
	for _, s := range all[len(all)-1] {
		namespaces[s.name()] = s.lset.Get(namespaceLabel)
	}
	l.foreign.addTo(&of)
	return namespaces, of
}

func TestForeignSeries(t *testing.T) {
	l, r := forgingLoop(t, false, nil, forgedBody, "honored{namespace=\"a\"} 1\n")
	namespaces, foreign := l.scraped(r)
	require.Equal(t, Foreign{Series: 2, Example: "b"}, foreign, "that which relabelling drops does not count")
	for name, want := range map[string]string{"plain": "own", "honored": "a", "relabelled": "b", "mine": "own", "up": "own", "dropped": ""} {
		require.Equal(t, want, namespaces[name], name)
	}
	_, foreign = l.scraped(r)
	require.Equal(t, 1, foreign.Series, "what is exposed no longer does not count")
}

func TestEnforcedNamespace(t *testing.T) {
	l, r := forgingLoop(t, true, model.LabelSet{"wanted": "victim"}, forgedBody, "plain 1\n")
	namespaces, foreign := l.scraped(r)
	require.Equal(t, Foreign{Series: 2, Targets: 1}, foreign)
	require.Contains(t, namespaces, "honored")
	for name, namespace := range namespaces {
		require.Equal(t, "own", namespace, name)
	}
	require.Equal(t, "own", l.target.GetValue(namespaceLabel))
	_, foreign = l.scraped(r)
	require.Equal(t, Foreign{Targets: 1}, foreign, "its series have ended")
}

// Nothing is remembered of series that enforcement does not change.
func TestEnforcementThatChangesNothing(t *testing.T) {
	l, r := forgingLoop(t, true, nil, "plain 1\nmine{namespace=\"own\"} 1\n")
	_, foreign := l.scraped(r)
	require.Equal(t, Foreign{}, foreign)
	require.Nil(t, l.foreign.overruled)
}

// A label that relabelling drops is given back.
func TestEnforcedNamespaceThatIsDropped(t *testing.T) {
	l, r := forgingLoop(t, true, nil, "honored{namespace=\"\"} 1\n")
	namespaces, foreign := l.scraped(r)
	require.Equal(t, "own", namespaces["honored"])
	require.Equal(t, 1, foreign.Series)
}

// By job: what the Manager shows, exports, and knows of a series.
func TestForeignByJob(t *testing.T) {
	registry := prometheus.NewRegistry()
	server := serveSequence(t, textType, "x{namespace=\"a\"} 1\n")
	r := &recorder{}
	m := newManager(t, r, ofNamespace(false), func(o *Options) { o.Registerer = registry })
	cfg := jobConfig("j", slow)
	cfg.HonorLabels = true
	target := model.LabelSet{model.AddressLabel: model.LabelValue(addressOf(server.Server)), "namespace": "own"}
	require.NoError(t, m.Apply(one(cfg), groups("j", &targetgroup.Group{Source: "s", Targets: []model.LabelSet{target}})))
	eventually(t, func() bool { return testutil.ToFloat64(m.metrics.succeeded) > 0 }, "it is scraped")
	require.Equal(t, map[string]Foreign{"j": {Series: 1, Example: "a"}}, m.Foreign())
	require.NoError(t, testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP promlet_scrape_foreign_namespace_series Series stored with the label namespace of another namespace than their monitor's, by job.
# TYPE promlet_scrape_foreign_namespace_series gauge
promlet_scrape_foreign_namespace_series{job="j"} 1
`), "promlet_scrape_foreign_namespace_series"))

	body, _ := split(r.all()[0])
	source, known := m.Source(body[0].lset)
	require.True(t, known)
	require.Equal(t, []string{"j", "own"}, []string{source.Target.Job, source.Target.Namespace})
	require.NoError(t, m.Apply(nil, nil))
	require.Empty(t, m.Foreign())
}
