package names

import (
	"maps"
	"strings"
	"sync"
	"unique"

	"github.com/prometheus/common/model"
	promscrape "github.com/prometheus/prometheus/scrape"

	"github.com/prometheus/prometheus/model/metadata"

	"github.com/promlet/promlet/scrape/internal/budget"
)

const (
	// maxMetadata bounds the metadata kept per target, in bytes of names, help
	// and units. Families above it have none.
	maxMetadata = 1 << 20
	// familyCost is what a family costs beside these.
	familyCost = 150
	// keepMetadata is for how many scrapes metadata outlives its family.
	keepMetadata = 10
)

// Families holds the type, help and unit of a target's metric families. The target's
// loop writes it and status pages read it. Texts are interned, because the targets of
// a job all serve the same.
type Families struct {
	loan *budget.Loan

	mu       sync.Mutex
	families map[string]*Family // The keys are interned as well.
	size     int
	scrape   uint64
	peak     int // of the number of families, since the map was made
}

var _ promscrape.MetricMetadataStore = (*Families)(nil)

// Family is the metadata of a metric family. Only the target's loop may read it.
type Family struct {
	typ              model.MetricType
	name, help, unit unique.Handle[string]
	seen             uint64 // the scrape
}

// Name returns the family's name.
func (f *Family) Name() string { return f.name.Value() }

// Metadata returns type, help and unit.
func (f *Family) Metadata() metadata.Metadata {
	return metadata.Metadata{Type: f.typ, Help: f.help.Value(), Unit: f.unit.Value()}
}

func (f *Family) size() int {
	return len(f.typ) + len(f.help.Value()) + len(f.unit.Value())
}

// Has reports whether the series of a name belong to the family. Series without
// metadata may follow any family in text formats.
func (f *Family) Has(series string) bool {
	family := f.Name()
	if !strings.HasPrefix(series, family) {
		return false
	}
	var suffixes []string
	switch f.typ {
	case model.MetricTypeCounter:
		// The Prometheus text format has the suffix in the family's name too.
		family = strings.TrimSuffix(family, "_total")
		suffixes = []string{"_total"}
	case model.MetricTypeInfo:
		family = strings.TrimSuffix(family, "_info")
		suffixes = []string{"_info"}
	case model.MetricTypeHistogram:
		suffixes = []string{"_bucket", "_sum", "_count"}
	case model.MetricTypeGaugeHistogram:
		suffixes = []string{"_bucket", "_gsum", "_gcount"}
	case model.MetricTypeSummary:
		suffixes = []string{"_sum", "_count"}
	}
	for _, suffix := range suffixes {
		if base, ok := strings.CutSuffix(series, suffix); ok {
			return base == family
		}
	}
	return series == family
}

// NewFamilies returns an empty store. What it holds is charged to the loan, nil for none,
// until Close: what finds no room there has no metadata.
func NewFamilies(loan *budget.Loan) *Families {
	return &Families{loan: loan, families: map[string]*Family{}}
}

// Close forgets everything.
func (s *Families) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loan.Return(s.charged())
	s.families, s.size = map[string]*Family{}, 0
}

func (s *Families) charged() int64 { return int64(s.size + familyCost*len(s.families)) }

// update changes a family's metadata by set. It returns the family, or nil if there is
// no room for it.
func (s *Families) update(name []byte, room int, set func(*Family)) *Family {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, ok := s.families[string(name)]
	if s.size+room > maxMetadata {
		if !ok {
			return nil
		}
		f.seen = s.scrape
		return f
	}
	if !ok {
		empty := unique.Make("")
		f = &Family{typ: model.MetricTypeUnknown, name: unique.Make(string(name)), help: empty, unit: empty}
		size := len(name) + f.size()
		if s.loan.Try(int64(size+familyCost)) != nil {
			return nil
		}
		s.families[f.Name()] = f
		s.size += size
	}
	before := *f
	set(f)
	more := f.size() - before.size()
	if more < 0 {
		s.loan.Return(int64(-more))
	} else if s.loan.Try(int64(more)) != nil {
		*f, more = before, 0
	}
	s.size += more
	f.seen = s.scrape
	return f
}

// SetType sets the type of a family, which it returns; nil if there is no room for it.
func (s *Families) SetType(name []byte, typ model.MetricType) *Family {
	return s.update(name, len(name)+len(typ), func(f *Family) { f.typ = typ })
}

// SetHelp is SetType for the help.
func (s *Families) SetHelp(name, help []byte) *Family {
	return s.update(name, len(name)+len(help), func(f *Family) { intern(&f.help, help) })
}

// SetUnit is SetType for the unit.
func (s *Families) SetUnit(name, unit []byte) *Family {
	return s.update(name, len(name)+len(unit), func(f *Family) { intern(&f.unit, unit) })
}

// intern sets a text that is mostly the same already.
func intern(h *unique.Handle[string], text []byte) {
	if h.Value() != string(text) {
		*h = unique.Make(string(text))
	}
}

// Done ends a scrape. After a success it forgets the families that have not been met
// for a while, and those that keep does not name.
func (s *Families) Done(success bool, keep func(family string) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if success {
		before := s.charged()
		defer func() { s.loan.Return(before - s.charged()) }()
		s.peak = max(s.peak, len(s.families))
		for name, f := range s.families {
			if s.scrape-f.seen > keepMetadata || !keep(name) {
				s.size -= len(name) + f.size()
				delete(s.families, name)
			}
		}
	}
	if len(s.families) < s.peak/4 {
		// Maps do not shrink by themselves.
		s.families, s.peak = maps.Clone(s.families), 0
	}
	s.scrape++
}

// ListMetadata implements promscrape.MetricMetadataStore.
func (s *Families) ListMetadata() []promscrape.MetricMetadata {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]promscrape.MetricMetadata, 0, len(s.families))
	for name, f := range s.families {
		list = append(list, metricMetadata(name, f))
	}
	return list
}

// GetMetadata implements promscrape.MetricMetadataStore.
func (s *Families) GetMetadata(name string) (promscrape.MetricMetadata, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, ok := s.families[name]
	if !ok {
		return promscrape.MetricMetadata{}, false
	}
	return metricMetadata(name, f), true
}

// SizeMetadata implements promscrape.MetricMetadataStore.
func (s *Families) SizeMetadata() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.size
}

// LengthMetadata implements promscrape.MetricMetadataStore.
func (s *Families) LengthMetadata() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.families)
}

func metricMetadata(name string, f *Family) promscrape.MetricMetadata {
	return promscrape.MetricMetadata{MetricFamily: name, Type: f.typ, Help: f.help.Value(), Unit: f.unit.Value()}
}
