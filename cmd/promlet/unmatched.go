package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/tools/record"

	"github.com/promlet/promlet/adapter/rules"
)

const (
	// eventRuleUnmatched is the reason of Events on promlet's own Pod.
	eventRuleUnmatched = "RuleMatchesNothing"
	// unmatchedPeriod is how often rules are looked at.
	unmatchedPeriod = 10 * time.Second
	// unmatchedRepeat is how often a rule gets its Event again: an API server forgets
	// them after an hour.
	unmatchedRepeat = time.Hour
	// maxUnmatchedEvents is how many rules at a time get an Event of their own. client-go
	// drops those of an object that gets more than 25.
	maxUnmatchedEvents = 10
)

// ruleTeller tells of rules that match no series: when one begins not to, in the log and
// as an Event, and as an Event again for as long as it lasts.
type ruleTeller struct {
	unmatched func() []rules.Unmatched
	// pod is promlet's own; nil when there is none.
	pod    func() *corev1.ObjectReference
	events record.EventRecorder // nil: none
	logger *slog.Logger
	now    func() time.Time

	told map[string]time.Time // when a rule last got an Event, by rule and reason
}

func (a *app) ruleTeller() *ruleTeller {
	return &ruleTeller{
		unmatched: a.unmatched, pod: a.ownPod, events: a.events, logger: a.logger, now: time.Now, told: map[string]time.Time{},
	}
}

// run looks at the rules until ctx is done.
func (r *ruleTeller) run(ctx context.Context) error {
	ticker := time.NewTicker(unmatchedPeriod)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			r.look()
		}
	}
}

// look tells what is new since the last look, and repeats what is old.
func (r *ruleTeller) look() {
	now, before := r.now(), r.told
	r.told = map[string]time.Time{}
	var texts []string
	for _, rule := range r.unmatched() {
		key := rule.Rule + rule.Why // the closest name may change
		at, known := before[key]
		if !known {
			r.logger.Warn("a rule matches no series", "rule", rule.Rule, "reason", rule.Why, "closest", rule.Closest)
		}
		if !known || now.Sub(at) >= unmatchedRepeat {
			at = now
			texts = append(texts, rule.String())
		}
		r.told[key] = at
	}
	r.record(texts)
}

// record makes the Events, one for all that are too many.
func (r *ruleTeller) record(texts []string) {
	if r.events == nil || len(texts) == 0 {
		return
	}
	pod := r.pod()
	if pod == nil {
		return
	}
	if more := len(texts) - maxUnmatchedEvents; more > 0 {
		texts = append(texts[:maxUnmatchedEvents:maxUnmatchedEvents], fmt.Sprintf("%d more rules match no series: the log and the status page tell which", more))
	}
	for _, text := range texts {
		r.events.Event(pod, corev1.EventTypeWarning, eventRuleUnmatched, shortened(text))
	}
}

// ownPod finds the Pod that promlet runs in, nil where it runs in none.
func (a *app) ownPod() *corev1.ObjectReference {
	if a.cluster == nil {
		return nil
	}
	pods, ok := a.objects.Lister(corev1.Resource("pods"))
	if !ok {
		return nil
	}
	found, err := pods.ByNamespace(a.cluster.namespace).Get(a.opts.podName)
	if err != nil {
		return nil // a cache has no other error than that there is none
	}
	pod, err := meta.Accessor(found)
	if err != nil {
		return nil
	}
	return &corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: pod.GetNamespace(), Name: pod.GetName(), UID: pod.GetUID()}
}
