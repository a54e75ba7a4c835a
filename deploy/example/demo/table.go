package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"
)

// render draws the rows, and below them why those without a value have none.
func render(rows []row, now time.Time) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 3, ' ', 0)
	line := func(cells ...string) { _, _ = fmt.Fprintln(w, strings.Join(cells, "\t")) } // into memory
	line("OBJECT", "METRIC", "VALUE", "LOAD", "OFF BY", "TARGET", "THE HPA ASKS FOR", "AGE", "WINDOW")
	for _, r := range rows {
		line(r.cells(now)...)
	}
	_ = w.Flush() // into memory
	b.WriteString(waiting(rows))
	return b.String()
}

func (r row) cells(now time.Time) []string {
	if r.err != nil {
		return []string{r.object, r.metric, "-", "-", "-", dash(r.target), "-", "-", "-"}
	}
	value, load, off, window := r.value.AsApproximateFloat64(), "-", "-", "-"
	if r.window > 0 {
		window = r.window.String()
	}
	if r.load >= 0 {
		load = fmt.Sprintf("%.2f", r.load)
	}
	switch {
	case r.filling:
		off = "filling" // a rate over more than there is: no comparison yet
	case r.load > 0:
		off = fmt.Sprintf("%+.1f%%", 100*(value-r.load)/r.load)
	}
	age := fmt.Sprintf("%.1fs", now.Sub(r.at).Seconds())
	return []string{r.object, r.metric, fmt.Sprintf("%.2f", value), load, off, dash(r.target), dash(r.asks), age, window}
}

// waiting says for each reason once which rows wait because of it.
func waiting(rows []row) string {
	var reasons []string
	objects := map[string][]string{}
	for _, r := range rows {
		if r.err == nil {
			continue
		}
		reason := fmt.Sprintf("%s: %v", r.metric, r.err)
		if objects[reason] == nil {
			reasons = append(reasons, reason)
		}
		objects[reason] = append(objects[reason], r.object)
	}
	var b strings.Builder
	for _, reason := range reasons {
		fmt.Fprintf(&b, "waiting for %s %s\n", strings.Join(objects[reason], ", "), reason)
	}
	return b.String()
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// blockEvery is how often a block is printed where nothing can be redrawn.
const blockEvery = 10 * time.Second

// screen shows frames: in place on a terminal, otherwise one now and then.
type screen struct {
	out      io.Writer
	terminal bool
	drawn    int       // lines of the last frame, on a terminal
	last     time.Time // of the last block, otherwise
	served   bool      // that block had all values
}

func newScreen(out *os.File) *screen {
	info, err := out.Stat()
	term := os.Getenv("TERM")
	return &screen{out: out, terminal: err == nil && info.Mode()&os.ModeCharDevice != 0 && term != "" && term != "dumb"}
}

// say prints text that stays.
func (s *screen) say(text string) {
	s.drawn = 0
	s.print(text)
}

// draw shows a frame: replacing the last one, or as a block of its own when it is time, or the values came or went,
// or it is the final one.
func (s *screen) draw(frame string, served, final bool, now time.Time) {
	if s.terminal {
		// Up to where the last frame began, without wrapping long lines, which would shift that place.
		s.print(up(s.drawn) + "\x1b[?7l\x1b[J" + frame + "\x1b[?7h")
		s.drawn = strings.Count(frame, "\n")
		return
	}
	if final || served != s.served || now.Sub(s.last) >= blockEvery {
		s.print("\n" + frame)
		s.last, s.served = now, served
	}
}

func up(lines int) string {
	if lines == 0 {
		return ""
	}
	return fmt.Sprintf("\x1b[%dA\r", lines)
}

// print has no one to tell of an error: it is the screen that has gone.
func (s *screen) print(text string) { _, _ = io.WriteString(s.out, text) }
