// Command promlet discovers pods through label selectors, scrapes their
// metrics into an embedded TSDB and serves them to the HorizontalPodAutoscaler.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"k8s.io/klog/v2"

	"github.com/promlet/promlet/cmd/promlet/internal/client"
)

func main() { run(newOptions) }

// run executes the command line and exits.
func run(defaults func() *options) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends the process at once.
	context.AfterFunc(ctx, stop)
	// Only serve logs. The other commands return what went wrong as an error.
	klog.SetSlogLogger(slog.New(slog.DiscardHandler))
	if err := commandFor(os.Args, defaults).ExecuteContext(ctx); err != nil {
		if !errors.Is(err, client.ErrReported) {
			fmt.Fprintln(os.Stderr, "promlet:", err)
		}
		os.Exit(1)
	}
}
