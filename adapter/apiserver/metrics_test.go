package apiserver

import (
	"errors"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"
)

// What the library cannot tell does not keep the rest.
func TestMetricsSurviveTheLibrary(t *testing.T) {
	own := prometheus.NewRegistry()
	own.MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: "own"}))
	families, err := joined{own: own, library: prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
		name, typ, value := "library", dto.MetricType_GAUGE, 1.0
		return []*dto.MetricFamily{{Name: &name, Type: &typ, Metric: []*dto.Metric{{Gauge: &dto.Gauge{Value: &value}}}}}, errors.New("one collector has failed")
	})}.Gather()
	require.ErrorContains(t, err, "one collector has failed")
	require.Len(t, families, 2)
}
