package scrape

import (
	"testing"

	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/model/labels"
)

// A target is reused if its label sets are the same maps.
func TestKnownTargetsAreNotMadeAgain(t *testing.T) {
	cfg, err := checkedConfig(jobConfig("j"))
	require.NoError(t, err)
	b := labels.NewBuilder(labels.EmptyLabels())
	common := model.LabelSet{"namespace": "default"}
	same, gone, moved := model.LabelSet{"__address__": "a:1"}, model.LabelSet{"__address__": "b:1"}, model.LabelSet{"__address__": "c:1"}
	before, errs := discover(&targetgroup.Group{Source: "s", Labels: common, Targets: []model.LabelSet{same, gone, moved}}, cfg, namespacePin{}, b, nil)
	require.Empty(t, errs)
	equal := model.LabelSet{"__address__": "b:1"}
	after, errs := discover(&targetgroup.Group{Source: "s", Labels: common, Targets: []model.LabelSet{same, moved, equal}}, cfg, namespacePin{}, b, before)
	require.Empty(t, errs)
	require.Same(t, before[0].target, after[0].target)
	require.Same(t, before[2].target, after[1].target)
	require.NotSame(t, before[1].target, after[2].target)
	require.Equal(t, before[1].key, after[2].key)
	other, errs := discover(&targetgroup.Group{Source: "s", Labels: model.LabelSet{"namespace": "x"}, Targets: []model.LabelSet{same}}, cfg, namespacePin{}, b, before)
	require.Empty(t, errs)
	require.NotEqual(t, before[0].key, other[0].key, "the group's labels are others")
}
