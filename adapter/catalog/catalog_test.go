package catalog

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/promlet/promlet/adapter/objects"
	"github.com/promlet/promlet/adapter/rules"
)

func TestLaterRuleWins(t *testing.T) {
	compiled, _, err := rules.Set{}.Compile(objects.NewKinds(nil, time.Now))
	require.NoError(t, err)
	var series []string
	for _, m := range mappingsOf(compiled, []string{"jobs", "jobs_seconds_total", "jobs_total"}, nil)[rules.Metric{API: rules.CustomAPI, Name: "jobs"}] {
		series = append(series, m.Series)
	}
	require.Equal(t, []string{"jobs_seconds_total", "jobs_total", "jobs"}, series)
}
