package monitors

import (
	"testing"

	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/relabel"
	"github.com/stretchr/testify/require"
)

func TestParseShard(t *testing.T) {
	f := func(text string, want Shard, wrong string) {
		t.Helper()
		got, err := ParseShard(text)
		if wrong != "" {
			require.EqualError(t, err, wrong)
			return
		}
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	f("", Shard{}, "")
	f("0/1", Shard{Count: 1}, "")
	f("3/4", Shard{Index: 3, Count: 4}, "")
	f("4/4", Shard{}, "there is no shard 4 of 4: shards are numbered from 0")
	f("0/0", Shard{}, "there is no shard 0 of 0: shards are numbered from 0")
	for _, text := range []string{"4", "/4", "1/", "-1/4", "1/4/2", "$(POD_INDEX)/4", "1/99999999999", "a/b"} {
		f(text, Shard{}, `"`+text+`" is not INDEX/COUNT`)
	}
}

// OfAllShards removes only the rule that keeps the shard's targets. An equal rule of the monitor stays.
func TestJobOfAllShards(t *testing.T) {
	shard := Shard{Index: 1, Count: 2}
	rules := shard.relabelings()
	require.Len(t, rules, 3)
	pin := pinNamespace("default")
	own := *rules[2]
	for _, after := range [][]*relabel.Config{nil, {pin}} {
		cfg := &config.ScrapeConfig{JobName: "job", RelabelConfigs: append([]*relabel.Config{&own, rules[0], rules[1], rules[2]}, after...)}
		whole := shard.OfAllShards(cfg)
		require.Equal(t, append([]*relabel.Config{&own, rules[0], rules[1]}, after...), whole.RelabelConfigs)
		require.Len(t, cfg.RelabelConfigs, 4+len(after), "the job itself has not changed")
		require.Same(t, cfg, Shard{}.OfAllShards(cfg))
	}
	require.Empty(t, Shard{Count: 1}.relabelings())
}
