// Package harness is what the benchmarks of bench/ share: child processes that end
// with whoever started them, waiting with a limit, and numbers written for people.
package harness
