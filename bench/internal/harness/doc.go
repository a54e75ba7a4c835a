// Package harness is what the programs of bench/ share: child processes that end
// with whoever started them, waiting with a limit, and numbers written for people.
package harness
