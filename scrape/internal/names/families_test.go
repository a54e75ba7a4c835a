package names

import (
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"
)

func TestFamilyHas(t *testing.T) {
	f := func(series, fam string, typ model.MetricType, want bool) {
		t.Helper()
		require.Equal(t, want, NewFamilies(nil).SetType([]byte(fam), typ).Has(series), "%s %s %s", series, fam, typ)
	}
	f("a", "a", model.MetricTypeGauge, true)
	f("a_x", "a", model.MetricTypeGauge, false)
	f("b", "a", model.MetricTypeGauge, false)
	f("a_total", "a", model.MetricTypeCounter, true)
	f("a_total", "a_total", model.MetricTypeCounter, true)
	f("a", "a_total", model.MetricTypeCounter, false)
	f("a_sum", "a", model.MetricTypeCounter, false)
	f("a_bucket", "a", model.MetricTypeHistogram, true)
	f("a_count", "a", model.MetricTypeHistogram, true)
	f("a", "a", model.MetricTypeHistogram, true)
	f("a_gsum", "a", model.MetricTypeHistogram, false)
	f("a_gsum", "a", model.MetricTypeGaugeHistogram, true)
	f("a_sum", "a", model.MetricTypeSummary, true)
	f("a_bucket", "a", model.MetricTypeSummary, false)
	f("a_info", "a", model.MetricTypeInfo, true)
	f("a_info", "a_info", model.MetricTypeInfo, true)
	f("a_count_count", "a_count", model.MetricTypeSummary, true)
}

func TestFamiliesAreBounded(t *testing.T) {
	s := NewFamilies(nil)
	help := []byte(strings.Repeat("x", 1000))
	for i := range 5000 {
		name := []byte(fmt.Sprint("family_", i))
		s.SetHelp(name, help)
		s.SetType(name, model.MetricTypeCounter)
	}
	require.LessOrEqual(t, s.SizeMetadata(), maxMetadata)
	require.Greater(t, s.LengthMetadata(), 900)
	// Known families are still known, unknown ones have none.
	require.NotNil(t, s.SetType([]byte("family_1"), model.MetricTypeGauge))
	require.Nil(t, s.SetType([]byte("another_family"), model.MetricTypeGauge))
}
