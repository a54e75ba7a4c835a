package body

import (
	"bytes"
	"errors"
	"io"

	"github.com/prometheus/prometheus/model/textparse"

	"github.com/promlet/promlet/scrape/internal/reason"
)

// StartTimestampsEnd reports whether the parser can be asked for start timestamps. In
// OpenMetrics text the search for one never ends on some malformed exemplars, so the
// body is parsed without that search first.
func (a *Answer) StartTimestampsEnd() bool {
	return a.mediaType() != typeOpenMetrics || a.Locate(nil) == nil
}

// Locate adds the line to a parser's error. It parses the body again with the plain
// parser, which keeps track of where entries are. With a nil error it returns the first
// error in the body, if any.
func (a *Answer) Locate(err error) error {
	if a.mediaType() == typeProtobuf {
		return err
	}
	b := a.Bytes()
	p, _ := textparse.New(b, a.ContentType, nil, textparse.ParserOptions{FallbackContentType: a.FallbackType})
	if p == nil {
		return err
	}
	end := 0 // of the last good entry, up to its value
	for {
		entry, perr := p.Next()
		if errors.Is(perr, io.EOF) {
			return err
		}
		if perr != nil {
			return a.errorAfter(perr, end)
		}
		// Entries are parts of b. Their capacity says where they begin, because a part of
		// a slice keeps the capacity up to the slice's end.
		text := entryText(p, entry)
		if at := cap(b) - cap(text); len(text) > 0 && at >= end && at+len(text) <= len(b) {
			end = at + len(text)
		}
	}
}

func entryText(p textparse.Parser, entry textparse.Entry) (text []byte) {
	switch entry {
	case textparse.EntrySeries:
		text, _, _ = p.Series()
	case textparse.EntryType:
		text, _ = p.Type()
	case textparse.EntryHelp:
		text, _ = p.Help()
	case textparse.EntryUnit:
		text, _ = p.Unit()
	case textparse.EntryComment:
		text = p.Comment()
	}
	return text
}

// errorAfter describes an error in the first line with anything on it after the line
// that the first end bytes of the body end in.
func (a *Answer) errorAfter(err error, end int) error {
	b, at := a.Bytes(), 0
	if end > 0 {
		n := bytes.IndexByte(b[end:], '\n')
		if n < 0 {
			return &reason.ParseError{Line: a.Skipped().lineOf(b, len(b)), Err: err}
		}
		at = end + n + 1
	}
	at += len(b[at:]) - len(bytes.TrimLeft(b[at:], " \t\n"))
	e := &reason.ParseError{Line: a.Skipped().lineOf(b, at), Err: err}
	if line, _, _ := bytes.Cut(b[at:], []byte{'\n'}); len(line) > 0 {
		e.Excerpt = reason.Excerpt(line)
	}
	return e
}
