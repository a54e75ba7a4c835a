package monitors

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestShardsOfRandomClusters compares each of three shards with the operator's, with and without the enforced namespace.
// Together the shards have each target once.
func TestShardsOfRandomClusters(t *testing.T) {
	const clusters, shards = 150, 3
	g, err := NewGenerator()
	require.NoError(t, err)
	targets, parts := 0, 0
	for seed := range uint64(clusters) {
		c, err := g.Generate(seed)
		require.NoError(t, err)
		c.Settings.EnforceNamespaceLabel = c.Settings.EnforceNamespaceLabel || seed%2 == 0
		whole, _ := compare(t, c)
		together := map[string][]Target{}
		for shard := range int32(shards) {
			part := *c
			part.Settings.Shard, part.Settings.Shards = shard, shards
			ours, _ := compare(t, &part)
			if t.Failed() {
				t.Fatalf("seed %d, shard %d", seed, shard)
			}
			if ours == nil {
				continue
			}
			if ours.Targets() > 0 {
				parts++
			}
			for name, job := range ours.Jobs {
				together[name] = append(together[name], job.Targets...)
			}
		}
		if whole == nil {
			continue
		}
		targets += whole.Targets()
		for name, job := range whole.Jobs {
			require.Len(t, together[name], len(job.Targets), "seed %d: %s", seed, name)
			for _, target := range job.Targets {
				require.True(t, slices.Contains(together[name], target), fmt.Sprintf("seed %d: %s: %v", seed, name, target))
			}
		}
	}
	require.Greater(t, targets, clusters)
	require.Greater(t, parts, clusters)
}
