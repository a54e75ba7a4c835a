package harness

import (
	"errors"
	"fmt"
	"os"
	"slices"
)

// Cleanup is what has to be stopped in the end. The zero Cleanup is empty.
type Cleanup struct{ stops []func() error }

// Add has Stop call a function, before those that were added earlier.
func (c *Cleanup) Add(stop func() error) { c.stops = append(c.stops, stop) }

// Stop calls all functions, and returns their errors.
func (c *Cleanup) Stop() error {
	var errs []error
	for _, stop := range slices.Backward(c.stops) {
		errs = append(errs, stop())
	}
	return errors.Join(errs...)
}

// InTempDir calls a function with a temporary directory for its logs and data. After an error the directory stays, and the
// error names it.
func InTempDir(name string, f func(dir string) error) error {
	dir, err := os.MkdirTemp("", "promlet-"+name+"-")
	if err != nil {
		return err
	}
	if err := f(dir); err != nil {
		return fmt.Errorf("%w; the logs are in %s", err, dir)
	}
	return os.RemoveAll(dir)
}
