package catalog

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/promlet/promlet/adapter/rules"
)

const (
	// namesMaxAge bounds how long a new series name stays unknown. Reading the names is
	// cheap: it copies the index's list of them.
	namesMaxAge = time.Second
	// viewShare bounds the part of the time in which views are made: a tenth.
	viewShare = 10
	// viewMaxAge is how old a view is at most when the next one is made. It goes on
	// answering for as long again.
	viewMaxAge = 10 * time.Second
	// checkEvery is the number of names between two looks at a context.
	checkEvery = 256
)

// view is what is known of the names of series at one time. It never changes.
type view struct {
	names          []string // in the index
	all            []string // in the index, or exposed; sorted
	exposedVersion uint64
	labels         map[string][]string // of what targets expose, by series name
	limited        map[string]bool     // names that only jobs of one namespace expose
	types          *typeTable          // likewise
	mappings       map[rules.Metric][]Mapping
	rulesVersion   uint64 // of the rules that mappings were made of
	version        uint64 // counts the changes of mappings
}

// refresh makes a new view when the last one is old. While another goroutine does so, it
// leaves the last one in place, unless it was made of other rules or is much too old.
func (c *Catalog) refresh(ctx context.Context) error {
	if c.viewIsFresh() {
		return nil
	}
	select {
	case c.refreshing <- struct{}{}:
	default:
		if c.viewIsUsable() {
			return nil
		}
		select {
		case c.refreshing <- struct{}{}:
		case <-ctx.Done():
			return fmt.Errorf("read series names: %w", ctx.Err())
		}
	}
	defer func() { <-c.refreshing }()
	if c.viewIsFresh() {
		return nil
	}
	now, begun := c.now(), time.Now()
	c.mu.Lock()
	last, compiled, version := c.view, c.rules, c.rulesVersion
	c.mu.Unlock()
	next, err := c.nextView(ctx, last, compiled, version)
	if err != nil {
		return fmt.Errorf("read series names: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.view, c.viewAt, c.viewTook = next, now, time.Since(begun)
	if next != last {
		maps.DeleteFunc(c.queries, func(m Mapping, _ map[string]Query) bool {
			_, exists := slices.BinarySearch(next.all, m.Series)
			return !exists || !slices.Contains(compiled, m.Rule)
		})
	}
	return nil
}

// viewIsFresh reports whether the view needs not be made anew.
func (c *Catalog) viewIsFresh() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.younger(max(namesMaxAge, min(viewShare*c.viewTook, viewMaxAge)))
}

// viewIsUsable reports whether the view may answer while the next one is made.
func (c *Catalog) viewIsUsable() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.younger(2 * viewMaxAge)
}

// younger reports whether the view is made of the rules in force and is younger than that.
// c.mu is held.
func (c *Catalog) younger(than time.Duration) bool {
	age := c.now().Sub(c.viewAt)
	return c.view.mappings != nil && c.view.rulesVersion == c.rulesVersion && age >= 0 && age < than
}

// nextView returns the view after the last, which is the last if nothing has changed.
func (c *Catalog) nextView(ctx context.Context, last *view, compiled []*rules.Compiled, rulesVersion uint64) (*view, error) {
	names, err := c.index.Names(ctx)
	if err != nil {
		return nil, err
	}
	next := *last
	changed := c.readExposed(&next)
	if !changed && last.mappings != nil && last.rulesVersion == rulesVersion && slices.Equal(names, last.names) {
		return last, nil
	}
	next.names = names
	next.all = slices.AppendSeq(slices.Clone(names), maps.Keys(next.labels))
	slices.Sort(next.all)
	next.all = slices.Compact(next.all)
	next.rulesVersion = rulesVersion
	next.version++
	next.mappings, err = mappingsOf(ctx, compiled, next.all, next.types)
	return &next, err
}

// readExposed reports whether targets expose other names than before, and puts them into v.
func (c *Catalog) readExposed(v *view) (changed bool) {
	if c.exposed == nil {
		return false
	}
	exposed, version := c.exposed(v.exposedVersion)
	if version == v.exposedVersion {
		return false
	}
	v.exposedVersion = version
	v.labels = make(map[string][]string, len(exposed))
	v.limited = map[string]bool{}
	v.types = newTypeTable(exposed)
	for _, e := range exposed {
		if _, known := v.labels[e.Name]; e.Only == "" {
			delete(v.limited, e.Name)
		} else if !known {
			v.limited[e.Name] = true
		}
		// Several jobs may expose it.
		if known, ok := v.labels[e.Name]; ok && !slices.Equal(known, e.LabelNames) {
			e.LabelNames = slices.Concat(known, e.LabelNames)
			slices.Sort(e.LabelNames)
			e.LabelNames = slices.Compact(e.LabelNames)
		}
		v.labels[e.Name] = e.LabelNames
	}
	return true
}

func mappingsOf(ctx context.Context, compiled []*rules.Compiled, names []string, types *typeTable) (map[rules.Metric][]Mapping, error) {
	mappings := make(map[rules.Metric][]Mapping, len(names))
	for _, r := range slices.Backward(compiled) {
		for i, series := range names {
			if i%checkEvery == 0 && ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if name, ok := types.metricName(r, series); ok {
				metric := rules.Metric{API: r.API, Name: name}
				mappings[metric] = append(mappings[metric], Mapping{r, series})
			}
		}
	}
	return mappings, nil
}
