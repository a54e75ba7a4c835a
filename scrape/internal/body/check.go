package body

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"mime"

	"github.com/promlet/promlet/scrape/internal/reason"
)

// textparse (v0.315) does not survive these, or only at great cost. A target may not
// serve them:
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

// mediaType returns how textparse.New will read the body, "" for not at all.
func (a *Answer) mediaType() string {
	if a.media != "" {
		return a.media
	}
	a.media = a.FallbackType
	typ, _, err := mime.ParseMediaType(a.ContentType)
	if err == nil && (typ == typeText || typ == typeOpenMetrics || typ == typeProtobuf) {
		a.media = typ
	}
	return a.media
}

func isText(typ string) bool { return typ == typeText || typ == typeOpenMetrics }

// Check returns an error if the body must not reach the parser.
func (a *Answer) Check() error {
	switch typ := a.mediaType(); {
	case typ == typeProtobuf:
		return checkProtobuf(a.Bytes())
	case isText(typ):
		return checkText(a.Bytes())
	}
	return nil
}

// checkText looks for lines above maxToken. The parsers accept quoted label values that
// go over several lines.
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
			return fmt.Errorf("line %d: longer than %d bytes: %s", line, maxToken, reason.Excerpt(rest[:maxToken]))
		}
		rest = rest[n:]
	}
	return nil
}

// entryLength is the length of the line that b begins with, including the lines that its
// quotation marks go on in. It stops above maxToken.
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
	// ErrEmptyFamilies is returned by Check for protobuf that textparse does not survive.
	ErrEmptyFamilies = fmt.Errorf("more than %d metric families in a row have no metrics", maxEmptyFamilies)
	// ErrLargeField is returned by Check for protobuf that takes too much memory.
	ErrLargeField = fmt.Errorf("metric family with a field of more than %d bytes", maxToken)
)

// checkProtobuf goes over the framing of a delimited protobuf body. Whatever it cannot
// read the parser cannot read either, and reports.
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
			return ErrEmptyFamilies
		}
		b = b[n+int(size):] //nolint:gosec // As above.
	}
	return nil
}

// checkFamily goes over the fields of a metric family and reports whether a metric
// (field 4) is among them.
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
				return hasMetric, ErrLargeField
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
