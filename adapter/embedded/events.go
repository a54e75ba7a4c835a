package embedded

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/record"

	"github.com/promlet/promlet/discovery/monitors"
	"github.com/promlet/promlet/scrape"
)

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
	// overruledPeriod is the time between two checks of the monitors.
	overruledPeriod = 10 * time.Second
	// overruledRepeat is the time after which an API server deletes an Event.
	overruledRepeat = time.Hour
	// overruledAgain is the shortest time between two Events on a monitor that is corrected
	// and then overruled again.
	overruledAgain = 10 * time.Minute
)

// overruledEvents reports monitors whose series are in the monitor's own namespace only because
// the namespace label is enforced. It reports them in the log and as Events on the monitors, and
// repeats Events until the monitor is corrected.
type overruledEvents struct {
	foreign  func() map[string]scrape.Foreign
	monitors func() []monitors.Status
	exempt   string               // name of the setting that exempts namespaces
	events   record.EventRecorder // nil: only the log
	logger   *slog.Logger
	now      func() time.Time

	reported map[string]overruledMonitor // by monitor
}

// overruledMonitor is a monitor that was reported.
type overruledMonitor struct {
	at      time.Time // of the last Event
	current bool      // whether it was overruled at the last check
}

func (p *Promlet) overruledEvents() *overruledEvents {
	return &overruledEvents{
		foreign: p.Scraper.Foreign, monitors: p.Discoverer.Monitors, exempt: p.opts.Names.EnforcementExempt,
		events: p.opts.Events, logger: p.opts.Logger, now: p.opts.Now,
	}
}

// run checks the monitors until ctx is done.
func (o *overruledEvents) run(ctx context.Context) error {
	return every(ctx, overruledPeriod, o.look)
}

// look reports monitors that have become overruled since the last check, and repeats the Events
// on others.
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

// overruledOf adds up the overruled series and targets of a monitor's jobs.
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
		return // no object to write an Event on
	}
	o.events.Event(&corev1.ObjectReference{
		APIVersion: monitoringv1.SchemeGroupVersion.String(), Kind: m.Kind, Namespace: m.Namespace, Name: m.Name, UID: m.UID,
	}, corev1.EventTypeWarning, eventNamespaceOverruled, eventMessage(fmt.Sprintf(
		"promlet enforces namespace=%q on %d targets and %d series to which namespaceSelector, relabelings, metricRelabelings or honorLabels give another: "+
			"put the monitor into the namespace of its targets, or exempt its own with %s",
		m.Namespace, of.Targets, of.Series, o.exempt)))
}
