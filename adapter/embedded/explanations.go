package embedded

import (
	"github.com/promlet/promlet/adapter/catalog"
	"github.com/promlet/promlet/adapter/explain"
	"github.com/promlet/promlet/discovery/monitors"
	"github.com/promlet/promlet/discovery/reach"
)

// explaining returns the options of the Explainer.
func (p *Promlet) explaining() explain.Options {
	options := explain.Options{Problems: p.opts.Source.Problems, OtherShards: p.OtherShards}
	if p.opts.Engine != nil {
		options.EngineTargets, options.ListProblem = p.opts.Engine.Targets, p.opts.Engine.ListProblem
	}
	if p.kubelets != nil {
		options.Unreachable = func(node string) error { return p.Discoverer.UnreachableNodes()[node] }
	}
	if p.opts.scrapes() {
		p.explainScraping(&options)
	}
	return options
}

// explainScraping adds the options about monitors and targets.
func (p *Promlet) explainScraping(options *explain.Options) {
	options.Service = func(namespace, name string) explain.Reach {
		return explainedReach(p.Discoverer.ReachService(namespace, name))
	}
	options.Pod = func(namespace, name string) explain.Reach {
		return explainedReach(p.Discoverer.ReachPod(namespace, name))
	}
	options.ExposedBy = func(job string) []catalog.Exposed { return p.exposedNames(p.Scraper.CatalogOf(job)) }
	options.Dropped, options.NotStored, options.OutOfBounds = p.Scraper.DroppedOf, p.notStored, p.Scraper.OutOfBounds
}

func explainedReach(r reach.Report) explain.Reach {
	reach := explain.Reach{Counted: r.Counted, Labels: r.Labels}
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
