package tsdb

import (
	"testing"
	"time"

	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/compression"
	"github.com/stretchr/testify/require"
)

func TestDefaults(t *testing.T) {
	o, err := Options{Dir: "x"}.withDefaults()
	require.NoError(t, err)
	s := o.storage()
	require.EqualValues(t, 2*60*60*1000, s.RetentionDuration)
	require.EqualValues(t, 30*60*1000, s.MinBlockDuration)
	require.EqualValues(t, 30*60*1000, s.MaxBlockDuration)
	require.Equal(t, 1024, s.StripeSize)
	require.Equal(t, chunks.MinWriteBufferSize, s.HeadChunksWriteBufferSize)
	require.Equal(t, 4<<20, s.WALSegmentSize)
	require.EqualValues(t, 16<<20, s.MaxBlockChunkSegmentSize)
	require.Equal(t, compression.Snappy, s.WALCompression)
	require.False(t, s.IsolationDisabled)
	require.NotNil(t, o.Logger)
	require.Equal(t, 10*time.Second, o.QueryTimeout)
	require.Equal(t, 8, o.MaxConcurrency)
	require.Equal(t, 1_000_000, o.MaxSamples)
	require.Equal(t, 5*time.Minute, o.LookbackDelta)
}

func TestBlocksFollowRetention(t *testing.T) {
	f := func(retention, block, largest time.Duration) {
		t.Helper()
		o, err := Options{Dir: "x", Retention: retention}.withDefaults()
		require.NoError(t, err)
		require.Equal(t, block, o.BlockDuration)
		require.Equal(t, largest.Milliseconds(), o.storage().MaxBlockDuration)
	}
	f(10*time.Minute, 150*time.Second, 150*time.Second)
	f(2*time.Hour, 30*time.Minute, 30*time.Minute)
	f(15*24*time.Hour, 30*time.Minute, 36*time.Hour)
}

func TestOptionsGiven(t *testing.T) {
	given := Options{
		Dir: "x", Retention: time.Hour, BlockDuration: time.Minute, StripeSize: 64, ChunkWriteBufferSize: 128 << 10,
		WALSegmentSize: 1 << 20, BlockSegmentSize: 1 << 20, MaxSamples: 7, QueryTimeout: time.Second, MaxConcurrency: 3,
		LookbackDelta: time.Minute, RetentionBytes: 64 << 20,
	}
	o, err := given.withDefaults()
	require.NoError(t, err)
	o.Logger, o.Now = nil, nil
	require.Equal(t, given, o)
}

func TestOptionsRefused(t *testing.T) {
	f := func(o Options, message string) {
		t.Helper()
		if o.Dir == "" {
			o.Dir = t.TempDir()
		}
		_, err := Open(o)
		require.ErrorContains(t, err, message)
	}
	f(Options{Retention: -1}, "Retention is -1ns: it must be positive")
	f(Options{RetentionBytes: -1}, "RetentionBytes is -1")
	f(Options{BlockDuration: -1}, "BlockDuration is -1ns")
	f(Options{BlockDuration: 3 * time.Hour}, "BlockDuration 3h0m0s is longer than Retention 2h0m0s")
	f(Options{BlockDuration: time.Millisecond}, "BlockDuration 1ms is under a second")
	f(Options{Retention: time.Second}, "BlockDuration 250ms is under a second")
	f(Options{StripeSize: 1000}, "StripeSize 1000 is not a power of two")
	f(Options{StripeSize: -8}, "StripeSize is -8")
	f(Options{WALSegmentSize: 1000}, "WALSegmentSize 1000 is not a multiple of 32768")
	f(Options{WALSegmentSize: -1}, "WALSegmentSize is -1")
	f(Options{ChunkWriteBufferSize: 1024}, "ChunkWriteBufferSize 1024 is not")
	f(Options{ChunkWriteBufferSize: 64<<10 + 1}, "ChunkWriteBufferSize 65537 is not")
	f(Options{ChunkWriteBufferSize: 16 << 20}, "ChunkWriteBufferSize 16777216 is not")
	f(Options{BlockSegmentSize: -1}, "BlockSegmentSize is -1")
	f(Options{MaxSamples: -1}, "MaxSamples is -1")
	f(Options{QueryTimeout: -1}, "QueryTimeout is -1ns")
	f(Options{MaxConcurrency: -1}, "MaxConcurrency is -1")
	f(Options{LookbackDelta: 1}, "LookbackDelta 1ns is under a millisecond")

	_, err := Open(Options{MaxSamples: -1, StripeSize: 3})
	require.ErrorContains(t, err, "Dir is empty")
	require.ErrorContains(t, err, "MaxSamples")
	require.ErrorContains(t, err, "StripeSize")
}
