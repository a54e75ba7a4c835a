package catalog

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/promlet/promlet/adapter/rules"
)

// unmatched are the rules of the configuration that take no series that exists.
type unmatched struct {
	mu      sync.Mutex
	loaded  time.Time // when the rules came into force
	scraped time.Time // when all targets were found to have been scraped since; zero before
	version uint64    // of the mappings that rules were found by
	rules   []rules.Unmatched
}

// UnmatchedRules returns the rules of the configuration that take no series name that
// targets expose or that is stored. It returns none until every target has been scraped
// since the rules came into force, which scraped reports. With an error it returns what it
// knew before.
func (c *Catalog) UnmatchedRules(scraped func(since time.Time) bool) ([]rules.Unmatched, error) {
	u := &c.unmatched
	u.mu.Lock()
	defer u.mu.Unlock()
	inForce, loaded := c.inForce()
	if loaded != u.loaded {
		u.loaded, u.scraped, u.version, u.rules = loaded, time.Time{}, 0, nil
	}
	inForce = slices.DeleteFunc(slices.Clone(inForce), (*rules.Compiled).ByDefault)
	if len(inForce) == 0 {
		return nil, nil
	}
	if u.scraped.IsZero() {
		if !scraped(loaded) {
			return nil, nil
		}
		u.scraped = c.now()
	}
	ctx, cancel := context.WithTimeout(context.Background(), readTimeout)
	defer cancel()
	mappings, err := c.Mappings(ctx)
	if err != nil {
		return u.rules, err
	}
	names, version, isNew := c.namesSince(u.scraped, u.version)
	if !isNew {
		return u.rules, nil
	}
	matched := map[*rules.Compiled]bool{}
	for _, of := range mappings {
		for _, m := range of {
			matched[m.Rule] = true
		}
	}
	u.rules, u.version = nil, version
	for _, r := range inForce {
		if !matched[r] {
			// Finding the closest name takes a while; c.mu is not held for it.
			u.rules = append(u.rules, r.Unmatched(names))
		}
	}
	return u.rules, nil
}

func (c *Catalog) inForce() ([]*rules.Compiled, time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rules, c.loaded
}

// namesSince returns the series names, and the version of the mappings made of them. isNew
// is false if the names were last read before the time, or if their version is the known one.
func (c *Catalog) namesSince(at time.Time, known uint64) (names []string, version uint64, isNew bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.viewAt.Before(at) || c.view.version == known {
		return nil, known, false
	}
	return c.view.all, c.view.version, true
}
