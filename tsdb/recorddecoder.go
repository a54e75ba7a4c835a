package tsdb

import (
	"log/slog"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/record"
	"github.com/prometheus/prometheus/tsdb/tombstones"
)

// recordDecoder decodes records of the log to see whether the storage will be able to, and keeps the
// highest number of a series that they mention.
type recordDecoder struct {
	record.Decoder
	highestRef uint64

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
	return &recordDecoder{Decoder: record.NewDecoder(labels.NewSymbolTable(), slog.New(slog.DiscardHandler))}
}

// decode returns what is wrong with a record. Records of unknown types are skipped, as on replay.
func (d *recordDecoder) decode(rec []byte) (err error) {
	switch d.Type(rec) {
	case record.Series:
		d.series, err = d.Series(rec, d.series[:0])
		for _, s := range d.series {
			d.highestRef = max(d.highestRef, uint64(s.Ref))
		}
	case record.Samples, record.SamplesV2:
		d.samples, err = d.Samples(rec, d.samples[:0])
		for _, s := range d.samples {
			d.highestRef = max(d.highestRef, uint64(s.Ref))
		}
	case record.Tombstones:
		d.stones, err = d.Tombstones(rec, d.stones[:0])
		for _, s := range d.stones {
			d.highestRef = max(d.highestRef, uint64(s.Ref))
		}
	case record.Exemplars:
		d.exemplars, err = d.Exemplars(rec, d.exemplars[:0])
	case record.HistogramSamples, record.CustomBucketsHistogramSamples, record.HistogramSamplesV2:
		d.histograms, err = d.HistogramSamples(rec, d.histograms[:0])
		for _, s := range d.histograms {
			d.highestRef = max(d.highestRef, uint64(s.Ref))
		}
	case record.FloatHistogramSamples, record.CustomBucketsFloatHistogramSamples, record.FloatHistogramSamplesV2:
		d.floats, err = d.FloatHistogramSamples(rec, d.floats[:0])
		for _, s := range d.floats {
			d.highestRef = max(d.highestRef, uint64(s.Ref))
		}
	case record.Metadata:
		d.metadata, err = d.Metadata(rec, d.metadata[:0])
	case record.MmapMarkers:
		d.markers, err = d.MmapMarkers(rec, d.markers[:0])
	}
	return err
}
