package attacks

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/tsdb/record"
	"github.com/prometheus/prometheus/tsdb/wlog"
	"github.com/prometheus/prometheus/util/compression"
	"github.com/stretchr/testify/require"
)

// A write-ahead log that does not fit into the memory ends a few starts and not all.
func TestLogThatIsTooLarge(t *testing.T) {
	s := start(t)
	s.kill()
	s.appendToLog(3 * memoryBound / 2 / longLabel)
	for starts := 1; ; starts++ {
		require.LessOrEqual(t, starts, 5, "promlet does not start: %v", s.promlet.Ended())
		s.launch()
		if s.waitUntilReady() == nil {
			t.Logf("it is ready at start %d", starts)
			break
		}
	}
	s.eventuallyRight()
	s.endure("a log of 384 MiB", 5*time.Second)
	s.end()
}

// appendToLog writes series with long labels to the write-ahead log, as a promlet without a limit would.
func (s *site) appendToLog(series int) {
	log, err := wlog.NewSize(nil, nil, filepath.Join(s.data, "wal"), wlog.DefaultSegmentSize, compression.None)
	require.NoError(s, err)
	var encoder record.Encoder
	value, now := strings.Repeat("a", longLabel), time.Now().UnixMilli()
	for i := range series {
		ref := chunks.HeadSeriesRef(1_000_000 + i)
		lset := labels.FromStrings(model.MetricNameLabel, "flood", "l", fmt.Sprintf("%d-%s", i, value))
		require.NoError(s, log.Log(
			encoder.Series([]record.RefSeries{{Ref: ref, Labels: lset}}, nil),
			encoder.Samples([]record.RefSample{{Ref: ref, T: now, V: 1}}, nil)))
	}
	require.NoError(s, log.Close())
}
