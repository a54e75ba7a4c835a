package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/record"

	"github.com/promlet/promlet/adapter/rules"
	"github.com/promlet/promlet/discovery/objects"
)

func TestUnmatchedEvents(t *testing.T) {
	events := record.NewFakeRecorder(100)
	var log bytes.Buffer
	now := time.Now()
	var unmatched []rules.Unmatched
	pod := &corev1.ObjectReference{Kind: "Pod", Namespace: "promlet", Name: "promlet-1"}
	r := &unmatchedEvents{
		unmatched: func() []rules.Unmatched { return unmatched },
		pod:       func() *corev1.ObjectReference { return pod },
		events:    events, logger: slog.New(slog.NewTextHandler(&log, nil)), now: func() time.Time { return now },
	}
	look := func(want ...string) {
		t.Helper()
		r.look()
		var got []string
		for len(events.Events) > 0 {
			got = append(got, strings.TrimPrefix(<-events.Events, "Warning RuleMatchesNothing "))
		}
		require.Equal(t, want, got)
	}
	look()
	a, b := rules.Unmatched{Rule: "rules[1]", Why: "a"}, rules.Unmatched{Rule: "rules[2]", Why: "b"}
	unmatched = []rules.Unmatched{a}
	look("rules[1]: a")
	a.Closest = "x"
	unmatched = []rules.Unmatched{a, b}
	look("rules[2]: b")
	now = now.Add(unmatchedRepeat - time.Second)
	look()
	now = now.Add(time.Second)
	look("rules[1]: a (closest: x)", "rules[2]: b")
	require.Equal(t, 2, strings.Count(log.String(), "rule matches no series"), "each once: %s", &log)

	unmatched = []rules.Unmatched{b}
	look() // a has matched
	unmatched = []rules.Unmatched{a, b}
	look("rules[1]: a (closest: x)")

	unmatched = nil
	for i := range maxUnmatchedEvents + 3 {
		unmatched = append(unmatched, rules.Unmatched{Rule: fmt.Sprintf("externalRules[%d]", i), Why: strings.Repeat("é", maxEventMessage)})
	}
	r.look()
	require.Len(t, events.Events, maxUnmatchedEvents+1)
	for range maxUnmatchedEvents {
		require.LessOrEqual(t, len(<-events.Events), len("Warning RuleMatchesNothing ")+maxEventMessage)
	}
	require.Contains(t, <-events.Events, "3 more rules match no series")
	look()

	// Where there is no Pod, or no cluster, the log tells it.
	log.Reset()
	unmatched, pod = []rules.Unmatched{{Rule: "rules[7]"}}, nil
	look()
	r.events, unmatched = nil, []rules.Unmatched{{Rule: "rules[8]"}}
	look()
	require.Equal(t, 2, strings.Count(log.String(), "rule matches no series"))
}

func TestOwnPod(t *testing.T) {
	store := objects.NewStore()
	pods, ok := store.Indexer(corev1.Resource("pods"))
	require.True(t, ok)
	require.NoError(t, pods.Add(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "promlet", Name: "promlet-1", UID: "u"}}))
	opts := newOptions()
	opts.podName = "promlet-1"
	a := &app{opts: opts, objects: store, cluster: &cluster{namespace: "promlet"}}
	require.Equal(t, &corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: "promlet", Name: "promlet-1", UID: "u"}, a.ownPod())
	opts.podName = "laptop"
	require.Nil(t, a.ownPod())
	a.cluster = nil
	require.Nil(t, a.ownPod())
}

// A whole process tells of a rule that matches nothing, and not of the one that does.
func TestServeTellsOfUnmatchedRules(t *testing.T) {
	manifests, config := t.TempDir(), filepath.Join(t.TempDir(), "config.yaml")
	writeManifests(t, manifests, map[string]string{"app-1": counting(t, 10)})
	require.NoError(t, os.WriteFile(config, []byte(gaugeRules("queue_depth", "queue_dept")), 0o600))
	p := startProcess(t, manifests, t.TempDir(), "--config", config)
	p.eventuallyOn("/", `<a href="/configuration#rules%5B1%5D">rules[1]: seriesQuery "queue_dept" matches no series (closest: queue_depth)`)
	require.NotContains(t, p.page("/"), "rules[0]")
	require.Contains(t, p.page("/configuration"), `id="rules[1]"`, "the link leads to the rule")
	require.Contains(t, p.page("/metrics"), `promlet_rules_unmatched{api="custom"} 1`)
	require.Contains(t, p.page("/metrics"), "promlet_problems 1")
	p.eventually("pods/*/queue_depth", "app-1=3")

	require.NoError(t, os.WriteFile(config, []byte(gaugeRules("queue_depth")), 0o600))
	require.Eventually(t, func() bool { return strings.Contains(p.page("/metrics"), "promlet_problems 0") }, patience, 100*time.Millisecond)
	require.NoError(t, p.terminate())
}

// gaugeRules serves gauges under their own names.
func gaugeRules(series ...string) string {
	config := "rules:\n"
	for _, s := range series {
		config += fmt.Sprintf("- seriesQuery: %s\n  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}\n", s) +
			"  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)\n"
	}
	return config
}
