package monitors

import (
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/relabel"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// MinInterval is the shortest time between two scrapes of a target. A monitor that asks for
// less gets this: scrapes every millisecond would take the CPU time of all other targets.
const MinInterval = time.Second

// belowMinInterval matches Prometheus durations above zero and below a second. Zero is left
// as it is: Prometheus refuses it.
const belowMinInterval = `(?:0+(?:y|w|d|h|m|s))*0*[1-9][0-9]{0,2}ms`

// maySetInterval reports whether a relabeling may write the interval of a target.
func maySetInterval(rule *relabel.Config) bool {
	return rule.TargetLabel == model.ScrapeIntervalLabel || strings.Contains(rule.TargetLabel, "$") || rule.Action == relabel.LabelMap
}

// raiseInterval is the rule after relabelings that may set the interval of a target: it
// makes that at least MinInterval.
func raiseInterval() *relabel.Config {
	c := relabel.DefaultRelabelConfig
	c.SourceLabels = model.LabelNames{model.ScrapeIntervalLabel}
	c.Regex = relabel.MustNewRegexp(belowMinInterval)
	c.TargetLabel = model.ScrapeIntervalLabel
	c.Replacement = model.Duration(MinInterval).String()
	c.NameValidationScheme = model.UTF8Validation
	return &c
}

// raisedIntervals returns a line for each interval in a monitor that is raised to
// MinInterval. An interval that a relabeling takes from elsewhere is not known here.
func raisedIntervals(monitor metav1.Object) (lines []string) {
	add := func(field, value string) {
		if d, err := model.ParseDuration(value); err == nil && 0 < d && d < model.Duration(MinInterval) {
			lines = append(lines, fmt.Sprintf("%s: %s is raised to %s", field, d, model.Duration(MinInterval)))
		}
	}
	_, endpoints := specOf(monitor)
	for _, ep := range endpoints {
		add(ep.field+".interval", string(ep.spec.Interval))
		for i, rule := range ep.spec.RelabelConfigs {
			if rule.TargetLabel == model.ScrapeIntervalLabel && rule.Replacement != nil {
				add(fmt.Sprintf("%s.relabelings[%d].replacement", ep.field, i), *rule.Replacement)
			}
		}
	}
	return lines
}
