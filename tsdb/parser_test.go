package tsdb

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What is in quotes does not nest: a query may name thousands of pods, in whichever way it is asked.
func TestExpressionsThatAreTooMuch(t *testing.T) {
	db := openIn(t, t.TempDir())
	f := func(expr, want string) {
		t.Helper()
		_, err := db.Instant(t.Context(), Query{Expr: expr, At: at(0)})
		if want == "" {
			require.NoError(t, err)
			return
		}
		require.ErrorContains(t, err, want)
	}
	f(`up{pod=~"`+strings.Repeat("pod-abcdef-12345|", 20_000)+`"}`, "")
	f(`up{pod=~"`+strings.Repeat("x", 600_000)+`"}`, "more than 524288: select by fewer values")
	f(strings.Repeat("(", 20_000)+"1"+strings.Repeat(")", 20_000), "more than 4000 names, numbers, strings, operators and brackets: split it")
	f(strings.Repeat("(", 1900)+"1"+strings.Repeat(")", 1900), "nests deeper than 500: split it")
	f(strings.Repeat("(", 500)+"1"+strings.Repeat(")", 500), "")
	f(strings.Repeat("x", 17_000), "the expression has more than 16384 bytes outside of strings: split it")
	f(`label_join(up, "a", "-"`+strings.Repeat(`, "b"`, 97)+")", "")
	f(`label_join(up, "a", "-"`+strings.Repeat(`, "b"`, 98)+")", "lists more than 100 values between two brackets: list fewer")
	f("sum(rate(x[1m]))"+strings.Repeat(" + sum(rate(x[1m]))", 199), "")
	f("rate(up[1m + 4m])", "")
	f("limitk(1, up)", "limitk() is experimental")
	f("up{", "unexpected end of input inside braces")
}

// Parsing cannot be cancelled. Without bounds each of these takes seconds or more, and most of memory.
func TestExpressionsThatParseForLong(t *testing.T) {
	signs := strings.Repeat("-", 400_000)
	same := strings.TrimSuffix(strings.Repeat(`"a",`, 8000), ",")
	p := newParser()
	for _, expr := range []string{
		signs + "up",
		"#\"\n" + signs + "up",
		"#`\n" + signs + "up",
		`"\"" + ` + signs + "up",
		"up + on(" + same + ") group_left(" + same + ") up",
	} {
		start := time.Now()
		_, err := p.ParseExpr(expr)
		require.ErrorContains(t, err, "the expression ")
		require.Less(t, time.Since(start), 2*time.Second)
	}
	_, err := p.ParseExpr(strings.Repeat("-", maxExprItems-1) + "up")
	require.ErrorContains(t, err, "nests deeper")
	_, err = p.ParseExpr("# it's `this\n" + `up{a="#("} # "`)
	require.NoError(t, err)
}

func TestSelectorsThatAreTooMuch(t *testing.T) {
	p := newParser()
	f := func(selector, want string) {
		t.Helper()
		_, err := p.ParseMetricSelector(selector)
		_, errs := p.ParseMetricSelectors([]string{"up", selector})
		if want == "" {
			require.NoError(t, errors.Join(err, errs))
			return
		}
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, errs, want)
	}
	f(`up{pod=~"`+strings.Repeat("pod-abcdef-12345|", 20_000)+`"}`, "")
	f("{"+strings.Repeat(`a="b",`, 99)+`a="b"}`, "")
	f("{"+strings.Repeat(`a="b",`, 100)+`a="b"}`, "the selector lists more than 100 values between two brackets")
	f(`{a="`+strings.Repeat("x", 600_000)+`"}`, "the selector has 600006 bytes, more than 524288")
	f(strings.Repeat("-", 600), "unexpected <op:->")
	sets, err := p.ParseMetricSelectors([]string{"a", `b{c="d"}`})
	require.NoError(t, err)
	require.Len(t, sets, 2)
	require.Len(t, sets[1], 2)
}
