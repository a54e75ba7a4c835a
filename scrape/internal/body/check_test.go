package body

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prometheus/prometheus/model/textparse"

	"github.com/promlet/promlet/scrape/internal/reason"
)

// answerOf is an answer with the body, which has the spare room that bodies have.
func answerOf(contentType, body string) *Answer {
	return &Answer{ContentType: contentType, body: buffer{bytes: append(make([]byte, 0, len(body)+spare), body...)}}
}

func TestLocate(t *testing.T) {
	f := func(contentType, body, want string) {
		t.Helper()
		err := answerOf(contentType, body).Locate(nil)
		if want == "" {
			require.NoError(t, err)
			return
		}
		require.EqualError(t, err, want)
	}
	f(textType, "", "")
	f(textType, "a 1\n", "")
	f(textType, "a 1\n# EOF\n", "")
	f(textType, "a 1\nb x\n", `line 2: "x" is not a number, in "b x"`)
	f(textType, "{", `line 1: expected label name, got "\n" ("INVALID"), in "{"`)
	f(textType, "\n\n  \na 1\n\n\nb{x=1} 2\nc 3\n", `line 7: expected label value, got "1" ("INVALID"), in "b{x=1} 2"`)
	f(textType, "# HELP a b\\\\c\n# TYPE a counter\n# just so\na 1\n# TYPE b what\n", `line 5: invalid metric type "what", in "# TYPE b what"`)
	f(textType, "a{x=\"1\n2\n3\"} 1\nb 1 2 3\n", `line 4: expected next entry after timestamp, got "3\n" ("TIMESTAMP"), in "b 1 2 3"`)
	f(textType, "a 1 17\nb 1e\n", `line 2: "1e" is not a number, in "b 1e"`)
	f(textType, "a 1\nb{x=\""+strings.Repeat("y", 500)+"\"} z\n",
		`line 2: "z" is not a number, in "b{x=\"`+strings.Repeat("y", reason.MaxExcerpt-5)+`"...`)
	f(omType, "# TYPE a gauge\na 1\n# EOF\n", "")
	f(omType, "# TYPE a gauge\na 1\n", `line 3: data does not end with # EOF`)
	f(omType, "# TYPE a gauge\na 1\n# EOF\nb 1\n", `line 3: unexpected data after # EOF, in "# EOF"`)
	f(omType, "a 1\n\n# EOF\n", `line 3: expected a valid start token, got "\n" ("INVALID"), in "# EOF"`)
	f(omType, "# UNIT a_s x\n", `line 1: unit "x" not a suffix of metric "a_s", in "# UNIT a_s x"`)
	f(pbType, "garbage", "")
	f("text/html", "garbage", "")
}

func TestCheckText(t *testing.T) {
	pad := strings.Repeat("padding 1\n", maxToken/10+1) // Small bodies are not checked.
	long := strings.Repeat("x", maxToken)
	f := func(name, body, want string) {
		t.Helper()
		err := checkText([]byte(body))
		if want == "" {
			require.NoError(t, err, name)
			return
		}
		require.ErrorContains(t, err, want, name)
		require.Less(t, len(err.Error()), reason.Max, name)
	}
	n := strings.Count(pad, "\n")
	f("small", "a{x=\""+strings.Repeat("x", maxToken/2), "")
	f("many lines", pad+pad, "")
	f("no last newline", pad+"a 1", "")
	f("long line", pad+long+"\n", fmt.Sprintf("line %d: longer than 1048576 bytes", n+1))
	f("long value", pad+`a{x="`+long+`"} 1`, fmt.Sprintf("line %d: longer", n+1))
	f("value over lines", pad+"a{x=\"\n\n\n\"} 1\nb 1\n", "")
	f("value over lines, with escapes", pad+"a{x=\"\n\\\"\n\\\\\"} 1\nb 1\n", "")
	f("value without end", "a 1\nb{x=\"\n"+pad, "line 2: longer")
	f("value without end, escaped", "a 1\nb{x=\"\\\"\n"+strings.ReplaceAll(pad, "1", "\\\""), "line 2: longer")
	f("quotation mark in a help text", pad+"# HELP a 5\" disks\n"+pad+"# HELP b \\\"\n"+pad, "")
	f("long help", pad+"# HELP a \""+long+"\n", fmt.Sprintf("line %d: longer", n+1))
	f("help without newline", pad+"# HELP a \"", "")
}

// largeFamily is a metric family with a metric that is too large.
func largeFamily() []byte {
	family := append(binary.AppendUvarint([]byte{4<<3 | 2}, maxToken+1), make([]byte, maxToken+1)...)
	return append(binary.AppendUvarint(nil, uint64(len(family))), family...)
}

func TestCheckProtobuf(t *testing.T) {
	frame := func(s string) string { return string(rune(len(s))) + s }
	metric := frame("\x0a\x01a\x22\x00") // name "a", one metric without content
	empty := frame("\x0a\x01a")
	require.NoError(t, checkProtobuf(nil))
	require.NoError(t, checkProtobuf([]byte(metric)))
	require.NoError(t, checkProtobuf([]byte(strings.Repeat(metric, 5000))))
	require.NoError(t, checkProtobuf([]byte(strings.Repeat(empty, maxEmptyFamilies))))
	require.NoError(t, checkProtobuf([]byte(strings.Repeat(strings.Repeat(empty, maxEmptyFamilies)+metric, 3))))
	require.Equal(t, ErrEmptyFamilies, checkProtobuf([]byte(strings.Repeat(empty, maxEmptyFamilies+1))))
	require.Equal(t, ErrEmptyFamilies, checkProtobuf(make([]byte, maxEmptyFamilies+1)))
	require.Equal(t, ErrLargeField, checkProtobuf(largeFamily()))
	// Whatever cannot be read counts as empty, and is no error.
	for _, odd := range []string{"\x80", "\x0a", "\x0a\x05", "\x08\x80", "\x09\x01", "\x0d\x01", "\x0b\x00", "\x0f", "\x08\x01\x22\x05a"} {
		require.NoError(t, checkProtobuf([]byte(frame(odd))), "%q", odd)
		require.Equal(t, ErrEmptyFamilies, checkProtobuf([]byte(strings.Repeat(frame(odd), maxEmptyFamilies+1))), "%q", odd)
	}
	// Fields of all kinds before the metric.
	require.NoError(t, checkProtobuf([]byte(strings.Repeat(frame("\x08\x01\x09________\x0d____\x22\x00"), maxEmptyFamilies+1))))
	require.NoError(t, checkProtobuf([]byte("\xff\xff\xff")))
	require.NoError(t, checkProtobuf([]byte("\x05ab")))
}

func TestMediaType(t *testing.T) {
	for contentType, want := range map[string]string{
		textType: typeText, omType: typeOpenMetrics, pbType: typeProtobuf, "text/html": "fb", "": "fb", ";": "fb", "TEXT/PLAIN": typeText,
	} {
		a := Answer{ContentType: contentType, FallbackType: "fb"}
		require.Equal(t, want, a.mediaType(), contentType)
	}
}

// FuzzBody: a body can do no more than fail. Locate finds an error if and only if a plain
// parser does, and the error's line is one of the body. Where it finds none, the search
// for start timestamps ends.
func FuzzBody(f *testing.F) {
	for _, h := range []string{
		"a 1\n", "# TYPE a counter\na_total{b=\"c\"} 2 # {x=\"y\"} 1\n# EOF\n", "a{x=\"1\n\"} 1 2\n\n# HELP b \\\n", "}", "\x00\x00\x02\x0a\x00",
	} {
		f.Add([]byte(h), uint8(0))
		f.Add([]byte(h), uint8(1))
		f.Add([]byte(h), uint8(2))
	}
	f.Fuzz(func(t *testing.T, b []byte, kind uint8) {
		contentType := []string{textType, omType, pbType}[kind%3]
		a := answerOf(contentType, string(b))
		b = a.Bytes()
		_ = checkText(b)
		if err := a.Check(); err != nil {
			return
		}
		err := a.Locate(nil)
		if contentType == pbType {
			require.NoError(t, err)
			return
		}
		if err == nil {
			_ = reason.Guarded(func() error { return readAll(b, contentType) })
		}
		want := firstError(b, contentType)
		require.Equal(t, want == nil, err == nil, "%v, %v", want, err)
		if pe, ok := errors.AsType[*reason.ParseError](err); ok {
			require.Equal(t, want.Error(), pe.Err.Error())
			require.LessOrEqual(t, pe.Line, bytes.Count(b, []byte{'\n'})+1)
			require.Positive(t, pe.Line)
			require.LessOrEqual(t, len(reason.Bounded(err).Error()), reason.Max)
		}
	})
}

// readAll reads a body as a scrape does that wants everything in it.
func readAll(b []byte, contentType string) error {
	p, err := textparse.New(b, contentType, nil, textparse.ParserOptions{OpenMetricsSkipSTSeries: true, ConvertClassicHistogramsToNHCB: true})
	if err != nil {
		return err
	}
	for {
		entry, err := p.Next()
		if err != nil {
			return err
		}
		if entry == textparse.EntrySeries || entry == textparse.EntryHistogram {
			p.StartTimestamp()
		}
	}
}

func firstError(b []byte, contentType string) error {
	p, err := textparse.New(bytes.Clone(b), contentType, nil, textparse.ParserOptions{})
	if err != nil {
		return err
	}
	for {
		if _, err := p.Next(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}
