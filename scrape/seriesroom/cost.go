package seriesroom

import "github.com/prometheus/prometheus/model/labels"

// Both were measured as the growth of the heap, of a loop with a TSDB, over 119 scrapes (a
// chunk that is nearly full), divided by the series: TestSeriesCost repeats it. Labels of 20
// and of 2,000 bytes made no difference beside their own size.
const (
	// seriesCost is what a series takes in memory beside its labels, in bytes: 1,200 after
	// one scrape, 1,800 for counters and 2,700 for gauges of random numbers after 119, and
	// 100 more for every full chunk.
	seriesCost = 2560
	// bucketCost is what each bucket of a native histogram adds: 25 after one scrape, 30 to
	// 60 after 20, when chunks begin to go to the disk; 100 if all counts are random.
	bucketCost = 64
)

// Cost returns the bytes that a series with so many buckets takes in memory, here and in
// the storage: its labels, its samples, and what keeps both.
func Cost(ls labels.Labels, buckets int) int64 {
	return int64(ls.ByteSize()) + seriesCost + int64(buckets)*bucketCost //nolint:gosec // Far below 2^63.
}
