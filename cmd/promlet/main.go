// Command promlet discovers pods through label selectors, scrapes their
// metrics into an embedded TSDB and serves them to the HorizontalPodAutoscaler.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() { run(newOptions) }

// run executes the command line and exits.
func run(defaults func() *options) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends the process at once.
	context.AfterFunc(ctx, stop)
	if err := commandFor(os.Args, defaults).ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "promlet:", err)
		os.Exit(1)
	}
}
