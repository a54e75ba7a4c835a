package scrape

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"mime"

	"github.com/prometheus/prometheus/model/textparse"
)

// What textparse (v0.315) does not survive, or at great cost, and a target may
// therefore not serve:
//
//   - The protobuf parser calls itself for every metric family without metrics:
//     2 MB of zero bytes end the process with a stack overflow, which cannot be
//     recovered from.
//   - Protobuf may hold integers of one byte that become eight.
//   - Errors of the text parsers quote the line, which may be the whole body,
//     and escape it.
const (
	maxEmptyFamilies = 1000
	// maxToken is the longest line of text and the longest field of a metric
	// family. Real ones stay below some 10 KiB.
	maxToken = 1 << 20
)

const (
	typeText        = "text/plain"
	typeOpenMetrics = "application/openmetrics-text"
	typeProtobuf    = "application/vnd.google.protobuf"
)

// mediaType tells how textparse.New will read a body, "" for not at all.
func mediaType(contentType, fallback string) string {
	typ, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return fallback
	}
	switch typ {
	case typeText, typeOpenMetrics, typeProtobuf:
		return typ
	}
	return fallback
}

// startTimestampsEnd tells whether the parser can be asked for start timestamps: in
// OpenMetrics text the search for one never ends on some malformed exemplars, so that
// it is parsed without that first.
func startTimestampsEnd(b []byte, contentType, fallback string) bool {
	return mediaType(contentType, fallback) != typeOpenMetrics || located(nil, b, contentType, fallback, nil) == nil
}

func isText(typ string) bool { return typ == typeText || typ == typeOpenMetrics }

// checkBody refuses bodies that must not reach the parser.
func checkBody(b []byte, contentType, fallback string) error {
	switch mediaType(contentType, fallback) {
	case typeProtobuf:
		return checkProtobuf(b)
	case typeText, typeOpenMetrics:
		return checkText(b)
	}
	return nil
}

// checkText looks for lines above maxToken. A quoted label value may, in what
// the parsers accept, go over several lines.
func checkText(b []byte) error {
	if len(b) <= maxToken {
		return nil
	}
	rest := b
	for len(rest) > 0 {
		n := bytes.IndexByte(rest, '\n') + 1
		if n == 0 {
			n = len(rest)
		}
		// Nearly all lines have none or two quotation marks per label.
		if line := rest[:n]; bytes.Count(line, []byte{'"'})%2 != 0 || bytes.IndexByte(line, '\\') >= 0 {
			n = entryLength(rest)
		}
		if n > maxToken {
			line := bytes.Count(b[:len(b)-len(rest)], []byte{'\n'}) + 1
			return fmt.Errorf("line %d: longer than %d bytes: %s", line, maxToken, excerptOf(rest[:maxToken]))
		}
		rest = rest[n:]
	}
	return nil
}

// entryLength is the length of the line b begins with, counting on where the
// line ends inside quotation marks. It stops above maxToken.
func entryLength(b []byte) int {
	if trimmed := bytes.TrimLeft(b, " \t"); len(trimmed) > 0 && trimmed[0] == '#' {
		// Help texts may hold any number of quotation marks.
		if n := bytes.IndexByte(b, '\n') + 1; n > 0 {
			return n
		}
		return len(b)
	}
	quoted := false
	for i := 0; i < len(b) && i <= maxToken; i++ {
		switch c := b[i]; {
		case c == '\\' && quoted:
			i++
		case c == '"':
			quoted = !quoted
		case c == '\n' && !quoted:
			return i + 1
		}
	}
	return len(b)
}

var (
	errEmptyFamilies = fmt.Errorf("more than %d metric families in a row have no metrics", maxEmptyFamilies)
	errLargeField    = fmt.Errorf("metric family with a field of more than %d bytes", maxToken)
)

// checkProtobuf goes over the framing of a delimited protobuf body. What it
// cannot read the parser cannot either, and is left to it.
func checkProtobuf(b []byte) error {
	empty := 0
	for len(b) > 0 {
		size, n := binary.Uvarint(b)
		if n <= 0 || size > uint64(len(b)-n) {
			return nil
		}
		hasMetric, err := checkFamily(b[n : n+int(size)]) //nolint:gosec // Not above len(b).
		if err != nil {
			return err
		}
		if empty++; hasMetric {
			empty = 0
		}
		if empty > maxEmptyFamilies {
			return errEmptyFamilies
		}
		b = b[n+int(size):] //nolint:gosec // As above.
	}
	return nil
}

// checkFamily goes over the fields of a metric family and tells whether there is
// a metric (field 4) among them.
func checkFamily(b []byte) (hasMetric bool, err error) {
	for len(b) > 0 {
		tag, n := binary.Uvarint(b)
		if n <= 0 {
			return hasMetric, nil
		}
		b = b[n:]
		var skip uint64
		switch tag & 7 {
		case 0:
			_, n := binary.Uvarint(b)
			skip = uint64(max(n, 0)) //nolint:gosec // Not negative.
			if n <= 0 {
				return hasMetric, nil
			}
		case 1:
			skip = 8
		case 2:
			size, n := binary.Uvarint(b)
			if n <= 0 {
				return hasMetric, nil
			}
			if size > maxToken {
				return hasMetric, errLargeField
			}
			skip = uint64(n) + size
		case 5:
			skip = 4
		default:
			// Groups: nobody writes them. The rest of the family goes unread.
			return hasMetric, nil
		}
		if skip > uint64(len(b)) {
			return hasMetric, nil
		}
		hasMetric = hasMetric || tag == 4<<3|2
		b = b[skip:]
	}
	return hasMetric, nil
}

// located adds the line to a parser's error, by going through the body again
// with the plain parser, which keeps track of where entries lie. With a nil
// error it gives the first that the body holds, if any. The body needs bodySpare;
// skipped is what has been taken out of it, nil for nothing.
func located(err error, b []byte, contentType, fallback string, skipped *skippedLines) error {
	if mediaType(contentType, fallback) == typeProtobuf {
		return err
	}
	p, _ := textparse.New(b, contentType, nil, textparse.ParserOptions{FallbackContentType: fallback})
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
			return errorAfter(perr, b, end, skipped)
		}
		// Entries are parts of b, which tells where they are: a part of a slice
		// keeps its capacity.
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

// errorAfter describes an error in the first line with anything on it after the
// line that holds b[end-1].
func errorAfter(err error, b []byte, end int, skipped *skippedLines) error {
	at := 0
	if end > 0 {
		n := bytes.IndexByte(b[end:], '\n')
		if n < 0 {
			return &parseError{line: skipped.lineOf(b, len(b)), err: err}
		}
		at = end + n + 1
	}
	blank := len(b[at:]) - len(bytes.TrimLeft(b[at:], " \t\n"))
	at += blank
	e := &parseError{line: skipped.lineOf(b, at), err: err}
	line, _, _ := bytes.Cut(b[at:], []byte{'\n'})
	if len(line) > 0 {
		e.excerpt = excerptOf(line)
	}
	return e
}
