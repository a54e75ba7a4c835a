// Package reason has the errors that scrapes fail with. They are reasons for people:
// they end up on status pages, in 404 messages and in the log. Parts of them come from
// whoever serves the target, so their length is bounded.
//
//   - [Limitf] makes an error that says that a limit was exceeded, and [LimitOf] finds the
//     limit again. A [ParseError] says that a body cannot be read, a [PanicError] that the
//     scrape panicked.
//   - [Bounded] goes over every error before it is shown, [Kind] over those that are
//     compared.
package reason

import (
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	// Max is the length of a reason, in bytes.
	Max = 512
	// MaxExcerpt is that of what a reason quotes.
	MaxExcerpt = 120
	// HTTPStatus is how the reason of an answer that is not 200 begins; its status follows.
	HTTPStatus = "server returned HTTP status "
)

// limitError says that a limit was exceeded.
type limitError struct {
	limit string // its name in metrics
	text  string
}

func (e *limitError) Error() string { return e.text }

// Limitf makes an error that says that a limit was exceeded. limit is its name in metrics.
func Limitf(limit, format string, args ...any) error {
	return &limitError{limit: limit, text: fmt.Sprintf(format, args...)}
}

// LimitOf names the limit that err is about, "" for none.
func LimitOf(err error) string {
	if le, ok := errors.AsType[*limitError](err); ok {
		return le.limit
	}
	return ""
}

// ParseError says that a body cannot be read.
type ParseError struct {
	Line    int    // from 1; 0 in formats without lines
	Excerpt string // of the line, as Excerpt makes it
	Err     error  // the parser's
}

func (e *ParseError) Error() string {
	// The parser repeats what it has read of the entry; the excerpt shows more.
	text, _, _ := strings.Cut(e.Err.Error(), " while parsing: ")
	if number, ok := errors.AsType[*strconv.NumError](e.Err); ok {
		text = fmt.Sprintf("%q is not a number", number.Num)
		if errors.Is(number, strconv.ErrRange) {
			text = fmt.Sprintf("%q is out of range", number.Num)
		}
	}
	text = Shorten(text, Max/2)
	if e.Line == 0 {
		return text
	}
	if e.Excerpt == "" {
		return fmt.Sprintf("line %d: %s", e.Line, text)
	}
	return fmt.Sprintf("line %d: %s, in %s", e.Line, text, e.Excerpt)
}

func (e *ParseError) Unwrap() error { return e.Err }

// PanicError is a panic that Guarded stopped.
type PanicError struct {
	Stack []byte
	value any
}

func (e *PanicError) Error() string {
	return Shorten(fmt.Sprintf("panic (a bug, please report it): %v", e.value), Max)
}

// Guarded runs f and turns a panic in it into a PanicError.
func Guarded(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{value: v, Stack: debug.Stack()}
		}
	}()
	return f()
}

// Bounded returns err with a text of at most Max bytes. An error that has to be cut
// loses what it wraps, so that nothing large is kept alive.
func Bounded(err error) error {
	if err == nil {
		return nil
	}
	if text := err.Error(); len(text) > Max {
		return errors.New(Shorten(text, Max))
	}
	// A parser's error may hold a whole body behind its short text.
	if pe, ok := errors.AsType[*ParseError](err); ok && len(pe.Err.Error()) > Max {
		return errors.New(err.Error())
	}
	return err
}

// Shorten cuts s to at most limit bytes, between characters.
func Shorten(s string, limit int) string {
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

// Excerpt quotes the beginning of a line.
func Excerpt(line []byte) string {
	if len(line) <= MaxExcerpt {
		return fmt.Sprintf("%q", line)
	}
	return fmt.Sprintf("%q...", line[:MaxExcerpt])
}

// Public is the text of an error without what a target may have sent: a quotation becomes
// "…", and the text of an HTTP status the one that its code has.
func Public(err error) string {
	var b strings.Builder
	quoted := false
	text := err.Error()
	if status, ok := strings.CutPrefix(text, HTTPStatus); ok {
		code, _, _ := strings.Cut(status, " ")
		n, _ := strconv.Atoi(code) // 0 has no text
		return strings.TrimRight(HTTPStatus+code+" "+http.StatusText(n), " ")
	}
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\' && quoted:
			i++
		case c == '"':
			if quoted = !quoted; quoted {
				b.WriteString(`"…"`)
			}
		case !quoted:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// Kind is the text of an error without what may differ from scrape to scrape: numbers
// (ports, sizes, lines) and quotations.
func Kind(err error) string {
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
