package adapter

import (
	"cmp"
	"slices"
	"time"

	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/promlet/promlet/adapter/catalog"
	"github.com/promlet/promlet/adapter/rules"
	"github.com/promlet/promlet/adapter/values"
)

// UnmatchedRules returns each rule of the configuration that selects no series name: none
// that targets expose, none that is stored, and none of Options.Engine. It returns no rules
// until every target has been scraped and the engine's series have been listed since the
// rules came into force. It returns none without Options.Targets and Options.Engine.
func (p *Provider) UnmatchedRules() []rules.Unmatched {
	var found []rules.Unmatched
	for v := p.values; v != nil; v = v.Next {
		of, err := v.Catalog.UnmatchedRules(p.seenSince(v))
		if err != nil {
			v.Logger.Warn("could not find out which rules match no series", "err", err)
		}
		if v != p.values { // it must match nowhere
			of = slices.DeleteFunc(slices.Clone(of), func(r rules.Unmatched) bool {
				return !slices.ContainsFunc(found, func(f rules.Unmatched) bool { return f.Rule == r.Rule })
			})
		}
		found = of
	}
	return found
}

// seenSince returns a function that reports whether all series names have been read since a
// time.
func (p *Provider) seenSince(v *values.Evaluator) func(time.Time) bool {
	if v.Engine != nil {
		return p.engine.ListedSince
	}
	return v.Targets.ScrapedSince
}

// Shadowed returns a text for each metric that several rules make for the same objects from
// existing series: only one of the rules answers.
func (p *Provider) Shadowed() []string { return p.listing().Shadowed }

// listing returns the metrics of Options.DB and of Options.Engine.
func (p *Provider) listing() *catalog.Listing {
	listed := listingOf(p.values)
	if p.values.Next == nil {
		return listed
	}
	next := listingOf(p.values.Next)
	return &catalog.Listing{
		Custom: union(listed.Custom, next.Custom, func(a, b provider.CustomMetricInfo) int {
			return cmp.Or(cmp.Compare(a.GroupResource.String(), b.GroupResource.String()), cmp.Compare(a.Metric, b.Metric))
		}),
		External: union(listed.External, next.External, func(a, b provider.ExternalMetricInfo) int { return cmp.Compare(a.Metric, b.Metric) }),
		Shadowed: union(listed.Shadowed, next.Shadowed, cmp.Compare[string]),
	}
}

func union[T comparable](a, b []T, compare func(a, b T) int) []T {
	all := slices.Concat(a, b)
	slices.SortFunc(all, compare)
	return slices.Compact(all)
}

func listingOf(v *values.Evaluator) *catalog.Listing {
	listed, err := v.Catalog.List()
	if err != nil {
		v.Logger.Warn("answering discovery from the last list of metrics", "err", err)
	}
	return listed
}
