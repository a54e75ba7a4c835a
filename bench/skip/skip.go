// Package skip skips tests that need what a machine does not have, and notes it for the end of `make test`.
package skip

import (
	"os"
	"testing"
)

// file is the environment variable with the path of the file for notes. `make test` sets it to another path each
// time, so that Go caches no result of a test that was skipped.
const file = "PROMLET_SKIPPED"

// Test skips a test: what it would have tested, and how to have that.
func Test(t testing.TB, what, remedy string) {
	t.Helper()
	Note(t, what, remedy)
	t.Skip(what + " is not tested: " + remedy)
}

// Note adds a line to the notes, for a test that goes on with less.
func Note(t testing.TB, what, remedy string) {
	t.Helper()
	path := os.Getenv(file)
	if path == "" {
		return
	}
	notes, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer notes.Close() //nolint:errcheck // what is lost is a note
	if _, err := notes.WriteString(what + ": " + remedy + "\n"); err != nil {
		t.Fatal(err)
	}
}
