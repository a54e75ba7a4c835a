package configfile

import (
	"errors"
	"fmt"
	"time"

	"github.com/promlet/promlet/adapter/objects"
	"github.com/promlet/promlet/adapter/rules"
	"github.com/promlet/promlet/discovery"
	discovered "github.com/promlet/promlet/discovery/objects"
)

// Collection has the flags of promlet serve that a check needs.
type Collection struct {
	RateWindow, ScrapeInterval, Retention time.Duration
}

// Report says what promlet serves with a file.
type Report struct {
	Rules    []rules.Summary
	Warnings []string
}

// Check returns what promlet serves with the file, and warnings. The error names everything
// that is invalid, rejected monitors among it. Monitors are checked as in a cluster without Secrets and ConfigMaps.
func (f File) Check(c Collection) (Report, error) {
	kinds := objects.NewKinds(nil, time.Now)
	compiled, _, ruleErr := f.AdapterRules(c.RateWindow).Compile(kinds)
	usage, usageErr := f.ResourceRules.Compile(kinds)
	discoverer := discovery.New(discovered.NewStore(), discovery.Options{ServiceMonitors: f.ServiceMonitors, PodMonitors: f.PodMonitors, FileAccess: true})
	_, _, err := discoverer.Resolve()
	report := Report{Rules: append(rules.Summaries(compiled), usage.Summaries()...)}
	if f.Rules != nil && len(f.Rules) == 0 && !f.withDefaults {
		report.Warnings = append(report.Warnings, "rules is empty, so no custom metric is served: leave it out for the default rules")
	}
	report.Warnings = append(report.Warnings, rules.Oddities(compiled)...)
	report.Warnings = append(report.Warnings, rules.OddWindows(compiled, c.ScrapeInterval, c.Retention)...)
	if usageErr == nil {
		report.Warnings = append(report.Warnings, f.ResourceRules.Oddities(usage)...)
		report.Warnings = append(report.Warnings, usage.OddWindows(c.ScrapeInterval, c.Retention)...)
	}
	for _, m := range discoverer.Monitors() {
		for _, field := range m.Adjusted {
			report.Warnings = append(report.Warnings, fmt.Sprintf("%s %s/%s is adjusted: %s", m.Kind, m.Namespace, m.Name, field))
		}
	}
	errs := []error{ruleErr, usageErr, err}
	for _, m := range discoverer.Monitors() {
		if m.Err != nil {
			errs = append(errs, errors.New(m.Rejection()))
		}
	}
	return report, errors.Join(errs...)
}
