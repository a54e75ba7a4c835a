package client

import (
	"bytes"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/promlet/promlet/adapter/explain"
	"github.com/promlet/promlet/bench/skip"
)

// The shell completes the values that a flag takes.
func TestCompletionOfFlagValues(t *testing.T) {
	f := func(want string, args ...string) {
		t.Helper()
		out, err := execute(t, append([]string{"__complete"}, args...)...)
		require.NoError(t, err)
		require.Equal(t, want+":4\nCompletion ended with directive: ShellCompDirectiveNoFileComp\n", out)
	}
	f("table\nwide\njson\nyaml\n", "top", "-o", "")
	f("table\nwide\njson\nyaml\n", "top", "--output=")
	f("name\nvalue\n", "top", "--sort-by", "")
	f("table\nname\njson\n", "metrics", "-o", "")
	f("text\njson\n", "explain", "-o", "")
	f("text\njson\n", "check", "-o", "")
}

// Only terminals get colours, and columns stay aligned.
func TestColours(t *testing.T) {
	steps := []explain.Step{
		{Link: explain.LinkObject, State: explain.StateOK, Text: "pod a exists"},
		{Link: explain.LinkAutoscaler, State: explain.StateNote, Text: "none"},
		{Link: explain.LinkValue, State: explain.StateBroken, Text: "the value is NaN"},
	}
	var out bytes.Buffer
	require.NoError(t, printExplanation(&out, &explain.Explanation{Metric: "m", Object: "pods/a", Reason: "the value is NaN", Steps: steps}, true))
	require.Equal(t, "\x1b[32m✓\x1b[0m object       pod a exists\n\x1b[39m·\x1b[0m autoscaler   none\n\x1b[31m✗\x1b[0m value        the value is NaN\n\n"+
		"m of pods/a has no value: the value is NaN\n", out.String())
	require.Equal(t, "above target", palette(false).paint(yellow, "above target"))

	require.False(t, bool(paletteFor(&out)))
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		skip.Test(t, "Colours on a terminal", "make /dev/ptmx accessible: "+err.Error())
	}
	defer terminal.Close()
	t.Setenv("NO_COLOR", "")
	t.Setenv("TERM", "xterm")
	require.True(t, bool(paletteFor(terminal)))
	t.Setenv("TERM", "dumb")
	require.False(t, bool(paletteFor(terminal)))
	t.Setenv("TERM", "xterm")
	t.Setenv("NO_COLOR", "1")
	require.False(t, bool(paletteFor(terminal)))
}

// All commands write JSON in the same format. They do not escape < and >.
func TestJSON(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, printJSON(&out, &explain.Explanation{Metric: "m", Object: "external", Reason: "aggregate by (<<.GroupBy>>)"}))
	require.Equal(t, "{\n    \"metric\": \"m\",\n    \"object\": \"external\",\n    \"reason\": \"aggregate by (<<.GroupBy>>)\",\n    \"steps\": null\n}\n", out.String())
}
