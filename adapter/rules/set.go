package rules

import (
	"errors"
	"fmt"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/promlet/promlet/adapter/objects"
)

// Set is a configuration of rules.
type Set struct {
	// Custom map series to custom metrics; nil is Defaults over DefaultRateWindow.
	Custom []Rule
	// External map series to external metrics.
	External []Rule
	// Resource gives the values of metrics.k8s.io. Nil: kubelets give them. It has its own Compile.
	Resource *ResourceRules
	// Keep are regular expressions, anchored, of series names that are always
	// wanted.
	Keep []string
}

// Compile returns the rules without an error, those of external metrics last, and the
// matchers of Keep. The error names everything that is wrong.
func (s Set) Compile(kinds *objects.Kinds) (compiled []*Compiled, keep [][]*labels.Matcher, err error) {
	if s.Custom == nil {
		s.Custom = Defaults(DefaultRateWindow)
	}
	compiled, err = compile(CustomAPI, s.Custom, kinds)
	external, externalErr := compile(ExternalAPI, s.External, kinds)
	errs := []error{err, externalErr}
	for i, pattern := range s.Keep {
		m, err := labels.NewMatcher(labels.MatchRegexp, model.MetricNameLabel, pattern)
		if err != nil {
			errs = append(errs, fmt.Errorf("keep[%d]: %q is no regular expression: %w", i, pattern, err))
			continue
		}
		keep = append(keep, []*labels.Matcher{m})
	}
	return append(compiled, external...), keep, errors.Join(errs...)
}
