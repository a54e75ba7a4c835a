package scrape

import (
	"errors"
	"fmt"
	"hash/fnv"
	"reflect"

	"github.com/prometheus/common/model"
	promscrape "github.com/prometheus/prometheus/scrape"

	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/promlet/promlet/scrape/internal/reason"
)

// discovered is a target that discovery has found and relabelling keeps.
type discovered struct {
	target *promscrape.Target
	// key identifies the target within its job: it hashes all labels and the URL.
	key uint64
	// public hashes the labels that the target's series carry: loops of a job for which
	// it is the same write the same synthetic series.
	public   uint64
	url      string
	settings targetSettings
	foreign  bool // relabelling would have given it to another namespace
	// The label sets before relabelling, for the status pages.
	own, group model.LabelSet
}

// maxTargetErrors is how many invalid targets of a job an error names.
const maxTargetErrors = 3

// discover returns the targets of a group that relabelling keeps, and the errors of
// those that cannot be made. before are the targets of the group that this one replaces,
// made under the same settings: a target is reused if its label sets are the same maps.
func discover(g *targetgroup.Group, cfg *config.ScrapeConfig, pin namespacePin, b *labels.Builder, before []discovered) (targets []discovered, errs []error) {
	made := make(map[[2]uintptr]*discovered, len(before))
	for i := range before {
		made[identity(before[i].own, before[i].group)] = &before[i]
	}
	for i, own := range g.Targets {
		if t := made[identity(own, g.Labels)]; t != nil {
			targets = append(targets, *t)
			continue
		}
		t, err := discoverTarget(own, g.Labels, cfg, pin, b)
		if err != nil {
			errs = append(errs, reason.Bounded(fmt.Errorf("target %d of group %s: %w", i, g, err)))
		} else if t.target != nil {
			targets = append(targets, t)
		}
	}
	return targets, errs
}

// identity distinguishes label sets that are equal but not the same maps.
func identity(own, group model.LabelSet) [2]uintptr {
	return [2]uintptr{reflect.ValueOf(own).Pointer(), reflect.ValueOf(group).Pointer()}
}

// discoverTarget makes one target. Its target is nil if relabelling drops it.
func discoverTarget(own, group model.LabelSet, cfg *config.ScrapeConfig, pin namespacePin, b *labels.Builder) (discovered, error) {
	lset, foreign, err := pin.populate(b, cfg, own, group)
	if err != nil || lset.IsEmpty() {
		return discovered{}, err
	}
	if lset.Get(unixSocketLabel) != "" {
		return discovered{}, errors.New("unix sockets are not supported")
	}
	t := promscrape.NewTarget(lset, cfg, own, group)
	s, err := settingsOf(t)
	if err != nil {
		return discovered{}, err
	}
	u := t.URL().String()
	return discovered{
		target: t, key: keyOf(lset, u), public: t.Labels(b).Hash(), url: u, settings: s, foreign: foreign, own: own, group: group,
	}, nil
}

// keyOf hashes a target's labels and URL. The key is the same after a restart, because
// the times at which a target is scraped depend on it.
func keyOf(lset labels.Labels, url string) uint64 {
	h := fnv.New64a()
	// Writing to a hash does not fail.
	_, _ = fmt.Fprintf(h, "%016x", lset.Hash())
	_, _ = h.Write([]byte(url))
	return h.Sum64()
}
