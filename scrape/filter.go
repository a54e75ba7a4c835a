package scrape

import (
	"bytes"
	"fmt"
	"io"
	"sync"
)

const (
	// filterChunk is how much of a body is looked at at a time: small enough for
	// the processor's cache, large enough that reading costs little.
	filterChunk = 32 << 10
	// maxRuns is for how many runs of lines that are passed on it is known where in
	// the body they were.
	maxRuns = 16 << 10
)

// filter reads a text body and passes on the lines that have to be parsed: those
// that a view does not say can be skipped. It decides by the name that a line
// begins with, before anything is parsed; where what is a line is not beyond doubt,
// everything from there on is passed.
//
// What is skipped goes unchecked: an error in such a line, or a limit it is above,
// is not noticed.
type filter struct {
	src   io.Reader
	view  *view
	limit int64 // of bytes; 0 is none

	buf      []byte
	at, end  int    // what of buf has not been looked at
	run      []byte // part of buf that is to be passed on
	err      error  // of src, once all before it has been looked at
	through  bool   // pass everything
	escapes  bool   // there is a backslash in buf
	previous []byte // name of the line before, and its verdict
	verdict  verdict

	// What the labels le and quantile mean to the parser depends on the type it has
	// read last, whosever it is. So when the lines that are passed on would have
	// another one, a line is put before them that was skipped.
	bodyType, passedType labelType
	typeLine             []byte // the last in the body, if it was skipped
	typeAt               int    // its number

	skippedLines
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

// skippedLines is what a filter has found.
type skippedLines struct {
	bytes   int64    // of the body, read so far
	samples int      // that were skipped
	kept    int      // of these, left by metric relabelling
	numbers []uint32 // how many, by number of their name

	line     int  // the next that is looked at, from 1
	passed   int  // bytes passed on
	skipping bool // the last line was not
	runs     []lineRun
}

// lineRun says that what was passed on from a place on begins with a line of the body.
type lineRun struct{ at, line int }

// filters lends filters.
type filters struct{ pool sync.Pool }

// over gives a filter for a body. It is to be given back.
func (p *filters) over(src io.Reader, v *view, limit int64) *filter {
	f, ok := p.pool.Get().(*filter)
	if !ok {
		f = &filter{buf: make([]byte, filterChunk)}
	}
	*f = filter{
		src: src, view: v, limit: limit, buf: f.buf, previous: f.previous[:0], typeLine: f.typeLine[:0],
		skippedLines: skippedLines{numbers: f.numbers[:0], runs: f.runs[:0], line: 1},
	}
	return f
}

// put takes a filter back.
func (p *filters) put(f *filter) {
	if f == nil {
		return
	}
	if len(f.buf) > filterChunk {
		f.buf = make([]byte, filterChunk)
	}
	f.src, f.view, f.run, f.err = nil, nil, nil, nil
	p.pool.Put(f)
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

// look goes on to the end of the next lines to pass on, or of the whole lines that
// there are.
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
			f.skipping = true
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
	// Where lines are not told apart, and the last one if it has no end.
	if f.at < f.end && (f.through || f.err != nil) {
		if f.retype(start) {
			return
		}
		f.pass(f.end - f.at)
	}
	f.run = f.buf[start:f.at]
}

// retype passes the last type of the body on after all, before the line that is to
// be passed on now, if that needs it. Lines from start on go first.
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
	f.skipping = true
	return true
}

// pass passes the next n bytes on, the beginning of which is that of a line.
func (f *filter) pass(n int) {
	if f.skipping && n > 0 {
		f.begin(f.line)
		f.skipping = false
	}
	f.at += n
	f.passed += n
	f.line++
}

// begin notes that the line with a number is passed on next.
func (f *filter) begin(line int) {
	if len(f.runs) == maxRuns {
		line = 0 // From here on it is not known.
	}
	if len(f.runs) <= maxRuns {
		f.runs = append(f.runs, lineRun{at: f.passed, line: line})
	}
}

// fill reads more, behind the part of a line that is left.
func (f *filter) fill() error {
	if f.at > 0 {
		f.end = copy(f.buf, f.buf[f.at:f.end])
		f.at = 0
	}
	if f.end == len(f.buf) {
		if len(f.buf) > maxToken {
			return fmt.Errorf("line %d: longer than %d bytes: %s", f.line, maxToken, excerptOf(f.buf[:maxToken]))
		}
		f.buf = append(f.buf, make([]byte, len(f.buf))...)
	}
	room := f.buf[f.end:]
	if left := f.limit - f.bytes; f.limit > 0 && int64(len(room)) > left {
		room = room[:left]
	}
	n, err := f.src.Read(room)
	f.end += n
	f.bytes += int64(n)
	if f.limit > 0 && f.bytes >= f.limit {
		return limitErrorf("body_size", "body_size_limit exceeded (limit: %d bytes)", f.limit)
	}
	f.err = err
	f.escapes = bytes.IndexByte(f.buf[:f.end], '\\') >= 0
	// The parsers take some of these bytes for the end of the body.
	f.through = f.through || bytes.IndexByte(f.buf[f.end-n:f.end], 0) >= 0
	return nil
}

// next gives the length of the line that b begins with, 0 if its end is not there
// yet, and whether it is to be passed on.
func (f *filter) next(b []byte) (n int, pass bool) {
	n = bytes.IndexByte(b, '\n') + 1
	if n == 0 {
		return 0, false
	}
	line := b[:n]
	if comment := bytes.TrimLeft(line, " \t"); comment[0] == '#' {
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
	if f.judge(line) == 0 || f.verdict.flags&skipSeries == 0 {
		return n, true
	}
	f.samples++
	if f.verdict.flags&dropped == 0 {
		f.kept++
	}
	i := int(f.verdict.number)
	if i >= len(f.numbers) {
		f.numbers = append(f.numbers, make([]uint32, i+1-len(f.numbers))...)
	}
	f.numbers[i]++
	return n, false
}

// opensName tells whether a comment has, or may have, metadata of a family whose
// name is in quotation marks, which may go on in the next line.
func opensName(line []byte) bool {
	const keyword = len("HELP")
	rest := bytes.TrimLeft(line[1:], " \t")
	return len(rest) > keyword && bytes.HasPrefix(bytes.TrimLeft(rest[keyword:], " \t"), []byte{'"'})
}

// openQuotes tells whether a line ends inside quotation marks, and so is only part
// of what the parsers read as one.
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

// judge finds the verdict on the name that a line begins with, or that its metadata
// is about, and where it ends; 0 if there is none.
func (f *filter) judge(line []byte) (end int) {
	if n := len(f.previous); n > 0 && len(line) > n && endsName(line[n]) && bytes.Equal(line[:n], f.previous) {
		return n
	}
	n := nameLength(line)
	v, ok := f.view.lines[string(line[:n])]
	if !ok {
		f.previous = f.previous[:0]
		return 0
	}
	f.previous, f.verdict = append(f.previous[:0], line[:n]...), v
	return n
}

func endsName(c byte) bool { return c == '{' || c == ' ' || c == '\t' }

// passComment tells whether a comment is anything but metadata that nobody needs.
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
	n := f.judge(rest)
	pass := n == 0 || f.verdict.flags&knownFamily == 0 || f.verdict.flags&keepFamily != 0
	if !isType {
		return pass
	}
	if n == 0 {
		n = max(0, bytes.IndexByte(rest, ' '))
	}
	typ := labelTypeOf(rest[min(n+1, len(rest)-1) : len(rest)-1])
	if pass || typ == strangeType {
		f.bodyType, f.passedType = typ, typ
		return true
	}
	f.bodyType, f.typeAt = typ, f.line
	f.typeLine = append(f.typeLine[:0], line...)
	return false
}

// noteType notes the type in a comment that is passed on, if the text parser takes it for a type: it minds
// neither blanks before it nor how many there are in it.
func (f *filter) noteType(line []byte) {
	comment := bytes.TrimLeft(line, " \t")[1:]
	text := bytes.TrimLeft(comment, " \t")
	if len(text) == len(comment) || !bytes.HasPrefix(text, []byte("TYPE")) || len(text) == len("TYPE") || !endsName(text[len("TYPE")]) {
		return
	}
	if fields := bytes.Fields(text); len(fields) > 2 {
		typ := labelTypeOf(fields[2])
		f.bodyType, f.passedType = typ, typ
	}
}

// lineOf gives the number in the whole body of the line at a place in what was
// passed on, 0 if it is not known.
func (s *skippedLines) lineOf(passed []byte, at int) int {
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
