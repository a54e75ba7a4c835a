package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"
)

const (
	// defaultInterval is shorter than most scrape intervals.
	defaultInterval = 5 * time.Second
	// minInterval limits the load of a forgotten --watch.
	minInterval = time.Second
)

// watching displays something once, or repeatedly with --watch.
type watching struct {
	watch    bool
	interval time.Duration
}

func (w *watching) addTo(flags *pflag.FlagSet) {
	flags.BoolVarP(&w.watch, "watch", "w", false, "Display the values repeatedly until interrupted.")
	flags.DurationVar(&w.interval, "interval", defaultInterval, "Time between two displays with --watch. At least 1s.")
}

func (w *watching) validate() error {
	if w.interval < minInterval {
		return fmt.Errorf("--interval=%s: give %s or more", w.interval, minInterval)
	}
	return nil
}

// run displays once, or until it is interrupted. It shows the output of display also when that
// returns an error. After the first display, a noValueError does not end it.
func (w *watching) run(cmd *cobra.Command, display func(ctx context.Context, out io.Writer) error) error {
	ctx := cmd.Context()
	for first := true; ; first = false {
		var shown bytes.Buffer
		err := display(ctx, &shown)
		if shown.Len() > 0 {
			if err := w.show(cmd.OutOrStdout(), shown.Bytes(), first); err != nil {
				return err
			}
		}
		switch {
		case !w.watch:
			return err
		case ctx.Err() != nil:
			return nil // interrupted
		case err != nil && first && !errors.As(err, new(*noValueError)):
			return err
		case err != nil: // it may pass
			cmd.PrintErrln("promlet:", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(w.interval):
		}
	}
}

// show writes a display. On a terminal it replaces the one before; otherwise it follows it
// after a blank line.
func (w *watching) show(out io.Writer, display []byte, first bool) error {
	const clear = "\x1b[H\x1b[2J"
	switch {
	case w.watch && isTerminal(out):
		display = append([]byte(clear), display...)
	case !first:
		display = append([]byte("\n"), display...)
	}
	_, err := out.Write(display)
	return err
}

func isTerminal(out io.Writer) bool {
	file, ok := out.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}
