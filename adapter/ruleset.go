package adapter

import (
	"errors"
	"time"

	"github.com/prometheus/prometheus/promql/parser"
	"k8s.io/apimachinery/pkg/api/meta"
)

// Rules are what a Provider goes by, and may be replaced while it runs.
type Rules struct {
	// Custom map series to custom metrics; nil is DefaultRules over a 2m window.
	Custom []Rule
	// External map series to external metrics.
	External []Rule
	// Keep are regular expressions, anchored, of series names that are always
	// wanted.
	Keep []string
}

// Check tells all that is wrong with rules, and what is odd about them though they
// load. Resources that the mapper does not know (nil is BuiltinMapper) are odd where
// they may be custom ones.
func (r Rules) Check(mapper meta.RESTMapper) (warnings []string, err error) {
	if mapper == nil {
		mapper = BuiltinMapper()
	}
	compiled, err := r.compile(&kinds{mapper: mapper, now: time.Now}, parser.NewParser(parser.Options{}))
	_, keepErr := compileKeep(r.Keep)
	return oddities(compiled), errors.Join(err, keepErr)
}

// compile returns the rules that are right, whatever the error.
func (r Rules) compile(kinds *kinds, p parser.Parser) ([]*rule, error) {
	if r.Custom == nil {
		r.Custom = DefaultRules(DefaultRateWindow)
	}
	custom, err := compileRules(customAPI, r.Custom, kinds, p)
	external, externalErr := compileRules(externalAPI, r.External, kinds, p)
	return append(custom, external...), errors.Join(err, externalErr)
}

// SetRules replaces the rules. The error names every rule that is wrong, and then
// those in force stay. What has been collected is not touched.
func (p *Provider) SetRules(rules Rules) error {
	compiled, err := rules.compile(p.kinds, parser.NewParser(parser.Options{}))
	keep, keepErr := compileKeep(rules.Keep)
	if err := errors.Join(err, keepErr); err != nil {
		return err
	}
	for _, odd := range oddities(compiled) {
		p.logger.Warn("rules", "warning", odd)
	}
	p.catalog.setRules(compiled)
	p.demand.setKeep(keep)
	if rules.Custom == nil {
		rules.Custom = DefaultRules(DefaultRateWindow)
	}
	p.rules.Store(&rules)
	return nil
}

// Rules are those in force. They are shared: read only.
func (p *Provider) Rules() Rules { return *p.rules.Load() }
