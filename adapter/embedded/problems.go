package embedded

import (
	"fmt"

	"github.com/promlet/promlet/discovery/monitors"
)

// Problem is a reason why metrics may be missing or wrong.
type Problem struct {
	// Text is for users, and may name objects of all namespaces.
	Text string
	// Rule is the rule with the problem, such as rules[1] or externalRules[0]. It is empty for
	// a problem of several rules, or of none.
	Rule string
	// Rules is true for a problem of one or several rules.
	Rules bool
	// Kubelets is true for a problem of kubelets that cannot be scraped.
	Kubelets bool
	// Monitor is the monitor with the problem, nil for none.
	Monitor *monitors.Status
}

// Problems returns why metrics may be missing or wrong: problems of objects, kubelets, series limits,
// rules, the Engine, monitors and the data directory, in this order.
func (p *Promlet) Problems() (all []Problem) {
	add := func(texts ...string) {
		for _, text := range texts {
			all = append(all, Problem{Text: text})
		}
	}
	add(p.opts.Source.Problems()...)
	if text := p.kubeletProblem(); text != "" {
		all = append(all, Problem{Text: text, Kubelets: true})
	}
	add(p.refused()...)
	for _, shadowed := range p.Provider.Shadowed() {
		all = append(all, Problem{Text: "rules: " + shadowed, Rules: true})
	}
	if !p.opts.Discovery.Shard.Partial() {
		for _, r := range p.Provider.UnmatchedRules() {
			all = append(all, Problem{Text: r.String(), Rules: true, Rule: r.Rule})
		}
	}
	if p.opts.Engine != nil {
		add(p.opts.Engine.Problems()...)
	}
	for _, m := range p.Discoverer.Monitors() {
		if m.Err != nil {
			all = append(all, Problem{Text: m.Rejection(), Monitor: &m})
		}
	}
	if err := p.DB.Damage(); err != nil {
		add(fmt.Sprintf("data directory: earlier samples are set aside: %v", err))
	}
	if err := p.DB.Storing(); err != nil {
		add(fmt.Sprintf("data directory: samples are not stored: %v", err))
	}
	return all
}
