package embedded

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/record"

	"github.com/promlet/promlet/adapter/rules"
)

const (
	// eventRuleUnmatched is the reason of Events on promlet's own Pod.
	eventRuleUnmatched = "RuleMatchesNothing"
	// unmatchedPeriod is the time between two checks of the rules.
	unmatchedPeriod = 10 * time.Second
	// unmatchedRepeat is the time after which an API server deletes an Event.
	unmatchedRepeat = time.Hour
	// maxUnmatchedEvents is how many rules get an Event of their own at a time. client-go
	// drops the Events of one object after 25.
	maxUnmatchedEvents = 10
)

// unmatchedEvents reports rules that match no series, in the log and as Events on
// promlet's own Pod. Events are repeated until the rule matches.
type unmatchedEvents struct {
	unmatched func() []rules.Unmatched
	// pod returns promlet's own Pod, nil when there is none.
	pod    func() *corev1.ObjectReference
	events record.EventRecorder // nil: only the log
	logger *slog.Logger
	now    func() time.Time

	reported map[string]time.Time // last Event, by rule and reason
}

func (p *Promlet) unmatchedEvents() *unmatchedEvents {
	return &unmatchedEvents{unmatched: p.Provider.UnmatchedRules, pod: p.ownPod, events: p.opts.Events, logger: p.opts.Logger, now: p.opts.Now}
}

// run checks the rules until ctx is done.
func (u *unmatchedEvents) run(ctx context.Context) error {
	return every(ctx, unmatchedPeriod, u.look)
}

// look reports new unmatched rules and repeats the Events of old ones.
func (u *unmatchedEvents) look() {
	now, before := u.now(), u.reported
	u.reported = map[string]time.Time{}
	var texts []string
	for _, rule := range u.unmatched() {
		key := rule.Rule + rule.Why // the closest name may change
		at, known := before[key]
		if !known {
			u.logger.Warn("rule matches no series", "rule", rule.Rule, "reason", rule.Why, "closest", rule.Closest)
		}
		if !known || now.Sub(at) >= unmatchedRepeat {
			at = now
			texts = append(texts, rule.String())
		}
		u.reported[key] = at
	}
	u.record(texts)
}

// record makes an Event for each text; those above the limit share one.
func (u *unmatchedEvents) record(texts []string) {
	if u.events == nil || len(texts) == 0 {
		return
	}
	pod := u.pod()
	if pod == nil {
		return
	}
	if more := len(texts) - maxUnmatchedEvents; more > 0 {
		texts = append(texts[:maxUnmatchedEvents:maxUnmatchedEvents], fmt.Sprintf("%d more rules match no series: see the log or the status page", more))
	}
	for _, text := range texts {
		u.events.Event(pod, corev1.EventTypeWarning, eventRuleUnmatched, eventMessage(text))
	}
}
