package catalog

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/promlet/promlet/adapter/rules"
)

const (
	// listMaxAge bounds how old the APIs' discovery document may be. It is fetched over
	// and over, and making it reads the labels of everything.
	listMaxAge = 10 * time.Second
	// readTimeout keeps discovery answering well within the aggregator's 5 s.
	readTimeout = 3 * time.Second
)

// Listing is what the APIs list.
type Listing struct {
	Custom   []provider.CustomMetricInfo
	External []provider.ExternalMetricInfo
	// Shadowed are metrics that several rules make for the same objects out of series
	// that exist, with an example for each pair of rules. Only one of them answers.
	Shadowed []string
}

// List returns every metric, of every resource. With an error it returns the last listing
// that could be made.
func (c *Catalog) List() (*Listing, error) {
	c.listMu.Lock()
	defer c.listMu.Unlock()
	now := c.now()
	if age := now.Sub(c.listAt); c.listed != nil && age >= 0 && age < listMaxAge {
		return c.listed, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), readTimeout)
	defer cancel()
	listed, err := c.makeListing(ctx)
	if err == nil {
		c.listed, c.listAt = listed, now
		return listed, nil
	}
	return cmp.Or(c.listed, &Listing{}), fmt.Errorf("list metrics: %w", err)
}

func (c *Catalog) makeListing(ctx context.Context) (*Listing, error) {
	mappings, err := c.Mappings(ctx)
	if err != nil {
		return nil, err
	}
	custom := map[provider.CustomMetricInfo]Mapping{}
	external := map[provider.ExternalMetricInfo]bool{}
	shadowed := map[[2]*rules.Compiled]string{}
	for metric, of := range mappings {
		for _, m := range of {
			names, err := c.listedLabels(ctx, m)
			if err != nil {
				return nil, err
			}
			if metric.API == rules.ExternalAPI {
				if len(names) > 0 {
					external[provider.ExternalMetricInfo{Metric: metric.Name}] = true
				}
				continue
			}
			for _, label := range names {
				k, ok := m.Rule.Kind(label)
				if !ok {
					continue
				}
				info := provider.CustomMetricInfo{GroupResource: k.GroupResource, Namespaced: k.Namespaced, Metric: metric.Name}
				first, known := custom[info]
				if !known {
					custom[info] = m
				} else if first.shadows(m) {
					pair := [2]*rules.Compiled{first.Rule, m.Rule}
					text := fmt.Sprintf("%s is made by %s of %s and by %s of %s: the former answers where it can", metric.Name, first.Rule, first.Series, m.Rule, m.Series)
					if example, known := shadowed[pair]; !known || text < example {
						shadowed[pair] = text
					}
				}
			}
		}
	}
	return &Listing{
		Custom: slices.SortedFunc(maps.Keys(custom), func(a, b provider.CustomMetricInfo) int {
			return cmp.Or(cmp.Compare(a.GroupResource.String(), b.GroupResource.String()), cmp.Compare(a.Metric, b.Metric))
		}),
		External: slices.SortedFunc(maps.Keys(external), func(a, b provider.ExternalMetricInfo) int { return cmp.Compare(a.Metric, b.Metric) }),
		Shadowed: slices.Sorted(maps.Values(shadowed)),
	}, nil
}

// listedLabels returns the label names of a mapping's series: as targets expose them now,
// or as they are stored.
func (c *Catalog) listedLabels(ctx context.Context, m Mapping) ([]string, error) {
	names, ok := c.Exposure().Labels[m.Series]
	if !ok {
		return c.LabelNames(ctx, m)
	}
	if _, ok := m.Rule.Takes(names); !ok {
		return nil, nil
	}
	return names, nil
}

// shadows reports whether m keeps a later mapping of the same metric from answering. It does
// not if both are default rules of one series: they answer in different namespaces, by type.
func (m Mapping) shadows(other Mapping) bool {
	return m.Rule != other.Rule && (m.Series != other.Series || !other.Rule.ByDefault())
}
