package embedded

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/record"

	"github.com/promlet/promlet/adapter/rules"
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
