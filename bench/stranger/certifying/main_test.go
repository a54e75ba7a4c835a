package main

import (
	"testing"

	"github.com/promlet/promlet/bench/stranger/internal/twice"
)

func TestTwice(t *testing.T) { twice.Run(t, open) }
