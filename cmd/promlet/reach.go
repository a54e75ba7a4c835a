package main

import (
	"github.com/promlet/promlet/adapter"
	"github.com/promlet/promlet/discovery/monitors"
	"github.com/promlet/promlet/discovery/reach"
	"github.com/promlet/promlet/scrape"
)

// explaining returns what explanations read.
func (a *app) explaining() adapter.Explaining {
	return adapter.Explaining{
		Service: func(namespace, name string) adapter.Reach {
			return adapterReach(a.discoverer.ReachService(namespace, name))
		},
		Pod: func(namespace, name string) adapter.Reach {
			return adapterReach(a.discoverer.ReachPod(namespace, name))
		},
		ExposedBy: func(job string) []adapter.Exposed { return adapterExposed(a.scraper.CatalogOf(job)) },
		Problems:  a.source.Problems,
	}
}

func adapterReach(r reach.Report) adapter.Reach {
	reach := adapter.Reach{Counted: r.Counted}
	if r.Nearest != nil {
		reach.Nearest = r.Nearest.Kind + " " + r.Nearest.Name + ": " + r.Nearest.Reason
	}
	for i := range r.Monitors {
		m := &r.Monitors[i]
		reaching := adapter.Reaching{Kind: m.Kind, Namespace: m.Namespace, Name: m.Name, Err: m.Err}
		if m.Origin == monitors.OriginAnnotation {
			reaching.Kind = "annotated " + m.Kind
		}
		for _, j := range m.Jobs {
			reaching.Jobs = append(reaching.Jobs, adapter.ReachedJob{Name: j.Name, Targets: j.Targets, Missing: j.Missing})
		}
		reach.Monitors = append(reach.Monitors, reaching)
	}
	return reach
}

func adapterExposed(metrics []scrape.Metric) []adapter.Exposed {
	names := make([]adapter.Exposed, len(metrics))
	for i, m := range metrics {
		names[i] = adapter.Exposed{Name: m.Name, LabelNames: m.LabelNames, Type: m.Type}
	}
	return names
}
