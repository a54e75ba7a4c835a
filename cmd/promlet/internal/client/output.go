package client

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// choice is a flag with a fixed set of values, the default first.
type choice struct {
	flag   string
	values []string
}

func (c choice) addOutput(flags *pflag.FlagSet, value *string) {
	flags.StringVarP(value, c.flag, "o", c.values[0], "Output format. One of "+strings.Join(c.values, ", ")+".")
}

func (c choice) check(value string) error {
	if slices.Contains(c.values, value) {
		return nil
	}
	last := len(c.values) - 1
	return fmt.Errorf("--%s=%s: choose %s or %s", c.flag, value, strings.Join(c.values[:last], ", "), c.values[last])
}

// textOutput is the output format of commands that write text or JSON.
func textOutput() choice { return choice{"output", []string{"text", "json"}} }

// completing adds the values of flags to the shell's completion.
func (c Command) completing(choices ...choice) Command {
	for _, choice := range choices {
		// It returns an error only if the command has no such flag. A test would find that.
		_ = c.RegisterFlagCompletionFunc(choice.flag, cobra.FixedCompletions(choice.values, cobra.ShellCompDirectiveNoFileComp))
	}
	return c
}

// printJSON writes a value as JSON, indented as kubectl does.
func printJSON(out io.Writer, value any) error {
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "    ")
	encoder.SetEscapeHTML(false) // rules have << and >>
	return encoder.Encode(value)
}

// colour is the number of a terminal's colour. All have two digits, so that columns of coloured texts stay aligned.
type colour int

const (
	plain  colour = 39
	red    colour = 31
	green  colour = 32
	yellow colour = 33
)

// palette is whether to colour texts.
type palette bool

// paletteFor returns true for a terminal, unless NO_COLOR is set or the terminal is dumb.
func paletteFor(out io.Writer) palette {
	return palette(isTerminal(out) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb")
}

func (p palette) paint(c colour, text string) string {
	if !p {
		return text
	}
	return fmt.Sprintf("\x1b[%dm%s\x1b[0m", c, text)
}
