package boundedtemplate

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTemplates(t *testing.T) {
	f := func(want, text string, data any) {
		t.Helper()
		parsed, err := Parse("metricsQuery", text)
		require.NoError(t, err)
		for range 3 {
			var b strings.Builder
			require.NoError(t, parsed.Execute(&b, data))
			require.Equal(t, want, b.String())
		}
	}
	data := map[string]any{"Series": "x", "Values": map[string]string{"pod": "a|b", "ns": "n"}, "List": strings.Split(strings.Repeat("p,", 10_000), ",")}
	f("sum(x)", "sum(<<.Series>>)", data)
	f("x a|b", `<<.Series>> <<index .Values "pod">>`, data)
	f(`ns="n",pod="a|b",`, `<<range $k, $v := .Values>><<printf "%s=%q," $k $v>><<end>>`, data)
	f(strings.Repeat("p", 10_000), "<<range .List>><<.>><<end>>", data)
	f("012none", `<<range 3>><<.>><<end>><<range 0>>x<<else>>none<<end>>`, data)
	f("a b&lt;", `<<define "t">>a <<.>><<end>><<template "t" (html "b<")>>`, data)
	f("yes", `<<if .Series>><<with "yes">><<print .>><<end>><<end>>`, data)
}

func TestBounds(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		parsed, err := Parse("metricsQuery", text)
		require.NoError(t, err)
		var b strings.Builder
		require.ErrorContains(t, parsed.Execute(&b, map[string]int{"N": 2_000_000_000}), want)
		require.LessOrEqual(t, b.Len(), maxBytes)
	}
	f(`<<range 2000000000>><<end>>`, ErrTooManySteps.Error())
	f(`<<range .N>><<range 10>>x<<end>><<end>>`, ErrTooManySteps.Error())
	f(`<<if .N>><<with .N>><<range .>><<end>><<end>><<end>>`, ErrTooManySteps.Error())
	f(`<<range 0>><<else>><<range .N>><<end>><<end>>`, ErrTooManySteps.Error())
	f(`<<define "t">><<template "t">><<template "t">><<end>><<template "t">>`, ErrTooManySteps.Error())
	f(`<<define "t">><<range 20000>><<end>><<end>><<range 1000>><<template "t">><<end>>`, ErrTooManySteps.Error())
	f(`<<$a := "0123456789">>`+strings.Repeat(`<<$a = printf "%s%s" $a $a>>`, 60), ErrTooLong.Error())
	f(`<<$a := "0123456789">>`+strings.Repeat(`<<$a = print $a $a>>`, 60), ErrTooLong.Error())
	f(`<<$a := "<<<<<<<<">>`+strings.Repeat(`<<$a = html $a $a>>`, 60), ErrTooLong.Error())
	f(`<<range 15000>>`+strings.Repeat("x", 100)+`<<end>>`, ErrTooLong.Error())
	f(`<<printf "%1000000d" 1>>`, "a width of more than 999")
	f(`<<printf "%.99999f" 1.0>>`, "a width of more than 999")
	f(`<<printf "%*d" 1000000 1>>`, "a width of more than 999")
	f(`<<printf "%[1]d%[1]d" 1>>`, "numbers an argument")
	f(`<<printf "`+strings.Repeat("%d", 200)+`">>`, "more than 100 verbs")
	f(`<<range 20000>><<countStep -5>><<end>>`, ErrTooManySteps.Error())
}

func FuzzTemplates(f *testing.F) {
	f.Add(`<<range 9>><<printf "%s%s" . $>><<end>>`)
	f.Fuzz(func(t *testing.T, text string) {
		parsed, err := Parse("x", text)
		if err != nil {
			return
		}
		var b strings.Builder
		_ = parsed.Execute(&b, map[string]any{"Series": "x", "Values": map[string]string{"a": "b"}})
		require.LessOrEqual(t, b.Len(), maxBytes)
	})
}
