package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/record"

	"github.com/promlet/promlet/discovery/monitors"
	"github.com/promlet/promlet/scrape"
)

// events returns a recorder of Events in the cluster, and a function that stops it. The
// recorder is nil without a cluster.
func (o *options) events(c *cluster) (recorder record.EventRecorder, stop func(), err error) {
	if c == nil {
		return nil, func() {}, nil
	}
	client, err := kubernetes.NewForConfig(c.config)
	if err != nil {
		return nil, nil, fmt.Errorf("make client of Events: %w", err)
	}
	broadcaster := record.NewBroadcaster()
	broadcaster.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: client.CoreV1().Events("")})
	return broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "promlet", Host: o.podName}), broadcaster.Shutdown, nil
}

// maxEventMessage is the API server's limit, in bytes.
const maxEventMessage = 1024

// eventMessage shortens a text to what an Event can hold.
func eventMessage(text string) string {
	if len(text) <= maxEventMessage {
		return text
	}
	return strings.ToValidUTF8(text[:maxEventMessage-len("...")], "") + "..."
}

const (
	// eventNamespaceOverruled is the reason of Events on monitors.
	eventNamespaceOverruled = "NamespaceOverruled"
	// overruledPeriod is the time between two looks.
	overruledPeriod = 10 * time.Second
	// overruledRepeat is when an API server deletes an Event.
	overruledRepeat = time.Hour
	// overruledAgain is the shortest time between two Events of a monitor that is mended
	// and overruled again.
	overruledAgain = 10 * time.Minute
)

// overruledEvents reports monitors whose series --enforce-namespace-label has given to
// their own namespace, in the log and as Events on them. Events are repeated until the
// monitor is mended.
type overruledEvents struct {
	foreign  func() map[string]scrape.Foreign
	monitors func() []monitors.Status
	events   record.EventRecorder // nil: only the log
	logger   *slog.Logger
	now      func() time.Time

	reported map[string]overruledMonitor // by monitor
}

// overruledMonitor is a monitor that was reported.
type overruledMonitor struct {
	at      time.Time // of the last Event
	current bool      // it is still overruled
}

func (a *app) overruledEvents() *overruledEvents {
	return &overruledEvents{foreign: a.scraper.Foreign, monitors: a.discoverer.Monitors, events: a.events, logger: a.logger, now: time.Now}
}

// run looks at the monitors until ctx is done.
func (o *overruledEvents) run(ctx context.Context) error {
	return every(ctx, overruledPeriod, o.look)
}

// every calls f once in each period, until ctx is done.
func every(ctx context.Context, period time.Duration, f func()) error {
	// It ends with ctx only.
	_ = wait.PollUntilContextCancel(ctx, period, false, func(context.Context) (bool, error) {
		f()
		return false, nil
	})
	return nil
}

// look reports monitors that are overruled now and were not at the last look, and repeats
// the Events of others.
func (o *overruledEvents) look() {
	now, before, foreign := o.now(), o.reported, o.foreign()
	o.reported = map[string]overruledMonitor{}
	all := o.monitors()
	for i := range all {
		m := &all[i]
		key := m.Key() + "/" + string(m.UID)
		was, known := before[key]
		of := overruledOf(m, foreign)
		if of.Series+of.Targets == 0 {
			if known && now.Sub(was.at) < overruledAgain {
				o.reported[key] = overruledMonitor{at: was.at}
			}
			continue
		}
		wait := overruledAgain
		if was.current {
			wait = overruledRepeat
		}
		if !known || now.Sub(was.at) >= wait {
			was.at = now
			o.report(m, of)
		}
		o.reported[key] = overruledMonitor{at: was.at, current: true}
	}
}

// overruledOf adds up what was overruled of a monitor's jobs.
func overruledOf(m *monitors.Status, foreign map[string]scrape.Foreign) (sum scrape.Foreign) {
	for _, job := range m.Jobs {
		if of := foreign[job]; of.Enforced {
			sum.Series += of.Series
			sum.Targets += of.Targets
		}
	}
	return sum
}

func (o *overruledEvents) report(m *monitors.Status, of scrape.Foreign) {
	o.logger.Warn("namespace label overruled", "kind", m.Kind, "namespace", m.Namespace, "name", m.Name, "targets", of.Targets, "series", of.Series)
	if o.events == nil || m.Origin != monitors.OriginCluster {
		return // there is no object
	}
	o.events.Event(&corev1.ObjectReference{
		APIVersion: monitoringv1.SchemeGroupVersion.String(), Kind: m.Kind, Namespace: m.Namespace, Name: m.Name, UID: m.UID,
	}, corev1.EventTypeWarning, eventNamespaceOverruled, eventMessage(fmt.Sprintf(
		"promlet enforces namespace=%q on %d targets and %d series to which namespaceSelector, relabelings, metricRelabelings or honorLabels give another: "+
			"put the monitor into the namespace of its targets, or exempt its own with --enforcement-exempt-namespaces",
		m.Namespace, of.Targets, of.Series)))
}
