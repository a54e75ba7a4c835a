package embedded

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/promlet/promlet/adapter/objects"
	"github.com/promlet/promlet/adapter/resourcemetrics"
	"github.com/promlet/promlet/discovery/kubelets"
	"github.com/promlet/promlet/scrape"
	"github.com/promlet/promlet/scrape/sink"
	"github.com/promlet/promlet/scrape/targeterrors"
)

// openKubelets makes the job that scrapes kubelets and the Store of what they report, if the Options ask for them.
func (p *Promlet) openKubelets() (err error) {
	if p.opts.Kubelets == nil {
		return nil
	}
	if p.kubelets, err = kubelets.New(*p.opts.Kubelets); err != nil {
		return err
	}
	p.reported = resourcemetrics.NewStore(resourcemetrics.Options{
		Resolution: time.Duration(p.kubelets.Config.ScrapeInterval),
		Now:        p.opts.Now,
	})
	return nil
}

// samplesPerContainer is how many samples of each container the sink wants: CPU, memory, swap and start time.
const samplesPerContainer = 4

// kubeletSink puts what kubelets report into the Store. Series that resourceRules read are also written to the database.
func (p *Promlet) kubeletSink() sink.Sink {
	wanted, logger := resourcemetrics.Names(), p.opts.Logger.With("component", "kubelets")
	return sink.Sink{
		Wanted: func(name string) bool { return slices.Contains(wanted, name) },
		Stored: func(name string) bool {
			d := p.demanded.Load()
			return d != nil && d.OfKubelets(name)
		},
		Scraped: func(target labels.Labels, _ time.Time, samples []sink.Sample) {
			var batch resourcemetrics.Batch
			batch.Grow(len(samples) / samplesPerContainer)
			for _, s := range samples {
				batch.Add(s.Labels, s.Time.UnixMilli(), s.Value)
			}
			node := target.Get(string(kubelets.NodeLabel))
			if err := p.reported.Put(node, &batch); err != nil {
				logger.Warn("a kubelet's report is not used", slog.String("node", node), slog.Any("err", err))
			}
		},
		Failed: func(target labels.Labels, _ time.Time, err error) {
			node := target.Get(string(kubelets.NodeLabel))
			p.reported.Failed(node, kubeletError{node, err})
		},
	}
}

// kubeletError is the error of a scrape of a kubelet. Its text is for users.
type kubeletError struct {
	node string
	err  error
}

// Error implements error. The text leaves out the node, which the caller names.
func (e kubeletError) Error() string {
	return strings.TrimPrefix(targeterrors.PublicKubelet(e.node, e.err), "kubelet of node "+e.node+": ")
}

// Unwrap returns the error of the scrape.
func (e kubeletError) Unwrap() error { return e.err }

// setNodes tells the Store which kubelets are scraped.
func (p *Promlet) setNodes(groups map[string][]*targetgroup.Group) {
	if p.reported != nil {
		p.reported.SetNodes(nodesOf(groups))
	}
}

// nodesOf returns the names of the nodes whose kubelets are targets.
func nodesOf(groups map[string][]*targetgroup.Group) (names []string) {
	for _, g := range groups[kubelets.JobName] {
		names = append(names, strings.TrimPrefix(g.Source, kubelets.GroupPrefix))
	}
	return names
}

// noteKubeletsJob notes why no kubelet is scraped, if applied is the error of scraping that says so. It is tried again, and
// the files that the job names are read then.
func (p *Promlet) noteKubeletsJob(groups map[string][]*targetgroup.Group, applied error) {
	joined, ok := applied.(interface{ Unwrap() []error })
	if p.reported == nil || !ok || len(p.Scraper.TargetsActive()[kubelets.JobName]) > 0 {
		return
	}
	for _, err := range joined.Unwrap() {
		if of, ok := errors.AsType[*scrape.JobError](err); ok && of.Job == kubelets.JobName {
			for _, node := range nodesOf(groups) {
				p.reported.Failed(node, kubeletError{node, of.Err})
			}
		}
	}
}

// maxNodesNamed is how many nodes a problem names.
const maxNodesNamed = 5

// kubeletProblem returns a text with the nodes whose kubelets cannot be scraped, and the reason of the first one. It is
// empty if all can be scraped.
func (p *Promlet) kubeletProblem() string {
	if p.reported == nil {
		return ""
	}
	failing, all := p.reported.Failing()
	unreachable := p.Discoverer.UnreachableNodes()
	maps.Copy(failing, unreachable)
	if len(failing) == 0 {
		return ""
	}
	nodes := slices.Sorted(maps.Keys(failing))
	named := strings.Join(nodes[:min(len(nodes), maxNodesNamed)], ", ")
	if more := len(nodes) - maxNodesNamed; more > 0 {
		named += fmt.Sprintf(" and %d more", more)
	}
	text := fmt.Sprintf("%d of %d kubelets cannot be scraped", len(nodes), all+len(unreachable))
	if len(nodes) > 1 {
		text += " (of nodes " + named + ")"
	}
	return fmt.Sprintf("%s: node %s: %v", text, nodes[0], failing[nodes[0]])
}

// Objects returns the current objects of a resource that is watched.
func (p *Promlet) Objects() objects.Lister { return p.objects.Lister }
