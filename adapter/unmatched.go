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

// unmatchedRules returns what it knew before with an error, and while it finds out what
// has changed.
func (c *catalog) unmatchedRules(ctx context.Context, targets func() []Target) ([]UnmatchedRule, error) {
	known, of, err := c.toJudge(ctx, targets)
	if err != nil || of == nil {
		return known, err
	}
	// To find the closest names takes a while, in which values are asked for.
	found := make([]UnmatchedRule, len(of.rules))
	for i, r := range of.rules {
		found[i] = r.unmatched(of.names)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.unmatched.made == of.version {
		c.unmatched.rules = found
	}
	return found, nil
}

// judged are the rules that take none of the names, as of a version of the names.
type judged struct {
	rules   []*rule
	names   []string
	version uint64
}

// toJudge returns what is known of rules that match nothing, and what is to be found out
// anew, nil for nothing.
func (c *catalog) toJudge(ctx context.Context, targets func() []Target) (known []UnmatchedRule, of *judged, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	u := &c.unmatched
	if !slices.ContainsFunc(c.rules, func(r *rule) bool { return !r.byDefault() }) {
		return nil, nil, nil
	}
	if u.scraped.IsZero() {
		if all := targets(); len(all) == 0 || slices.ContainsFunc(all, func(t Target) bool { return !t.LastScrape.After(u.loaded) }) {
			return nil, nil, nil
		}
		u.scraped = c.now()
	}
	if err := c.refresh(ctx); err != nil {
		return u.rules, nil, err
	}
	// What those scrapes found must be among the names.
	if c.namesAt.Before(u.scraped) || u.made == c.version {
		return u.rules, nil, nil
	}
	u.made = c.version
	taken := map[*rule]bool{}
	for _, candidates := range c.byMetric {
		for _, cand := range candidates {
			taken[cand.rule] = true
		}
	}
	of = &judged{names: c.allNames(), version: c.version}
	for _, r := range c.rules {
		if !r.byDefault() && !taken[r] {
			of.rules = append(of.rules, r)
		}
	}
	return u.rules, of, nil
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
