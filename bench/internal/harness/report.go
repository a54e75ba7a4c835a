package harness

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"
)

// Table writes rows in columns: the first aligned to the left, the others to the right.
func Table(out io.Writer, rows [][]string) error {
	width := 0
	for _, row := range rows {
		width = max(width, utf8.RuneCountInString(row[0]))
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, row := range rows {
		if _, err := fmt.Fprintf(w, "%-*s\t%s\t\n", width, row[0], strings.Join(row[1:], "\t")); err != nil {
			return err
		}
	}
	return w.Flush()
}

// Verdict is what misses its expectation.
type Verdict []string

// Expect notes what is described unless it holds.
func (v *Verdict) Expect(holds bool, format string, args ...any) {
	if !holds {
		*v = append(*v, fmt.Sprintf(format, args...))
	}
}

// String says whether all that was expected holds.
func (v Verdict) String() string {
	if len(v) == 0 {
		return "it holds"
	}
	return "missed: " + strings.Join(v, "; ")
}

// Figure writes a number with the digits that count.
func Figure(v float64) string {
	switch {
	case v < 0:
		return "-" + Figure(-v)
	case v >= 99.95:
		return Grouped(int(v + 0.5))
	case v >= 9.995:
		return strconv.FormatFloat(v, 'f', 1, 64)
	default:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
}

// Grouped writes a number that is not negative with commas.
func Grouped(n int) string {
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// Quantile is the q-quantile of sorted durations, 0 of none.
func Quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	at := q * float64(len(sorted)-1)
	low, high := sorted[int(at)], sorted[min(int(at)+1, len(sorted)-1)]
	return low + time.Duration((at-float64(int(at)))*float64(high-low))
}
