package monitors

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// clusters is how many random clusters are compared, in parts that run side by side.
const (
	clusters = 2000
	parts    = 20
)

func TestRandomClusters(t *testing.T) {
	g, err := NewGenerator()
	require.NoError(t, err)
	for part := range parts {
		t.Run(fmt.Sprint(part), func(t *testing.T) {
			t.Parallel()
			var jobs, targets, rejected int
			for seed := uint64(part); seed < clusters; seed += parts {
				c, err := g.Generate(seed)
				require.NoError(t, err)
				_, theirs := compare(t, c)
				if theirs != nil {
					jobs, targets, rejected = jobs+len(theirs.Jobs), targets+theirs.Targets(), rejected+len(theirs.Rejected)
				}
				if t.Failed() {
					t.Fatalf("seed %d", seed)
				}
			}
			// What is not there cannot differ.
			const n = clusters / parts
			require.Greater(t, jobs, n)
			require.Greater(t, targets, n)
			require.Greater(t, rejected, n/10)
		})
	}
}

func FuzzCluster(f *testing.F) {
	g, err := NewGenerator()
	require.NoError(f, err)
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		f.Add(r.Uint64(), r.Uint64(), r.Uint64(), r.Uint64())
	}
	// Not a slice of bytes: the fuzzer would spend its time on making it shorter.
	f.Fuzz(func(t *testing.T, a, b, c, d uint64) {
		var data []byte
		for _, n := range []uint64{a, b, c, d} {
			data = binary.BigEndian.AppendUint64(data, n)
		}
		cluster, err := g.GenerateFrom(data)
		require.NoError(t, err)
		compare(t, cluster)
	})
}
