package main

import (
	"os"
	"slices"
	"testing"

	"go.uber.org/goleak"
)

// TestMain lets the test binary be the server that measurements start.
func TestMain(m *testing.M) {
	if slices.Contains(os.Args, serveArgument) {
		main()
		return
	}
	goleak.VerifyTestMain(m)
}
