package body

import (
	"bytes"
	"fmt"
	"io"

	"github.com/promlet/promlet/scrape/internal/budget"
	"github.com/promlet/promlet/scrape/internal/names"
	"github.com/promlet/promlet/scrape/internal/reason"
)

const (
	// filterChunk is how much of a body is read at a time: small enough for the
	// processor's cache, large enough that reading costs little.
	filterChunk = 32 << 10
	// maxRuns is how many runs of passed lines a filter knows the places of.
	maxRuns = 16 << 10
	// runSize is what each takes in memory, and keptRuns how many a filter keeps room for.
	runSize, keptRuns = 16, 1 << 10
	// maxTypeLine is the longest skipped type that a filter keeps.
	maxTypeLine = 4 << 10
)

// filter reads a text body and passes on the lines that have to be parsed: those that
// the decisions do not skip. It decides by the name that a line begins with, before
// anything is parsed. Where it cannot be sure where lines end, it passes everything
// from there on.
//
// Skipped lines are not checked: parse errors in them, and limits that they exceed, are
// not reported.
type filter struct {
	from      *Pools
	loan      *budget.Loan // beside the filterChunk in seatSize
	src       io.Reader
	decisions *names.Decisions
	limit     int64 // of bytes; 0 is none

	buf     []byte
	at, end int    // the part of buf that is not decided
	run     []byte // the part of buf to pass on
	err     error  // of src; returned once all of buf is decided
	through bool   // pass everything
	escapes bool   // there is a backslash in buf

	cursor   names.Cursor
	previous string // name of the line before, and the decision on it
	decision names.Decision

	// The parser reads the labels le and quantile by the type that it has read last,
	// whatever family that is of. Where skipping a type would change what a passed line
	// means, the type is passed after all, right before that line.
	bodyType, passedType labelType
	typeLine             []byte // the last in the body, if it was skipped
	typeAt               int    // its number

	sent    int64 // bytes of the body that have come
	line    int   // number of the next line to decide, from 1
	passed  int   // bytes passed on
	gap     bool  // the last line was skipped
	skipped Skipped
}

// labelType is a type of metrics by the label that the parsers normalize for it.
type labelType uint8

const (
	withoutLabel labelType = iota
	withBucket
	withQuantile
	strangeType // none that the parsers know
)

func labelTypeOf(text []byte) labelType {
	switch string(text) {
	case "histogram":
		return withBucket
	case "summary":
		return withQuantile
	case "counter", "gauge", "untyped", "unknown", "gaugehistogram", "info", "stateset":
		return withoutLabel
	}
	return strangeType
}

// Skipped are the lines that a filter has taken out of a body.
type Skipped struct {
	Samples int      // in these lines
	Kept    int      // samples that metric relabelling leaves
	Numbers []uint32 // samples by number of their name

	runs []lineRun // what was passed on instead
}

// lineRun says that the bytes passed on from at begin with the line of that number.
type lineRun struct{ at, line int }

// filter lends a filter for a body.
func (p *Pools) filter(loan *budget.Loan, src io.Reader, d *names.Decisions, limit int64) *filter {
	f, ok := p.filters.Get().(*filter)
	if !ok {
		f = &filter{buf: make([]byte, filterChunk)}
	}
	*f = filter{
		from: p, loan: loan, src: src, decisions: d, limit: limit,
		buf: f.buf, cursor: d.Cursor(), typeLine: f.typeLine[:0], line: 1,
		skipped: Skipped{Numbers: f.skipped.Numbers[:0], runs: f.skipped.runs[:0]},
	}
	return f
}

// release gives the filter back, if there is one.
func (f *filter) release() {
	if f == nil {
		return
	}
	if len(f.buf) > filterChunk {
		f.buf = make([]byte, filterChunk)
	}
	if cap(f.skipped.runs) > keptRuns {
		f.skipped.runs = nil
	}
	f.loan, f.src, f.decisions, f.cursor, f.previous, f.run, f.err = nil, nil, nil, names.Cursor{}, "", nil, nil
	f.from.filters.Put(f)
}

// Read implements io.Reader.
func (f *filter) Read(p []byte) (int, error) {
	for {
		if len(f.run) > 0 {
			n := copy(p, f.run)
			f.run = f.run[n:]
			return n, nil
		}
		f.look()
		if len(f.run) > 0 {
			continue
		}
		if f.err != nil {
			return 0, f.err
		}
		if err := f.fill(); err != nil {
			return 0, err
		}
	}
}

// look sets run to the next lines in buf to pass on; none if buf has no such line.
func (f *filter) look() {
	start := f.at
	for f.at < f.end && !f.through {
		n, pass := f.next(f.buf[f.at:f.end])
		if n == 0 {
			break
		}
		if !pass {
			f.run = f.buf[start:f.at]
			f.at += n
			f.line++
			f.gap = true
			if start = f.at; len(f.run) > 0 {
				return
			}
			continue
		}
		if f.retype(start) {
			return
		}
		f.pass(n)
	}
	// Everything, with through; or the last line, if no newline ends it.
	if f.at < f.end && (f.through || f.err != nil) {
		if f.retype(start) {
			return
		}
		f.pass(f.end - f.at)
	}
	f.run = f.buf[start:f.at]
}

// retype passes the skipped type on if the line that comes next needs it. It reports
// whether it has set a run: the type, or first the lines from start on.
func (f *filter) retype(start int) bool {
	if c := f.buf[f.at]; f.bodyType == f.passedType || c == '#' && !f.through || c == '\n' {
		return false
	}
	if f.run = f.buf[start:f.at]; len(f.run) > 0 {
		return true
	}
	f.begin(f.typeAt)
	f.run, f.passedType = f.typeLine, f.bodyType
	f.passed += len(f.run)
	f.gap = true
	return true
}

// pass passes the next n bytes on. They begin with a line.
func (f *filter) pass(n int) {
	if f.gap && n > 0 {
		f.begin(f.line)
		f.gap = false
	}
	f.at += n
	f.passed += n
	f.line++
}

// begin notes that the line with a number is passed on next.
func (f *filter) begin(line int) {
	runs := len(f.skipped.runs)
	if full := runs == cap(f.skipped.runs); runs == maxRuns || full && f.loan.Try(2*int64(runs)*runSize) != nil {
		f.skipped.runs[runs-1].line = 0 // From there on the place is not known.
	}
	if runs > 0 && f.skipped.runs[runs-1].line == 0 {
		return
	}
	f.skipped.runs = append(f.skipped.runs, lineRun{at: f.passed, line: line})
}

// fill reads more of the body, after the part of a line that is left in buf.
func (f *filter) fill() error {
	if f.at > 0 {
		f.end = copy(f.buf, f.buf[f.at:f.end])
		f.at = 0
	}
	if f.end == len(f.buf) {
		if len(f.buf) > maxToken {
			return fmt.Errorf("line %d: longer than %d bytes: %s", f.line, maxToken, reason.Excerpt(f.buf[:maxToken]))
		}
		// The old one goes on being charged as well: nobody knows when its memory is free.
		if err := f.loan.Try(2 * int64(len(f.buf))); err != nil {
			return fmt.Errorf("line %d: longer than %d bytes: %w", f.line, len(f.buf), err)
		}
		larger := make([]byte, 2*len(f.buf))
		copy(larger, f.buf)
		f.buf = larger
	}
	room := f.buf[f.end:]
	if left := f.limit - f.sent; f.limit > 0 && int64(len(room)) > left {
		room = room[:left]
	}
	n, err := f.src.Read(room)
	f.end += n
	f.sent += int64(n)
	if f.limit > 0 && f.sent >= f.limit {
		return reason.Limitf("body_size", "body_size_limit exceeded (limit: %d bytes)", f.limit)
	}
	f.err = err
	f.escapes = bytes.IndexByte(f.buf[:f.end], '\\') >= 0
	// The parsers take some of these bytes for the end of the body.
	f.through = f.through || bytes.IndexByte(f.buf[f.end-n:f.end], 0) >= 0
	return nil
}

// next returns the length of the line that b begins with, 0 if b ends before it, and
// whether to pass it on.
func (f *filter) next(b []byte) (n int, pass bool) {
	n = bytes.IndexByte(b, '\n') + 1
	if n == 0 {
		return 0, false
	}
	line := b[:n]
	if comment := trimLeft(line); comment[0] == '#' {
		if opensName(comment) {
			f.through = true
			return 0, true
		}
		return n, f.passComment(line)
	}
	if f.openQuotes(line) {
		f.through = true
		return 0, true
	}
	if f.lookUp(line) == 0 || !f.decision.Skip {
		return n, true
	}
	f.skipped.add(f.decision)
	return n, false
}

// trimLeft returns a line without the blanks that it begins with. Most lines begin with none, and
// bytes.TrimLeft would be a fifth of the work.
func trimLeft(line []byte) []byte {
	for len(line) > 0 && (line[0] == ' ' || line[0] == '\t') {
		line = line[1:]
	}
	return line
}

// add counts a sample in a skipped line.
func (s *Skipped) add(d names.Decision) {
	s.Samples++
	if !d.Dropped {
		s.Kept++
	}
	i := int(d.Number)
	if i >= len(s.Numbers) {
		s.Numbers = append(s.Numbers, make([]uint32, i+1-len(s.Numbers))...)
	}
	s.Numbers[i]++
}

// opensName reports whether a comment may be metadata of a family whose name is in
// quotation marks. Such a name may go on in the next line.
func opensName(line []byte) bool {
	const keyword = len("HELP")
	rest := trimLeft(line[1:])
	return len(rest) > keyword && bytes.HasPrefix(trimLeft(rest[keyword:]), []byte{'"'})
}

// openQuotes reports whether a line ends inside quotation marks. The parsers read it
// together with the next one.
func (f *filter) openQuotes(line []byte) bool {
	if !f.escapes || bytes.IndexByte(line, '\\') < 0 {
		return bytes.Count(line, []byte{'"'})%2 != 0
	}
	quoted := false
	for i := 0; i < len(line); i++ {
		switch {
		case line[i] == '\\' && quoted:
			i++
		case line[i] == '"':
			quoted = !quoted
		}
	}
	return quoted
}

// lookUp sets the decision on the name that a line begins with, or that its metadata is
// about. It returns where the name ends, 0 if there is no decision.
func (f *filter) lookUp(line []byte) (end int) {
	if n := len(f.previous); n > 0 && len(line) > n && names.EndsName(line[n]) && string(line[:n]) == f.previous {
		return n
	}
	f.previous, f.decision, _ = f.cursor.Find(line)
	return len(f.previous)
}

// passComment reports whether to pass a comment on: it is no metadata, or metadata that
// somebody needs.
func (f *filter) passComment(line []byte) bool {
	const prefix = len("# HELP ")
	isType := false
	switch string(line[:min(prefix, len(line))]) {
	case "# TYPE ":
		isType = true
	case "# HELP ", "# UNIT ":
	default:
		f.noteType(line)
		return true
	}
	rest := line[prefix:]
	n := f.lookUp(rest)
	pass := n == 0 || !f.decision.KnownFamily || f.decision.KeepFamily
	if !isType {
		return pass
	}
	if n == 0 {
		n = max(0, bytes.IndexByte(rest, ' '))
	}
	typ := labelTypeOf(rest[min(n+1, len(rest)-1) : len(rest)-1])
	if pass || typ == strangeType || len(line) > maxTypeLine {
		f.bodyType, f.passedType = typ, typ
		return true
	}
	f.bodyType, f.typeAt = typ, f.line
	f.typeLine = append(f.typeLine[:0], line...)
	return false
}

// noteType notes the type in a comment that is passed on. The text parser reads more
// comments as a type than passComment does: it accepts blanks before them, and any
// number of blanks in them.
func (f *filter) noteType(line []byte) {
	comment := trimLeft(line)[1:]
	text := trimLeft(comment)
	if len(text) == len(comment) || !bytes.HasPrefix(text, []byte("TYPE")) || len(text) == len("TYPE") || !names.EndsName(text[len("TYPE")]) {
		return
	}
	if fields := bytes.Fields(text); len(fields) > 2 {
		typ := labelTypeOf(fields[2])
		f.bodyType, f.passedType = typ, typ
	}
}

// lineOf returns the number in the body of the line at a place in what was passed on, 0
// if it is not known. Without a filter, s is nil and all was passed on.
func (s *Skipped) lineOf(passed []byte, at int) int {
	last := lineRun{line: 1}
	if s != nil {
		for _, r := range s.runs {
			if r.at > at {
				break
			}
			last = r
		}
	}
	if last.line == 0 {
		return 0
	}
	return last.line + bytes.Count(passed[last.at:at], []byte{'\n'})
}
