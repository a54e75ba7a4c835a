package adapter

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
)

// unmatched are the rules of the configuration that take no series there is.
type unmatched struct {
	loaded  time.Time // when the rules came into force
	scraped time.Time // when it was found that all targets had been scraped since; zero before
	made    uint64    // version of the candidates that these are of
	rules   []UnmatchedRule
}

// UnmatchedRule is a rule of the configuration that takes no series there is.
type UnmatchedRule struct {
	// Rule is where the configuration has it, such as rules[3].
	Rule string
	// Why says what keeps it from taking any.
	Why string
	// Closest is the name that comes nearest to one that it asks for, if any does.
	Closest string

	api api
}

func (r UnmatchedRule) String() string {
	if r.Closest == "" {
		return r.Rule + ": " + r.Why
	}
	return fmt.Sprintf("%s: %s (closest: %s)", r.Rule, r.Why, r.Closest)
}

// UnmatchedRules tells of each rule of the configuration that no series is for, by name,
// that targets expose or that is stored, with the name that comes nearest. It tells
// nothing before every target has been scraped once since the rules are in force, nor
// where Options.Targets is nil.
func (p *Provider) UnmatchedRules() []UnmatchedRule {
	ctx, cancel := context.WithTimeout(context.Background(), listTimeout)
	defer cancel()
	found, err := p.catalog.unmatchedRules(ctx, p.scrapes.targets)
	if err != nil {
		p.logger.Warn("which rules match no series is not known anew", "err", err)
	}
	return found
}

// unmatchedRules returns what it knew before with an error.
func (c *catalog) unmatchedRules(ctx context.Context, targets func() []Target) ([]UnmatchedRule, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	u := &c.unmatched
	if !slices.ContainsFunc(c.rules, func(r *rule) bool { return !r.byDefault }) {
		return nil, nil
	}
	if u.scraped.IsZero() {
		if all := targets(); len(all) == 0 || slices.ContainsFunc(all, func(t Target) bool { return !t.LastScrape.After(u.loaded) }) {
			return nil, nil
		}
		u.scraped = c.now()
	}
	if err := c.refresh(ctx); err != nil {
		return u.rules, err
	}
	// What those scrapes found must be among the names.
	if c.namesAt.Before(u.scraped) || u.made == c.version {
		return u.rules, nil
	}
	u.made, u.rules = c.version, nil
	taken := map[*rule]bool{}
	for _, candidates := range c.byMetric {
		for _, cand := range candidates {
			taken[cand.rule] = true
		}
	}
	names := c.allNames()
	for _, r := range c.rules {
		if !r.byDefault && !taken[r] {
			u.rules = append(u.rules, r.unmatched(names))
		}
	}
	return u.rules, nil
}

// unmatched tells what keeps the rule from taking any of the names.
func (r *rule) unmatched(names []string) UnmatchedRule {
	found := UnmatchedRule{Rule: r.String(), api: r.api}
	onName := onName(r.matchers)
	// Others than valid names no rule takes.
	names = slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !model.LegacyValidation.IsValidMetricName(name) })
	selected := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !matchesName(onName, name) })
	passed := slices.DeleteFunc(slices.Clone(selected), func(name string) bool {
		return slices.ContainsFunc(r.filters, func(f nameFilter) bool { return f.re.MatchString(name) != f.want })
	})
	switch {
	case len(selected) == 0:
		found.Why = fmt.Sprintf("seriesQuery %q matches no series", r.SeriesQuery)
		found.Closest = closest(names, mentioned(onName)...)
	case len(passed) == 0:
		found.Why = fmt.Sprintf("seriesQuery %q matches series, such as %s, but seriesFilters leave none of them", r.SeriesQuery, selected[0])
	default:
		found.Why = fmt.Sprintf("seriesQuery %q matches series, such as %s, but name.matches %q gives none of them a name", r.SeriesQuery, passed[0], r.Name.Matches)
	}
	return found
}

// mentioned are names that matchers ask for, or examples of them.
func mentioned(onName []*labels.Matcher) (names []string) {
	for _, m := range onName {
		switch m.Type {
		case labels.MatchEqual:
			names = append(names, m.Value)
		case labels.MatchRegexp:
			if name := shortest(m.Value); name != "" && model.LegacyValidation.IsValidMetricName(name) {
				names = append(names, name)
			}
		}
	}
	return names
}
