package monitors

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/relabel"
)

// Labels that relabelings can set to control sharding, as in the operator.
const (
	// shardHashLabel is hashed in place of the address if it is set.
	shardHashLabel = "__tmp_hash"
	// unshardedLabel puts a target into all shards if it has any value.
	unshardedLabel = "__tmp_disable_sharding"
)

// Shard is the part of the targets that one of several promlets scrapes. The Prometheus operator's shard of the same
// Index has the same part. The zero value is all targets.
type Shard struct {
	Index, Count int // Index is from 0 to Count-1
}

// ParseShard reads INDEX/COUNT, such as 0/4. An empty text means all targets.
func ParseShard(text string) (Shard, error) {
	if text == "" {
		return Shard{}, nil
	}
	first, second, ok := strings.Cut(text, "/")
	index, err1 := strconv.ParseUint(first, 10, 31)
	count, err2 := strconv.ParseUint(second, 10, 31)
	if !ok || err1 != nil || err2 != nil {
		return Shard{}, fmt.Errorf("%q is not INDEX/COUNT", text)
	}
	if index >= count {
		return Shard{}, fmt.Errorf("there is no shard %d of %d: shards are numbered from 0", index, count)
	}
	return Shard{Index: int(index), Count: int(count)}, nil
}

// Partial reports whether there are other shards.
func (s Shard) Partial() bool { return s.Count > 1 }

// relabelings returns the operator's rules that keep only the targets of the shard.
func (s Shard) relabelings() []*relabel.Config {
	if !s.Partial() {
		return nil
	}
	address, hash, keep := relabel.DefaultRelabelConfig, relabel.DefaultRelabelConfig, relabel.DefaultRelabelConfig
	address.SourceLabels = model.LabelNames{model.AddressLabel, shardHashLabel}
	address.Regex = relabel.MustNewRegexp("(.+);")
	address.TargetLabel = shardHashLabel
	hash.SourceLabels = model.LabelNames{shardHashLabel}
	hash.TargetLabel = shardHashLabel
	hash.Modulus = uint64(s.Count) //nolint:gosec // It is positive.
	hash.Action = relabel.HashMod
	keep.SourceLabels = shardKeptBy()
	keep.Regex = relabel.MustNewRegexp(strconv.Itoa(s.Index) + ";|.+;.+")
	keep.Action = relabel.Keep
	all := []*relabel.Config{&address, &hash, &keep}
	for _, c := range all {
		c.NameValidationScheme = model.UTF8Validation
	}
	return all
}

func shardKeptBy() model.LabelNames { return model.LabelNames{shardHashLabel, unshardedLabel} }

// OfAllShards returns a job's configuration without the rule that drops the targets of other shards.
func (s Shard) OfAllShards(cfg *config.ScrapeConfig) *config.ScrapeConfig {
	if !s.Partial() {
		return cfg
	}
	whole := *cfg
	for i, c := range slices.Backward(cfg.RelabelConfigs) {
		if c.Action == relabel.Keep && slices.Equal(c.SourceLabels, shardKeptBy()) {
			whole.RelabelConfigs = slices.Delete(slices.Clone(cfg.RelabelConfigs), i, i+1)
			break
		}
	}
	return &whole
}
