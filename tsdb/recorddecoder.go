package tsdb

import (
	"log/slog"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/record"
	"github.com/prometheus/prometheus/tsdb/tombstones"
)

// recordDecoder decodes records of the log to see whether the storage will be able to, and keeps account of the
// numbers of series in them.
type recordDecoder struct {
	record.Decoder
	known   map[uint64]struct{} // series that a record has introduced
	given   uint64              // the highest number from which the storage will count on
	used    uint64              // the highest number that a sample refers to
	unknown int                 // samples that refer to none of the known

	// Scratch, reused from record to record.
	series     []record.RefSeries
	samples    []record.RefSample
	stones     []tombstones.Stone
	exemplars  []record.RefExemplar
	histograms []record.RefHistogramSample
	floats     []record.RefFloatHistogramSample
	metadata   []record.RefMetadata
	markers    []record.RefMmapMarker
}

func newRecordDecoder() *recordDecoder {
	return &recordDecoder{known: map[uint64]struct{}{}, Decoder: record.NewDecoder(labels.NewSymbolTable(), slog.New(slog.DiscardHandler))}
}

// decode returns what is wrong with a record. Records of unknown types are skipped, as on replay.
func (d *recordDecoder) decode(rec []byte) (err error) {
	switch d.Type(rec) {
	case record.Series:
		d.series, err = d.Series(rec, d.series[:0])
		for _, s := range d.series {
			d.known[uint64(s.Ref)] = struct{}{}
			d.given = max(d.given, uint64(s.Ref))
		}
	case record.Samples, record.SamplesV2:
		d.samples, err = d.Samples(rec, d.samples[:0])
		for _, s := range d.samples {
			d.use(uint64(s.Ref))
		}
	case record.Tombstones:
		d.stones, err = d.Tombstones(rec, d.stones[:0])
		for _, s := range d.stones {
			d.given = max(d.given, uint64(s.Ref))
		}
	case record.Exemplars:
		d.exemplars, err = d.Exemplars(rec, d.exemplars[:0])
	case record.HistogramSamples, record.CustomBucketsHistogramSamples, record.HistogramSamplesV2:
		d.histograms, err = d.HistogramSamples(rec, d.histograms[:0])
		for _, s := range d.histograms {
			d.use(uint64(s.Ref))
		}
	case record.FloatHistogramSamples, record.CustomBucketsFloatHistogramSamples, record.FloatHistogramSamplesV2:
		d.floats, err = d.FloatHistogramSamples(rec, d.floats[:0])
		for _, s := range d.floats {
			d.use(uint64(s.Ref))
		}
	case record.Metadata:
		d.metadata, err = d.Metadata(rec, d.metadata[:0])
	case record.MmapMarkers:
		d.markers, err = d.MmapMarkers(rec, d.markers[:0])
	}
	return err
}

// use notes that a sample belongs to a series.
func (d *recordDecoder) use(ref uint64) {
	d.used = max(d.used, ref)
	if _, ok := d.known[ref]; !ok {
		d.unknown++
	}
}
