package scrape

import (
	"errors"
	"fmt"
	"hash/fnv"
	"reflect"
	"time"

	"github.com/prometheus/common/model"
	promscrape "github.com/prometheus/prometheus/scrape"

	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/model/labels"
)

// candidate is a target that is to have a loop.
type candidate struct {
	*promscrape.Target
	// key is the target's identity within its job: all its labels and its URL.
	key uint64
	// public hashes the labels that its series carry: loops of a job that agree
	// in it write the same synthetic series.
	public   uint64
	url      string
	settings targetSettings
	// What it was made of, for the pages that show labels before relabelling.
	own, group model.LabelSet
}

// maxTargetErrors is how many targets of a job that cannot be made are named.
const maxTargetErrors = 3

// candidatesOf gives the targets of a group that relabelling keeps, and what is
// wrong with those that cannot be made. before are those of the group in whose place
// it comes, made under the same settings: of label sets that are the very same, they
// are not made again.
func candidatesOf(g *targetgroup.Group, cfg *config.ScrapeConfig, b *labels.Builder, before []candidate) (cs []candidate, errs []error) {
	made := make(map[[2]uintptr]*candidate, len(before))
	for i := range before {
		made[identity(before[i].own, before[i].group)] = &before[i]
	}
	for i, own := range g.Targets {
		if c := made[identity(own, g.Labels)]; c != nil {
			cs = append(cs, *c)
			continue
		}
		c, err := candidateOf(own, g.Labels, cfg, b)
		if err != nil {
			errs = append(errs, bounded(fmt.Errorf("target %d of group %s: %w", i, g, err)))
		} else if c.Target != nil {
			cs = append(cs, c)
		}
	}
	return cs, errs
}

// identity tells label sets from others that are equal to them.
func identity(own, group model.LabelSet) [2]uintptr {
	return [2]uintptr{reflect.ValueOf(own).Pointer(), reflect.ValueOf(group).Pointer()}
}

// candidateOf makes one target; without a Target relabelling dropped it.
func candidateOf(own, group model.LabelSet, cfg *config.ScrapeConfig, b *labels.Builder) (candidate, error) {
	lset, err := promscrape.PopulateLabels(b, cfg, own, group)
	if err != nil || lset.IsEmpty() {
		return candidate{}, err
	}
	if lset.Get(unixSocketLabel) != "" {
		return candidate{}, errors.New("unix sockets are not supported")
	}
	t := promscrape.NewTarget(lset, cfg, own, group)
	s, err := settingsOf(t)
	if err != nil {
		return candidate{}, err
	}
	u := t.URL().String()
	return candidate{
		Target: t, key: keyOf(lset, u), public: t.Labels(b).Hash(), url: u, settings: s, own: own, group: group,
	}, nil
}

// keyOf hashes a target's labels and URL. It is the same after a restart, as the
// moments at which a target is scraped depend on it.
func keyOf(lset labels.Labels, url string) uint64 {
	h := fnv.New64a()
	// Writing to a hash does not fail.
	_, _ = fmt.Fprintf(h, "%016x", lset.Hash())
	_, _ = h.Write([]byte(url))
	return h.Sum64()
}

// offset is the time from now to the target's next turn: the key says where in
// each interval, counted from the epoch, that is.
func offset(key uint64, interval time.Duration, now time.Time) time.Duration {
	turn := time.Duration(key % uint64(interval)) //nolint:gosec // Below interval.
	wait := turn - time.Duration(now.UnixNano()%int64(interval))
	if wait < 0 {
		wait += interval
	}
	return wait
}
