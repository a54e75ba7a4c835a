package engines

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// timeline prints a row for each round of answers, and counts the judged rows.
type timeline struct {
	out    io.Writer
	began  time.Time
	errors []string // of the previous row

	judged, missed int

	// low is the time since which a Service's value has been wrong or absent, zero if all are right. longest is the longest
	// such time. Rows before the first judged row do not count.
	low     time.Time
	longest time.Duration
}

// printf prints and ignores errors: a line that cannot be printed does not end the run.
func (t *timeline) printf(format string, args ...any) { _, _ = fmt.Fprintf(t.out, format, args...) }

// event prints what happens.
func (t *timeline) event(text string) {
	t.printf("\n%5.0f s  %s\n", time.Since(t.began).Seconds(), text)
}

// head prints the titles of the columns.
func (t *timeline) head() {
	t.printf("\n%7s  %-28s  %-28s\n", "", rateMetric, gaugeMetric)
	t.printf("%7s  %-15s %6s %5s  %-15s %6s %5s %8s\n", "", "services/x", "pods/*", "wrong", "services/x", "pods/*", "wrong", "slowest")
}

// row prints a row. It prints errors only if they differ from those of the previous row.
func (t *timeline) row(a *answers, judged bool) {
	rate, gauge := a.of[rateMetric], a.of[gaugeMetric]
	t.printf("%5.0f s  %-15s %6d %5d  %-15s %6d %5d %8s\n", time.Since(t.began).Seconds(),
		rate.shares(), rate.pods, rate.podsWrong+rate.podsUnknown, gauge.shares(), gauge.pods, gauge.podsWrong+gauge.podsUnknown,
		a.slowest.Round(time.Millisecond))
	if !slices.Equal(a.errors, t.errors) {
		const most = 2
		for _, text := range a.errors[:min(most, len(a.errors))] {
			t.printf("         %s\n", shortened(text))
		}
		if more := len(a.errors) - most; more > 0 {
			t.printf("         and %d more questions without an answer\n", more)
		}
	}
	t.errors = a.errors
	if judged {
		t.judged++
		if !a.right() {
			t.missed++
		}
	}
	t.noteLow(rate.services < services || rate.servicesWrong > 0, time.Now())
}

func (t *timeline) noteLow(low bool, now time.Time) {
	switch {
	case t.judged == 0:
	case !low:
		t.low = time.Time{}
	case t.low.IsZero():
		t.low = now
	default:
		t.longest = max(t.longest, now.Sub(t.low))
	}
}

// shortened leaves out the middle of a long text, such as an expression that names all pods.
func shortened(text string) string {
	const ends = 200
	if len(text) <= 2*ends {
		return text
	}
	return strings.ToValidUTF8(text[:ends]+" … "+text[len(text)-ends:], "")
}

// shares formats the Services' values as shares of the truth, in percent.
func (f figures) shares() string {
	if f.services == 0 {
		return "none"
	}
	text := fmt.Sprintf("%.1f", 100*f.lowest)
	if highest := fmt.Sprintf("%.1f", 100*f.highest); highest != text {
		text += ".." + highest
	}
	text += " %"
	if f.services < services {
		text += fmt.Sprintf(" (%d)", f.services)
	}
	return text
}
