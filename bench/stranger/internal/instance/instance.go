// Package instance has what the programs of this module have in common: they can run several times in one process.
package instance

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Config is what instances of a program differ in.
type Config struct {
	// Dir is a directory of the instance.
	Dir string
	// Number is what Instance.Ask returns.
	Number float64
	// Registry receives the instance's metrics.
	Registry *prometheus.Registry
}

// Instance is a program under way.
type Instance interface {
	// Ask returns Config.Number as the instance has it from promlet.
	Ask(ctx context.Context) (float64, error)
	// Close ends the instance and waits for its goroutines.
	Close() error
}

// Main runs one instance of a program in a temporary directory and prints what it answers.
func Main[I Instance](open func(Config) (I, error)) {
	if err := run(open); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run[I Instance](open func(Config) (I, error)) (err error) {
	dir, err := os.MkdirTemp("", "stranger")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	instance, err := open(Config{Dir: dir, Number: 7, Registry: prometheus.NewRegistry()})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, instance.Close()) }()
	number, err := instance.Ask(context.Background())
	if err != nil {
		return err
	}
	fmt.Println(number)
	return nil
}

// Eventually calls ask until it has no error, for at most ten seconds, and returns the last error.
func Eventually(ctx context.Context, ask func() (float64, error)) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		number, err := ask()
		if err == nil {
			return number, nil
		}
		select {
		case <-ctx.Done():
			return 0, err
		case <-time.After(50 * time.Millisecond):
		}
	}
}
