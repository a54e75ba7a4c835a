package scrape

import (
	"strings"

	"github.com/prometheus/common/model"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
)

// fate is what metric relabelling does to all series of a name, as far as the name
// alone decides it.
type fate struct {
	name    string // that they are stored under
	dropped bool   // all are
	// depends: the name they are stored under depends on other labels.
	depends bool
}

// fateOf runs a name through the rules.
func fateOf(name string, rules []*relabel.Config) fate {
	for _, rc := range rules {
		if !mayTouchName(rc) {
			continue
		}
		if !readsNameOnly(rc) {
			if decidesOnly(rc) {
				continue // What it may drop is not there; what stays keeps the name.
			}
			return fate{depends: true}
		}
		b := labels.NewBuilder(labels.FromStrings(model.MetricNameLabel, name))
		if !relabel.ProcessBuilder(b, rc) {
			return fate{dropped: true}
		}
		if name = b.Get(model.MetricNameLabel); name == "" {
			return fate{depends: true} // An error, for the scrape to report.
		}
	}
	return fate{name: name}
}

// decidesOnly tells whether a rule drops or keeps series and changes none.
func decidesOnly(rc *relabel.Config) bool {
	switch rc.Action {
	case relabel.Keep, relabel.Drop, relabel.KeepEqual, relabel.DropEqual:
		return true
	}
	return false
}

// mayTouchName tells whether a rule can drop series or change their name.
func mayTouchName(rc *relabel.Config) bool {
	switch rc.Action {
	case relabel.LabelDrop:
		return rc.Regex.MatchString(model.MetricNameLabel)
	case relabel.LabelKeep:
		return !rc.Regex.MatchString(model.MetricNameLabel)
	case relabel.LabelMap:
		return mayExpandTo(rc.Replacement, model.MetricNameLabel)
	}
	return decidesOnly(rc) || mayExpandTo(rc.TargetLabel, model.MetricNameLabel)
}

// mayExpandTo tells whether a template with $1 and the like can give text.
func mayExpandTo(template, text string) bool {
	before, _, variable := strings.Cut(template, "$")
	if !variable {
		return template == text
	}
	return strings.HasPrefix(text, before)
}

// readsNameOnly tells whether all that a rule does follows from the name.
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
