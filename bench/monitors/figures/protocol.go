package main

import (
	"time"
)

// The two sides.
const (
	sidePromlet    = "promlet"
	sidePrometheus = "prometheus"
)

// setup is the first line that a child is sent, as JSON.
type setup struct {
	Side string
	// APIServer is the URL of the API server.
	APIServer string
	// Targets is the address that stands for every target's.
	Targets string
	// Config is Prometheus's configuration, for its side.
	Config string
	// Batch is how long Prometheus's two stages gather changes, at most. 0 is its
	// defaults.
	Batch time.Duration
	// Profiles is the directory for profiles of the child. Empty: none are written.
	Profiles string
}

// The commands that a child is sent, one a line. It answers each with one line of JSON:
// a reading, or for askTargets a list of strings. The first answer, to setup, is a
// reading of the child before it has begun.
const (
	askCPU     = "cpu"     // a reading of CPU alone, which costs next to nothing
	askCount   = "count"   // a reading of Targets alone
	askAll     = "all"     // a whole reading, after garbage has been collected
	askTargets = "targets" // URL and labels of each target, sorted
	askProfile = "profile" // the CPU profile begins, or ends and the heap's is written too
)

// reading is what a child says of itself.
type reading struct {
	CPU     time.Duration // used by the process so far
	Targets int           // with a scrape loop
	Heap    uint64        // bytes of live heap
	Stacks  uint64        // bytes of goroutine stacks
	Updates int           // how often one job's targets have been brought up to date
}
