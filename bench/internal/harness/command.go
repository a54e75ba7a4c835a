package harness

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// Command is a subcommand.
type Command struct {
	Name  string
	Limit time.Duration // bounds the whole run
	// Flags declares the command's flags. It may be nil.
	Flags func(*flag.FlagSet)
	// Run measures, and prints the figures.
	Run func(ctx context.Context, out io.Writer) error
	// Child starts the part of the command that runs in a process of its own, with
	// the setup that StartChild was given, as JSON. It may be nil.
	Child func(ctx context.Context, setup []byte) (Child, error)
}

// Main runs the command that is named by the first argument, or the only one, until it
// ends or the process is told to. An error, except a request for help, makes the status 1.
func Main(commands ...Command) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], commands)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, commands []Command) error {
	child := len(args) > 0 && args[0] == childArgument
	if child {
		args = args[1:]
	} else if len(commands) == 1 {
		args = append([]string{commands[0].Name}, args...)
	}
	var names []string
	for _, c := range commands {
		names = append(names, c.Name)
		if len(args) == 0 || args[0] != c.Name {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, c.Limit)
		defer cancel()
		if child {
			return serve(ctx, os.Stdin, os.Stdout, c.Child)
		}
		flags := flag.NewFlagSet(c.Name, flag.ContinueOnError)
		if c.Flags != nil {
			c.Flags(flags)
		}
		if err := flags.Parse(args[1:]); err != nil {
			return err
		}
		if err := c.Run(ctx, os.Stdout); err != nil {
			return fmt.Errorf("%s: %w", c.Name, err)
		}
		return nil
	}
	return fmt.Errorf("choose a command: %s", strings.Join(names, ", "))
}
