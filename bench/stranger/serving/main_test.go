package main

import (
	"testing"

	"github.com/promlet/promlet/bench/stranger/internal/twice"
)

func TestTwice(t *testing.T) { twice.Run(t, open) }

func TestDatabaseClosedFirst(t *testing.T) {
	twice.DatabaseClosedFirst(t, open, func(p *program) error { return p.queue.Close() }, "500 Internal Server Error")
}
