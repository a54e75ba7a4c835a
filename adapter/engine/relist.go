package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"golang.org/x/sync/errgroup"

	"github.com/promlet/promlet/adapter/rules"
)

const (
	// listConcurrency is the number of concurrent requests for label names.
	listConcurrency = 4
	// labelsLists is the maximum age of a series name's label names, in lists. Each list reads the label names of all
	// new series names, and of a part of the others.
	labelsLists = 10
	// leastLabels is the minimum size of that part, in series names.
	leastLabels = 64
)

// relister makes lists, and keeps label names from one list to the next. It makes one list at a time.
type relister struct {
	engine *Engine
	link   *link // that known is of
	known  map[labelsKey]knownLabels
	types  map[string]model.MetricType // by the name of the family
	intern map[string][]string
}

// labelsKey identifies the series with a name that matchers on other labels select.
type labelsKey struct{ name, others string }

type knownLabels struct {
	names []string // sorted; empty without series
	at    time.Time
}

func newRelister(e *Engine) *relister {
	return &relister{engine: e, known: map[labelsKey]knownLabels{}, intern: map[string][]string{}}
}

// selection is a seriesQuery and the rules that have it.
type selection struct {
	matchers []*labels.Matcher
	rules    []*rules.Compiled
}

// wanted has the series names by the selector that found them.
type wanted map[string][]labelsKey

// list reads the names of the engine's series. If the engine refuses a selector, its series stay as in the last list,
// which may be nil. The list is nil after any other error, and if the engine refuses all selectors of the first list.
func (r *relister) list(ctx context.Context, compiled []*rules.Compiled, last *list) (*list, error) {
	ctx = context.WithValue(ctx, listKey{}, true)
	at := r.engine.opts.Now()
	if link := r.engine.link.Load(); link != r.link { // it may be another engine
		r.link = link
		clear(r.known)
	}
	r.readTypes(ctx)
	selections := map[string]*selection{}
	for _, c := range compiled {
		text := selectorText(c.Matchers)
		if selections[text] == nil {
			selections[text] = &selection{matchers: c.Matchers}
		}
		selections[text].rules = append(selections[text].rules, c)
	}
	found := wanted{}
	var refused []error
	for _, text := range slices.Sorted(maps.Keys(selections)) {
		names, err := r.names(ctx, at, selections[text])
		if err != nil && isUnavailable(err) {
			return nil, err
		}
		if err != nil {
			refused = append(refused, fmt.Errorf("seriesQuery %s: %w", text, err))
			continue
		}
		found[text] = names
	}
	refusedName, err := r.readLabels(ctx, at, found)
	if err != nil {
		return nil, err
	}
	refused = append(refused, refusedName)
	all := r.labelsOf(found)
	if last != nil {
		for text := range selections {
			if known, ok := last.labels[text]; ok && all[text] == nil {
				all[text] = known
			}
		}
	}
	err = errors.Join(refused...)
	if len(all) == 0 && err != nil {
		return nil, err
	}
	return newList(at, all, r.typeOf), err
}

// isUnavailable reports whether an error concerns the engine and not only one request.
func isUnavailable(err error) bool {
	of, ok := errors.AsType[*Error](err)
	return !ok || of.Unavailable
}

// names returns the series names of a selection that its rules make metrics of.
func (r *relister) names(ctx context.Context, at time.Time, s *selection) (keys []labelsKey, err error) {
	var others []*labels.Matcher
	for _, m := range s.matchers {
		if m.Name != model.MetricNameLabel {
			others = append(others, m)
		}
	}
	var names model.LabelValues
	if name, ok := rules.OneName(rules.OnName(s.matchers)); ok {
		names = model.LabelValues{model.LabelValue(name)} // without series it has no label names
	} else {
		err = r.engine.ask(ctx, func(ctx context.Context, api v1.API) (err error) {
			names, _, err = api.LabelValues(ctx, model.MetricNameLabel, []string{selectorText(s.matchers)}, at.Add(-r.engine.opts.MaxAge), at)
			return err
		})
	}
	othersText := selectorTexts(others)
	for _, name := range names {
		makes := func(c *rules.Compiled) bool { _, ok := c.MetricName(string(name), r.typeOf(string(name))); return ok }
		if slices.ContainsFunc(s.rules, makes) {
			keys = append(keys, labelsKey{string(name), othersText})
		}
	}
	return keys, err
}

// selectorTexts is selectorText without braces.
func selectorTexts(matchers []*labels.Matcher) string {
	return strings.Trim(selectorText(matchers), "{}")
}

// readLabels reads the label names of new series names, and of a part of the others. If the engine refuses a request,
// the known label names stay; refused is the error of one such request.
func (r *relister) readLabels(ctx context.Context, at time.Time, found wanted) (refused, err error) {
	existing := map[labelsKey]bool{}
	for _, keys := range found {
		for _, key := range keys {
			existing[key] = true
		}
	}
	maps.DeleteFunc(r.known, func(key labelsKey, _ knownLabels) bool { return !existing[key] })
	var missing, old []labelsKey
	for key := range existing {
		if len(r.known[key].names) > 0 {
			old = append(old, key)
		} else {
			missing = append(missing, key)
		}
	}
	slices.SortFunc(old, func(a, b labelsKey) int { return r.known[a].at.Compare(r.known[b].at) })
	old = old[:min(len(old), max(leastLabels, len(old)/labelsLists))]

	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(listConcurrency)
	for _, key := range slices.Concat(missing, old) {
		group.Go(func() error {
			names, err := r.askLabels(ctx, at, key)
			if err != nil && isUnavailable(err) {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				refused = fmt.Errorf("labels of %s: %w", key.name, err)
				return nil
			}
			r.known[key] = knownLabels{names: r.interned(names), at: at}
			return nil
		})
	}
	err = group.Wait() // label names that were read before an error stay known
	return refused, err
}

func (r *relister) askLabels(ctx context.Context, at time.Time, key labelsKey) (names []string, err error) {
	selector := selectorText([]*labels.Matcher{rules.Equal(model.MetricNameLabel, key.name).Matcher})
	if key.others != "" {
		selector = strings.TrimSuffix(selector, "}") + "," + key.others + "}"
	}
	var found model.LabelNames
	err = r.engine.ask(ctx, func(ctx context.Context, api v1.API) (err error) {
		found, _, err = api.LabelNames(ctx, []string{selector}, at.Add(-r.engine.opts.MaxAge), at)
		return err
	})
	for _, name := range found {
		names = append(names, string(name))
	}
	slices.Sort(names)
	return names, err
}

// interned returns the same slice for the same names: most series names share a few sets of label names.
func (r *relister) interned(names []string) []string {
	if len(r.intern) > 2*len(r.known)+leastLabels {
		clear(r.intern)
	}
	key := fmt.Sprintf("%q", names)
	if _, ok := r.intern[key]; !ok {
		r.intern[key] = names
	}
	return r.intern[key]
}

// labelsOf returns the label names by selector and series name. It omits names without series.
func (r *relister) labelsOf(found wanted) map[string]map[string][]string {
	all := make(map[string]map[string][]string, len(found))
	for text, keys := range found {
		all[text] = make(map[string][]string, len(keys))
		for _, key := range keys {
			if names := r.known[key].names; len(names) > 0 {
				all[text][key.name] = names
			}
		}
	}
	return all
}

// readTypes reads the types of metrics. Some engines know none or few of them. After an error the last types stay, so
// that rules select the same series.
func (r *relister) readTypes(ctx context.Context) {
	var found map[string][]v1.Metadata
	err := r.engine.ask(ctx, func(ctx context.Context, api v1.API) (err error) {
		found, err = api.Metadata(ctx, "", "")
		return err
	})
	if err != nil {
		r.engine.opts.Logger.Debug("could not read the types of the engine's metrics", "engine", r.engine.Name(), "err", err)
		return
	}
	r.types = make(map[string]model.MetricType, len(found))
	for family, all := range found {
		for _, metadata := range all {
			typ := model.MetricType(metadata.Type)
			if known, ok := r.types[family]; ok && known != typ {
				typ = model.MetricTypeUnknown // targets differ
			}
			r.types[family] = typ
		}
	}
}

// typeOf returns the type of the family that a series name belongs to, empty where it is not known.
func (r *relister) typeOf(name string) model.MetricType {
	if typ, ok := r.types[name]; ok {
		return typ
	}
	for _, suffix := range []string{"_bucket", "_count", "_sum", "_total", "_created", "_info"} {
		family, ok := strings.CutSuffix(name, suffix)
		if typ, known := r.types[family]; ok && known {
			isCount := typ == model.MetricTypeHistogram || typ == model.MetricTypeSummary || typ == model.MetricTypeGaugeHistogram
			if isCount == (suffix == "_bucket" || suffix == "_count" || suffix == "_sum") {
				return typ
			}
		}
	}
	return ""
}
