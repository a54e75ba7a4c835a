package scrape

import (
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"unicode/utf8"
)

// Reasons end up on status pages, in 404 messages and in the log, and parts of
// them come from whoever serves the target: their length is bounded.
const (
	maxReason  = 512
	maxExcerpt = 120
)

// limitError says that a limit was exceeded. limit is its name in metrics.
type limitError struct {
	limit string
	text  string
}

func (e *limitError) Error() string { return e.text }

func limitErrorf(limit, format string, args ...any) error {
	return &limitError{limit: limit, text: fmt.Sprintf(format, args...)}
}

// limitOf names the limit that err is about, "" for none.
func limitOf(err error) string {
	if le, ok := errors.AsType[*limitError](err); ok {
		return le.limit
	}
	return ""
}

// parseError is a body that could not be read.
type parseError struct {
	line    int    // 1-based; 0 in formats without lines
	excerpt string // of the line, quoted and shortened
	err     error  // the parser's
}

func (e *parseError) Error() string {
	// The parser repeats what it has read of the entry; the excerpt shows more.
	text, _, _ := strings.Cut(e.err.Error(), " while parsing: ")
	text = shorten(text, maxReason/2)
	if e.line == 0 {
		return text
	}
	if e.excerpt == "" {
		return fmt.Sprintf("line %d: %s", e.line, text)
	}
	return fmt.Sprintf("line %d: %s, in %s", e.line, text, e.excerpt)
}

func (e *parseError) Unwrap() error { return e.err }

// panicError is a panic that was stopped at the edge of a scrape.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string {
	return shorten(fmt.Sprintf("panic (a bug, please report it): %v", e.value), maxReason)
}

// guarded runs f and turns a panic in it into an error.
func guarded(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &panicError{value: v, stack: debug.Stack()}
		}
	}()
	return f()
}

// bounded gives err back with a text of at most maxReason bytes. An error that
// has to be cut loses what it wraps, so that nothing large is kept alive.
func bounded(err error) error {
	if err == nil {
		return nil
	}
	if text := err.Error(); len(text) > maxReason {
		return errors.New(shorten(text, maxReason))
	}
	// A parser's error may hold a whole body behind its short text.
	if pe, ok := errors.AsType[*parseError](err); ok && len(pe.err.Error()) > maxReason {
		return errors.New(err.Error())
	}
	return err
}

// shorten cuts s to at most limit bytes, between characters.
func shorten(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	const ellipsis = "..."
	s = s[:limit-len(ellipsis)]
	for range utf8.UTFMax - 1 {
		if r, size := utf8.DecodeLastRuneInString(s); r != utf8.RuneError || size != 1 {
			break
		}
		s = s[:len(s)-1]
	}
	return s + ellipsis
}

// excerptOf quotes the beginning of a line.
func excerptOf(line []byte) string {
	if len(line) <= maxExcerpt {
		return fmt.Sprintf("%q", line)
	}
	return fmt.Sprintf("%q...", line[:maxExcerpt])
}

// reasonKind is what is left of a reason when everything that may differ from
// scrape to scrape is taken out: numbers (ports, sizes, lines) and quotations.
func reasonKind(err error) string {
	var b strings.Builder
	quoted := false
	text := err.Error()
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\' && quoted:
			i++
		case c == '"':
			quoted = !quoted
		case quoted, c >= '0' && c <= '9':
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}
