package monitors

import (
	"math/rand/v2"
	"strconv"
)

// choices are where everything random comes from: the same ones give the same
// Cluster. They are bytes, and when these are used up a generator.
type choices struct {
	data []byte
	rng  *rand.Rand
}

func seeded(seed uint64) *choices {
	return &choices{rng: rand.New(rand.NewPCG(seed, 0))} //nolint:gosec // Nothing depends on its quality.
}

// intn is a number from 0 to n-1, where n is at most 256.
func (r *choices) intn(n int) int {
	if len(r.data) > 0 {
		b := r.data[0]
		r.data = r.data[1:]
		return int(b) % n
	}
	return r.rng.IntN(n)
}

// one is true once in n times.
func (r *choices) one(n int) bool { return r.intn(n) == n-1 }

// pick is one of the values.
func pick[T any](r *choices, values ...T) T { return values[r.intn(len(values))] }

// numbered is a name with a number.
func numbered(name string, n int) string { return name + strconv.Itoa(n) }
