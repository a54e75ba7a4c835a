package adapter

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider"
)

// listing is what the APIs list.
type listing struct {
	custom   []provider.CustomMetricInfo
	external []provider.ExternalMetricInfo
	shadows  []string // metrics that several rules make for an object, an example of each pair
}

// list returns every metric, of every resource. When it cannot be made it
// returns the last that could.
func (c *catalog) list() (*listing, error) {
	c.listMu.Lock()
	defer c.listMu.Unlock()
	now := c.now()
	if age := now.Sub(c.listAt); c.listed != nil && age >= 0 && age < listMaxAge {
		return c.listed, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), listTimeout)
	defer cancel()
	listed, err := c.makeList(ctx)
	if err == nil {
		c.listed, c.listAt = listed, now
		return listed, nil
	}
	if c.listed == nil {
		return &listing{}, fmt.Errorf("list metrics: %w", err)
	}
	return c.listed, fmt.Errorf("list metrics: %w", err)
}

func (c *catalog) makeList(ctx context.Context) (*listing, error) {
	byMetric, err := c.all(ctx)
	if err != nil {
		return nil, err
	}
	custom := map[provider.CustomMetricInfo]candidate{}
	external := map[provider.ExternalMetricInfo]bool{}
	both := map[[2]*rule]string{}
	for metric, candidates := range byMetric {
		for _, cand := range candidates {
			names, err := c.listedLabels(ctx, cand)
			if err != nil {
				return nil, err
			}
			if metric.api == externalAPI && len(names) > 0 {
				external[provider.ExternalMetricInfo{Metric: metric.name}] = true
			}
			if metric.api != customAPI {
				continue
			}
			for _, label := range names {
				k, ok := cand.assoc.kind(label)
				if !ok {
					continue
				}
				info := provider.CustomMetricInfo{GroupResource: k.GroupResource, Namespaced: k.Namespaced, Metric: metric.name}
				switch first, known := custom[info]; {
				case !known:
					custom[info] = cand
				case first.rule != cand.rule:
					pair := [2]*rule{first.rule, cand.rule}
					text := fmt.Sprintf("%s is made by %s of %s and by %s of %s: the former answers where it can", metric.name, first.rule, first.series, cand.rule, cand.series)
					if example, told := both[pair]; !told || text < example {
						both[pair] = text
					}
				}
			}
		}
	}
	return &listing{
		custom:   slices.SortedFunc(maps.Keys(custom), compareInfo),
		external: slices.SortedFunc(maps.Keys(external), func(a, b provider.ExternalMetricInfo) int { return strings.Compare(a.Metric, b.Metric) }),
		shadows:  slices.Sorted(maps.Values(both)),
	}, nil
}

// listedLabels returns the label names of a candidate for the list: as its targets
// expose it now, or as it is stored.
func (c *catalog) listedLabels(ctx context.Context, cand candidate) ([]string, error) {
	c.mu.Lock()
	names, ok := c.labels[cand.series]
	c.mu.Unlock()
	if !ok {
		return c.labelNames(ctx, cand)
	}
	for _, m := range cand.matchers {
		if m.Name != model.MetricNameLabel && !mayMatch(m, slices.Contains(names, m.Name)) {
			return nil, nil
		}
	}
	return names, nil
}

// mayMatch tells whether a matcher can take a series that has, or has not, its
// label.
func mayMatch(m *labels.Matcher, has bool) bool {
	if !has {
		return m.Matches("")
	}
	return m.Type != labels.MatchEqual || m.Value != ""
}

func compareInfo(a, b provider.CustomMetricInfo) int {
	return slices.Compare(
		[]string{a.GroupResource.String(), a.Metric},
		[]string{b.GroupResource.String(), b.Metric})
}
