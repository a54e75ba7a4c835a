package main

import (
	"crypto/md5" //nolint:gosec // As Prometheus's hashmod.
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// Shards scrape each target once, also with an enforced namespace. A shard without targets is ready. A shard does not
// report the targets of other shards as missing, and serves no values.
func TestServeShards(t *testing.T) {
	const pods, busy, many = 6, 2, 50
	manifests := t.TempDir()
	addresses := map[string]string{}
	inShard, inMany := map[uint64]int{}, map[uint64]int{}
	for i := range pods {
		address := counting(t, 1)
		addresses[fmt.Sprintf("app-%d", i)] = address
		sum := md5.Sum([]byte(address)) //nolint:gosec // As above.
		hash := binary.BigEndian.Uint64(sum[8:])
		inShard[hash%busy]++
		inMany[hash%many]++
	}
	writeManifests(t, manifests, addresses)
	var scraped []string
	for shard := range uint64(busy) {
		p := startProcess(t, manifests, t.TempDir(), fmt.Sprintf("--shard=%d/%d", shard, busy), "--enforce-namespace-label", "--ingest=all")
		targets := p.activeTargets()
		require.Len(t, targets, inShard[shard])
		for _, target := range targets {
			scraped = append(scraped, target.Labels["pod"])
		}
		message, items := p.metric("pods/*/queue_depth")
		require.Empty(t, items)
		require.Contains(t, message, fmt.Sprintf("this promlet scrapes shard %d of %d only (--shard): query the engine that all shards write to", shard, busy))
		var page struct {
			Monitors []struct{ All, OtherShards int }
		}
		_, body, err := p.get(p.web + "/targets.json")
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(body, &page))
		require.Equal(t, inShard[shard], page.Monitors[0].All)
		require.Equal(t, pods-inShard[shard], page.Monitors[0].OtherShards)
		for name := range addresses {
			if !slices.Contains(scraped, name) {
				code, body, err := p.get(p.web + "/explain.json?" + url.Values{"namespace": {"default"}, "resource": {"pods"}, "name": {name}, "metric": {"queue_depth"}}.Encode())
				require.NoError(t, err)
				require.Equal(t, http.StatusOK, code, "%s", body)
				require.Contains(t, string(body), "another shard scrapes its targets (1)")
				break
			}
		}
		require.NoError(t, p.terminate())
	}
	slices.Sort(scraped)
	require.Equal(t, []string{"app-0", "app-1", "app-2", "app-3", "app-4", "app-5"}, scraped)

	for shard := range uint64(many) {
		if inMany[shard] == 0 {
			p := startProcess(t, manifests, t.TempDir(), fmt.Sprintf("--shard=%d/%d", shard, many))
			require.Empty(t, p.activeTargets())
			break
		}
	}
}
