package main

import (
	"github.com/promlet/promlet/adapter/catalog"
	"github.com/promlet/promlet/adapter/explain"
	"github.com/promlet/promlet/discovery/monitors"
	"github.com/promlet/promlet/discovery/reach"
	"github.com/promlet/promlet/scrape"
)

// explaining returns what explanations read.
func (a *app) explaining() explain.Options {
	return explain.Options{
		Service: func(namespace, name string) explain.Reach {
			return adapterReach(a.discoverer.ReachService(namespace, name))
		},
		Pod: func(namespace, name string) explain.Reach {
			return adapterReach(a.discoverer.ReachPod(namespace, name))
		},
		ExposedBy:   func(job string) []catalog.Exposed { return a.adapterExposed(a.scraper.CatalogOf(job)) },
		NotStored:   a.notStored,
		OtherShards: a.otherShards,
		Problems:    a.source.Problems,
	}
}

func adapterReach(r reach.Report) explain.Reach {
	reach := explain.Reach{Counted: r.Counted}
	if r.Nearest != nil {
		reach.Nearest = r.Nearest.Kind + " " + r.Nearest.Name + ": " + r.Nearest.Reason
	}
	for i := range r.Monitors {
		m := &r.Monitors[i]
		reaching := explain.Reaching{Kind: m.Kind, Namespace: m.Namespace, Name: m.Name, Err: m.Err}
		if m.Origin == monitors.OriginAnnotation {
			reaching.Kind = "annotated " + m.Kind
		}
		for _, j := range m.Jobs {
			reaching.Jobs = append(reaching.Jobs, explain.ReachedJob{Name: j.Name, Targets: j.Targets, Missing: j.Missing})
		}
		reach.Monitors = append(reach.Monitors, reaching)
	}
	return reach
}

func (a *app) adapterExposed(metrics []scrape.Metric) []catalog.Exposed {
	names := make([]catalog.Exposed, len(metrics))
	enforcement, only := a.opts.enforcement(), ""
	for i := range metrics {
		m := &metrics[i]
		if i == 0 || m.Job != metrics[i-1].Job {
			namespace, enforced := enforcement.Namespace(m.Job)
			if only = ""; enforced {
				only = namespace
			}
		}
		names[i] = catalog.Exposed{Name: m.Name, LabelNames: m.LabelNames, Type: m.Type, Only: only}
	}
	return names
}
