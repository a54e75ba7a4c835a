package embedded

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/tools/record"

	"github.com/promlet/promlet/discovery/monitors"
	"github.com/promlet/promlet/scrape"
)

func TestOverruledEvents(t *testing.T) {
	events := record.NewFakeRecorder(100)
	var log bytes.Buffer
	now := time.Now()
	const job = "serviceMonitor/a/m/0"
	all := []monitors.Status{
		{Kind: "ServiceMonitor", Namespace: "a", Name: "m", Origin: monitors.OriginCluster, Jobs: []string{job, "serviceMonitor/a/m/1"}},
		{Kind: "ServiceMonitor", Namespace: "default", Name: "inline", Origin: monitors.OriginInline, Jobs: []string{"serviceMonitor/default/inline/0"}},
	}
	foreign := map[string]scrape.Foreign{"serviceMonitor/a/m/1": {Enforced: true}}
	o := &overruledEvents{
		foreign:  func() map[string]scrape.Foreign { return foreign },
		monitors: func() []monitors.Status { return all },
		events:   events, logger: slog.New(slog.NewTextHandler(&log, nil)), now: func() time.Time { return now },
	}
	look := func(after time.Duration, want ...string) {
		t.Helper()
		now = now.Add(after)
		o.look()
		var got []string
		for len(events.Events) > 0 {
			text, _, _ := strings.Cut(strings.TrimPrefix(<-events.Events, "Warning NamespaceOverruled promlet enforces "), " to which")
			got = append(got, text)
		}
		require.Equal(t, want, got)
	}
	look(0)
	foreign[job] = scrape.Foreign{Series: 3, Example: "b"}
	look(overruledPeriod) // it is not enforced: the metric says so
	foreign[job] = scrape.Foreign{Series: 3, Targets: 1, Enforced: true}
	foreign["serviceMonitor/default/inline/0"] = scrape.Foreign{Series: 1, Enforced: true}
	look(overruledPeriod, `namespace="a" on 1 targets and 3 series`)
	foreign[job] = scrape.Foreign{Series: 4, Targets: 1, Enforced: true}
	look(overruledPeriod) // numbers may change
	look(overruledRepeat, `namespace="a" on 1 targets and 4 series`)
	mended := scrape.Foreign{Enforced: true}
	foreign[job] = mended
	look(overruledPeriod)
	foreign[job] = scrape.Foreign{Series: 1, Enforced: true}
	look(overruledPeriod) // it comes and goes
	look(overruledRepeat, `namespace="a" on 0 targets and 1 series`)
	foreign[job] = mended
	look(overruledPeriod)
	look(overruledAgain)
	foreign[job] = scrape.Foreign{Series: 1, Enforced: true}
	look(overruledPeriod, `namespace="a" on 0 targets and 1 series`)
	all[0].UID = "made anew"
	look(overruledPeriod, `namespace="a" on 0 targets and 1 series`)
	require.Contains(t, log.String(), "name=inline")
	all = nil
	look(overruledAgain)
	require.Empty(t, o.reported)
}
