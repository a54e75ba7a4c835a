package values

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/promlet/promlet/adapter/rules"
)

// Outcome is how a request ended, for the metrics.
type Outcome string

// The outcomes. OutcomeValue has no error and OutcomeError is a fault; OutcomeRefused is an Absence or a not-found error,
// and the others are Absences.
const (
	OutcomeValue         Outcome = "value"           // there is at least one value
	OutcomeRefused       Outcome = "refused"         // nobody can be given an answer
	OutcomeNoObject      Outcome = "no_object"       // no object has that name, or the selector picks none
	OutcomeNoMetric      Outcome = "no_metric"       // no rule makes the metric
	OutcomeNoMonitor     Outcome = "no_monitor"      // no monitor selects the object
	OutcomeNoEndpoints   Outcome = "no_endpoints"    // its monitor has no targets for it
	OutcomeTargetDown    Outcome = "target_down"     // its targets are down, or not scraped yet
	OutcomeNoSeries      Outcome = "no_series"       // no series has the labels that the rule and the request ask for
	OutcomeStarting      Outcome = "starting"        // its collection has just begun
	OutcomeNoSamples     Outcome = "no_samples"      // no sample is current
	OutcomeTooFewSamples Outcome = "too_few_samples" // a rate needs more samples
	OutcomeNotANumber    Outcome = "not_a_number"    // the value is NaN or infinite
	OutcomeError         Outcome = "error"           // something failed
)

// Outcomes returns all of them.
func Outcomes() []Outcome {
	return []Outcome{
		OutcomeValue, OutcomeRefused, OutcomeNoObject, OutcomeNoMetric, OutcomeNoMonitor, OutcomeNoEndpoints, OutcomeTargetDown,
		OutcomeNoSeries, OutcomeStarting, OutcomeNoSamples, OutcomeTooFewSamples, OutcomeNotANumber, OutcomeError,
	}
}

// OutcomeOf returns the outcome of a request that ended with an error, or nil.
func OutcomeOf(err error) Outcome {
	if err == nil {
		return OutcomeValue
	}
	if absent, ok := errors.AsType[*Absence](err); ok {
		return absent.Outcome
	}
	if IsNotFound(err) {
		return OutcomeRefused
	}
	return OutcomeError
}

// Absence is why there is no value: an answer to the caller, not a fault.
type Absence struct {
	Reason  string
	Outcome Outcome
	// Complete reports that the reason stays as it is: no broken link is looked for to replace it.
	Complete bool
}

func (a *Absence) Error() string { return a.Reason }

// Absent returns an Absence.
func Absent(outcome Outcome, format string, args ...any) error {
	return &Absence{Reason: fmt.Sprintf(format, args...), Outcome: outcome}
}

// complete returns an Absence with a complete reason.
func complete(outcome Outcome, format string, args ...any) error {
	return &Absence{Reason: fmt.Sprintf(format, args...), Outcome: outcome, Complete: true}
}

// IsNotFound reports whether an error is about a question that cannot be answered, rather
// than a fault or an Absence.
func IsNotFound(err error) bool {
	return errors.Is(err, rules.ErrUnsupportedOperator) || meta.IsNoMatchError(err)
}

// reasons collects why there is no value, each once and in order. The outcome is the
// first's.
type reasons struct {
	all Absence
	of  []string
}

func (r *reasons) add(absent *Absence) {
	if len(r.of) == 0 {
		r.all.Outcome = absent.Outcome
	}
	r.all.Complete = r.all.Complete || absent.Complete
	if !slices.Contains(r.of, absent.Reason) {
		r.of = append(r.of, absent.Reason)
	}
}

func (r *reasons) err() error {
	const most = 3 // an HPA's condition has room for a few
	if len(r.of) > most {
		r.of = append(r.of[:most:most], "…")
	}
	r.all.Reason = strings.Join(r.of, "; ")
	return &r.all
}
