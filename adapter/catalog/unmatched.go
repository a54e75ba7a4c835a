package catalog

import (
	"context"
	"slices"
	"time"

	"github.com/promlet/promlet/adapter/rules"
)

// unmatched are the rules of the configuration that take no series that exists.
type unmatched struct {
	loaded  time.Time // when the rules came into force
	scraped time.Time // when all targets were found to have been scraped since; zero before
	made    uint64    // version of the mappings that these are of
	rules   []rules.Unmatched
}

// UnmatchedRules returns the rules of the configuration that take no series name that
// targets expose or that is stored. It returns none until every target has been scraped
// since the rules came into force, which scraped reports. While it is finding out what
// has changed, and with an error, it returns what it knew before.
func (c *Catalog) UnmatchedRules(scraped func(since time.Time) bool) ([]rules.Unmatched, error) {
	ctx, cancel := context.WithTimeout(context.Background(), readTimeout)
	defer cancel()
	known, todo, err := c.unexplained(ctx, scraped)
	if err != nil || todo == nil {
		return known, err
	}
	// Finding the closest names takes a while; meanwhile values are asked for.
	found := make([]rules.Unmatched, len(todo.rules))
	for i, r := range todo.rules {
		found[i] = r.Unmatched(todo.names)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.unmatched.made == todo.version {
		c.unmatched.rules = found
	}
	return found, nil
}

// unexplained are rules that take none of the names, as of a version of the mappings.
type unexplained struct {
	rules   []*rules.Compiled
	names   []string
	version uint64
}

// unexplained returns the unmatched rules that are known, and those to be explained anew,
// nil where nothing has changed.
func (c *Catalog) unexplained(ctx context.Context, scraped func(since time.Time) bool) (known []rules.Unmatched, todo *unexplained, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	u := &c.unmatched
	if !slices.ContainsFunc(c.rules, func(r *rules.Compiled) bool { return !r.ByDefault() }) {
		return nil, nil, nil
	}
	if u.scraped.IsZero() {
		if !scraped(u.loaded) {
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
	matched := map[*rules.Compiled]bool{}
	for _, of := range c.mappings {
		for _, m := range of {
			matched[m.Rule] = true
		}
	}
	todo = &unexplained{names: c.allNames(), version: c.version}
	for _, r := range c.rules {
		if !r.ByDefault() && !matched[r] {
			todo.rules = append(todo.rules, r)
		}
	}
	return u.rules, todo, nil
}
