package scrape

import (
	"maps"
	"sync"
	"unique"

	"github.com/prometheus/common/model"
	promscrape "github.com/prometheus/prometheus/scrape"

	"github.com/prometheus/prometheus/model/metadata"
)

const (
	// maxMetadata bounds the metadata kept per target, in bytes of names, help
	// and units. Families above it have none.
	maxMetadata = 1 << 20
	// keepMetadata is for how many scrapes metadata outlives its family.
	keepMetadata = 10
)

// metadataStore holds the type, help and unit of a target's metric families. It
// is written by the target's loop and read by status pages. Texts are interned,
// for the targets of a job all serve the same.
type metadataStore struct {
	mu       sync.Mutex
	families map[string]*family // the names interned as well
	size     int
	iter     uint64
	peak     int // of the number of families, since the map was made
}

var _ promscrape.MetricMetadataStore = (*metadataStore)(nil)

type family struct {
	typ              model.MetricType
	name, help, unit unique.Handle[string]
	seen             uint64
}

func (f *family) metadata() metadata.Metadata {
	return metadata.Metadata{Type: f.typ, Help: f.help.Value(), Unit: f.unit.Value()}
}

func (f *family) size() int {
	return len(f.typ) + len(f.help.Value()) + len(f.unit.Value())
}

func newMetadataStore() *metadataStore {
	return &metadataStore{families: map[string]*family{}}
}

// update changes the family's metadata by set and gives the family, or nil if
// there is no room for it. The result is to be read by the caller only.
func (s *metadataStore) update(name []byte, room int, set func(*family)) *family {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, ok := s.families[string(name)]
	if s.size+room > maxMetadata {
		if !ok {
			return nil
		}
		f.seen = s.iter
		return f
	}
	if !ok {
		empty := unique.Make("")
		f = &family{typ: model.MetricTypeUnknown, name: unique.Make(string(name)), help: empty, unit: empty}
		s.families[f.name.Value()] = f
		s.size += len(name) + f.size()
	}
	before := f.size()
	set(f)
	s.size += f.size() - before
	f.seen = s.iter
	return f
}

func (s *metadataStore) setType(name []byte, typ model.MetricType) *family {
	return s.update(name, len(name)+len(typ), func(f *family) { f.typ = typ })
}

func (s *metadataStore) setHelp(name, help []byte) *family {
	return s.update(name, len(name)+len(help), func(f *family) {
		if f.help.Value() != string(help) {
			f.help = unique.Make(string(help))
		}
	})
}

func (s *metadataStore) setUnit(name, unit []byte) *family {
	return s.update(name, len(name)+len(unit), func(f *family) {
		if f.unit.Value() != string(unit) {
			f.unit = unique.Make(string(unit))
		}
	})
}

// done ends an iteration, as cache.done. After a success it forgets what has not been
// met for a while, and what is not of use.
func (s *metadataStore) done(success bool, ofUse func(fam string) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if success {
		s.peak = max(s.peak, len(s.families))
		for name, f := range s.families {
			if s.iter-f.seen > keepMetadata || !ofUse(name) {
				s.size -= len(name) + f.size()
				delete(s.families, name)
			}
		}
	}
	if len(s.families) < s.peak/4 {
		// Maps do not shrink by themselves.
		s.families, s.peak = maps.Clone(s.families), 0
	}
	s.iter++
}

// ListMetadata implements promscrape.MetricMetadataStore.
func (s *metadataStore) ListMetadata() []promscrape.MetricMetadata {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]promscrape.MetricMetadata, 0, len(s.families))
	for name, f := range s.families {
		list = append(list, metricMetadata(name, f))
	}
	return list
}

// GetMetadata implements promscrape.MetricMetadataStore.
func (s *metadataStore) GetMetadata(name string) (promscrape.MetricMetadata, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, ok := s.families[name]
	if !ok {
		return promscrape.MetricMetadata{}, false
	}
	return metricMetadata(name, f), true
}

// SizeMetadata implements promscrape.MetricMetadataStore.
func (s *metadataStore) SizeMetadata() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.size
}

// LengthMetadata implements promscrape.MetricMetadataStore.
func (s *metadataStore) LengthMetadata() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.families)
}

func metricMetadata(name string, f *family) promscrape.MetricMetadata {
	return promscrape.MetricMetadata{MetricFamily: name, Type: f.typ, Help: f.help.Value(), Unit: f.unit.Value()}
}
