package reason

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestReasons(t *testing.T) {
	require.Equal(t, "abc", Shorten("abc", 3))
	require.Equal(t, "...", Shorten("abcd", 3))
	require.Equal(t, "ab...", Shorten("ab\u00e9cdef", 6))
	require.Equal(t, "ab\u00e9...", Shorten("ab\u00e9cdef", 7))
	require.Equal(t, "\xff\xff\xff\xff...", Shorten(strings.Repeat("\xff", 20), 10))

	require.NoError(t, Bounded(nil))
	require.ErrorIs(t, Bounded(io.EOF), io.EOF)
	long := errors.New(strings.Repeat("x", 10_000))
	require.Len(t, Bounded(long).Error(), Max)
	// A parser's error that holds a lot is not kept.
	pe := Bounded(&ParseError{Line: 3, Err: errors.New("short while parsing: " + strings.Repeat("x", 10_000))})
	require.EqualError(t, pe, "line 3: short")
	require.Nil(t, errors.Unwrap(pe))

	require.Equal(t, `line 3: expected value, in "…"`, Public(errors.New(`line 3: expected value, in "secret{x=\"y\"} z"`)))
	require.Equal(t, `append "…": cut "…"`, Public(errors.New(`append "secret": cut "sec`)))
	require.Equal(t, "server returned HTTP status 500 Internal Server Error", Public(errors.New("server returned HTTP status 500 secret")))
	require.Equal(t, "server returned HTTP status 599", Public(errors.New("server returned HTTP status 599 secret")))
	require.Equal(t, "timed out after 1s", Public(errors.New("timed out after 1s")))
	_, err := strconv.ParseFloat("many", 64)
	require.EqualError(t, &ParseError{Line: 3, Err: fmt.Errorf("%w while parsing: %q", err, "a many")}, `line 3: "many" is not a number`)
	kind := func(s string) string { return Kind(errors.New(s)) }
	require.Equal(t, kind("read tcp 127.0.0.1:5678->10.0.0.1:80: reset"), kind("read tcp 127.0.0.1:1234->10.0.0.1:80: reset"))
	require.Equal(t, kind(`line 7: bad "x\"y" here`), kind(`line 12: bad "z" here`))
	require.NotEqual(t, kind("timed out"), kind("connection refused"))

	var pan *PanicError
	require.ErrorAs(t, Guarded(func() error { panic(strings.Repeat("x", 10_000)) }), &pan)
	require.Len(t, pan.Error(), Max)
	require.ErrorIs(t, Guarded(func() error { return io.EOF }), io.EOF)
}
