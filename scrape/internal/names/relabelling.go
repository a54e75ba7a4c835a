package names

import (
	"strings"

	"github.com/prometheus/common/model"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
)

// Outcome is what metric relabelling does to all series of a name, as far as the
// name alone decides it.
type Outcome struct {
	Name    string // that they are stored under
	Dropped bool   // all are
	Depends bool   // Name depends on other labels
}

// outcomeOf runs a name through the rules.
func outcomeOf(name string, rules []*relabel.Config) Outcome {
	for _, rc := range rules {
		if !mayTouchName(rc) {
			continue
		}
		if !readsNameOnly(rc) {
			if dropsOnly(rc) {
				continue // It does not change the names of the series that stay.
			}
			return Outcome{Depends: true}
		}
		b := labels.NewBuilder(labels.FromStrings(model.MetricNameLabel, name))
		if !relabel.ProcessBuilder(b, rc) {
			return Outcome{Dropped: true}
		}
		if name = b.Get(model.MetricNameLabel); name == "" {
			return Outcome{Depends: true} // An error, for the scrape to report.
		}
	}
	return Outcome{Name: name}
}

// dropsOnly reports whether a rule drops or keeps series and changes none.
func dropsOnly(rc *relabel.Config) bool {
	switch rc.Action {
	case relabel.Keep, relabel.Drop, relabel.KeepEqual, relabel.DropEqual:
		return true
	}
	return false
}

// mayTouchName reports whether a rule can drop series or change their name.
func mayTouchName(rc *relabel.Config) bool {
	switch rc.Action {
	case relabel.LabelDrop:
		return rc.Regex.MatchString(model.MetricNameLabel)
	case relabel.LabelKeep:
		return !rc.Regex.MatchString(model.MetricNameLabel)
	case relabel.LabelMap:
		return mayExpandTo(rc.Replacement, model.MetricNameLabel)
	}
	return dropsOnly(rc) || mayExpandTo(rc.TargetLabel, model.MetricNameLabel)
}

// mayExpandTo reports whether a template with $1 and the like can expand to the text.
func mayExpandTo(template, text string) bool {
	before, _, variable := strings.Cut(template, "$")
	if !variable {
		return template == text
	}
	return strings.HasPrefix(text, before)
}

// readsNameOnly reports whether the name alone decides what a rule does.
func readsNameOnly(rc *relabel.Config) bool {
	switch rc.Action {
	case relabel.LabelMap, relabel.LabelDrop, relabel.LabelKeep, relabel.KeepEqual, relabel.DropEqual:
		return false
	}
	for _, l := range rc.SourceLabels {
		if l != model.MetricNameLabel {
			return false
		}
	}
	return !strings.Contains(rc.TargetLabel, "$")
}
