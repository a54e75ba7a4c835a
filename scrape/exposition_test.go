package scrape

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/value"
)

// exposition is what a program exposes, for random changes between scrapes.
type exposition struct {
	rnd      *rand.Rand
	families []*exposed
}

// exposed is a metric family.
type exposed struct {
	name, help, unit string
	kind             int // of protobuf's MetricType
	series           []*exposedSeries
}

type exposedSeries struct {
	labels   [][2]string
	value    float64
	at       time.Duration // explicit timestamp, from the first scrape's interval on
	timed    bool
	exemplar int // 0: none
	started  bool
	buckets  []int // counts
}

const (
	pbCounter = iota
	pbGauge
	pbSummary
	pbUntyped
	pbHistogram
	pbGaugeHistogram
)

func (x *exposition) one(in int) bool { return x.rnd.IntN(in) == 0 }

// change changes some things.
func (x *exposition) change() {
	for range 1 + x.rnd.IntN(3) {
		switch f := x.any(); {
		case f == nil || x.one(4):
			x.families = append(x.families, &exposed{name: string(rune('a' + x.rnd.IntN(5))), kind: x.rnd.IntN(6), series: []*exposedSeries{x.newSeries()}})
		case x.one(8):
			x.families = slices.DeleteFunc(x.families, func(g *exposed) bool { return g == f })
		case x.one(7):
			f.kind, f.help = x.rnd.IntN(6), strings.Repeat("h\\n", x.rnd.IntN(3))
		case x.one(12):
			f.unit = []string{"", "seconds"}[x.rnd.IntN(2)]
		case x.one(11):
			x.rnd.Shuffle(len(x.families), func(i, j int) { x.families[i], x.families[j] = x.families[j], x.families[i] })
		case x.one(2):
			f.series = append(f.series, x.newSeries())
		case len(f.series) > 0 && x.one(2):
			i := x.rnd.IntN(len(f.series))
			f.series = slices.Delete(f.series, i, i+1)
		}
	}
	for _, f := range x.families {
		for _, s := range f.series {
			if x.one(2) {
				x.observe(s)
			}
		}
	}
}

func (x *exposition) any() *exposed {
	if len(x.families) == 0 {
		return nil
	}
	return x.families[x.rnd.IntN(len(x.families))]
}

func (x *exposition) newSeries() *exposedSeries {
	s := &exposedSeries{started: x.one(3), buckets: make([]int, 1+x.rnd.IntN(4))}
	for range x.rnd.IntN(4) {
		name := []string{"x", "y", "z", "job", "le", "exported_y", "ü.", "quantile"}[x.rnd.IntN(8)]
		s.labels = append(s.labels, [2]string{name, []string{"", "1", "2", "target", "\\\"\n", "long value"}[x.rnd.IntN(6)]})
		if !x.one(20) { // Labels that are there twice fail the scrape.
			slices.SortFunc(s.labels, func(a, b [2]string) int { return strings.Compare(a[0], b[0]) })
			s.labels = slices.CompactFunc(s.labels, func(a, b [2]string) bool { return a[0] == b[0] })
		}
	}
	x.observe(s)
	return s
}

func (x *exposition) observe(s *exposedSeries) {
	s.value = float64(x.rnd.IntN(3))
	if x.one(10) {
		s.value = []float64{math.NaN(), math.Inf(1), math.Inf(-1), math.Float64frombits(value.StaleNaN), 1.5e300}[x.rnd.IntN(5)]
	}
	s.exemplar = max(x.rnd.IntN(6)-3, 0)
	s.timed = x.one(6)
	s.at = []time.Duration{-30 * time.Second, -time.Second, 20 * time.Second, 50 * time.Second, 5 * time.Minute, 11 * time.Minute, -14 * time.Hour}[x.rnd.IntN(7)]
	for i := range s.buckets {
		s.buckets[i] += x.rnd.IntN(2)
	}
	x.rnd.Shuffle(len(s.labels), func(i, j int) { s.labels[i], s.labels[j] = s.labels[j], s.labels[i] })
}

// text returns the body in one of the text formats.
func (x *exposition) text(openMetrics bool) string {
	var b strings.Builder
	escapes := strings.NewReplacer("\\", `\\`, "\"", `\"`, "\n", `\n`)
	types := []string{"counter", "gauge", "summary", "untyped", "histogram", "gaugehistogram"}
	if openMetrics {
		types[pbUntyped] = "unknown"
	} else {
		types[pbGaugeHistogram] = "gauge"
	}
	for _, f := range x.families {
		name := f.name
		if f.unit != "" {
			name += "_" + f.unit
		}
		if f.help != "" {
			fmt.Fprintf(&b, "# HELP %s %s\n", name, f.help)
		}
		if !x.one(5) {
			fmt.Fprintf(&b, "# TYPE %s %s\n", name, types[f.kind])
		}
		if f.unit != "" && openMetrics {
			fmt.Fprintf(&b, "# UNIT %s %s\n", name, f.unit)
		}
		for _, s := range f.series {
			s.write(&b, escapes, name, f.kind, openMetrics)
		}
	}
	if openMetrics {
		b.WriteString("# EOF\n")
	}
	return b.String()
}

// write writes the lines of the series.
func (s *exposedSeries) write(b *strings.Builder, escapes *strings.Replacer, name string, kind int, openMetrics bool) {
	line := func(suffix string, v float64, more ...[2]string) {
		b.WriteString(name + suffix)
		var pairs []string
		for _, l := range append(slices.Clone(s.labels), more...) {
			n := l[0]
			if n == "ü." {
				n = `"ü."`
			}
			pairs = append(pairs, n+`="`+escapes.Replace(l[1])+`"`)
		}
		if len(pairs) > 0 {
			b.WriteString("{" + strings.Join(pairs, ",") + "}")
		}
		b.WriteString(" " + strconv.FormatFloat(v, 'g', -1, 64))
		at := func(d time.Duration) string { return fmt.Sprintf(" @%+ds@", int(d.Seconds())) }
		if s.timed {
			b.WriteString(at(s.at))
		}
		if s.exemplar > 0 && openMetrics {
			fmt.Fprintf(b, " # {t=\"%d\"} %d", s.exemplar, s.exemplar)
			if s.exemplar > 1 {
				b.WriteString(at(-time.Minute))
			}
		}
		b.WriteString("\n")
	}
	switch kind {
	case pbCounter:
		line("_total", s.value)
	case pbSummary:
		line("", s.value, [2]string{"quantile", "0.5"})
		line("_sum", s.value)
		line("_count", 3)
	case pbHistogram, pbGaugeHistogram:
		sum := 0
		for i, n := range s.buckets {
			sum += n
			line("_bucket", float64(sum), [2]string{"le", strconv.Itoa(i)})
		}
		line("_bucket", float64(sum), [2]string{"le", "+Inf"})
		line(map[int]string{pbHistogram: "_sum", pbGaugeHistogram: "_gsum"}[kind], s.value)
		line(map[int]string{pbHistogram: "_count", pbGaugeHistogram: "_gcount"}[kind], float64(sum))
	default:
		line("", s.value)
	}
	if s.started && openMetrics {
		fmt.Fprintf(b, "%s_created @-90s@\n", name)
	}
}

// pb is an encoded protobuf message.
type pb []byte

func (p *pb) tag(field, wire int) { *p = binary.AppendUvarint(*p, uint64(field<<3|wire)) } //nolint:gosec // Small.

func (p *pb) int(field int, v uint64) {
	p.tag(field, 0)
	*p = binary.AppendUvarint(*p, v)
}

// sint encodes zigzag.
func (p *pb) sint(field, v int) {
	p.tag(field, 0)
	*p = binary.AppendVarint(*p, int64(v))
}

func (p *pb) double(field int, v float64) {
	p.tag(field, 1)
	*p = binary.LittleEndian.AppendUint64(*p, math.Float64bits(v))
}

func (p *pb) bytes(field int, b []byte) {
	p.tag(field, 2)
	*p = append(binary.AppendUvarint(*p, uint64(len(b))), b...)
}

// protobuf returns the body as delimited protobuf; base is what explicit timestamps
// count from.
func (x *exposition) protobuf(base time.Time) string {
	var out []byte
	for _, f := range x.families {
		var p pb
		p.bytes(1, []byte(f.name))
		if f.help != "" {
			p.bytes(2, []byte(f.help))
		}
		p.int(3, uint64(f.kind)) //nolint:gosec // Not negative.
		for _, s := range f.series {
			p.bytes(4, s.protobuf(f.kind, base))
		}
		if f.unit != "" {
			p.bytes(5, []byte(f.unit))
		}
		out = append(binary.AppendUvarint(out, uint64(len(p))), p...)
	}
	return string(out)
}

func pbTime(t time.Time) pb {
	var p pb
	p.int(1, uint64(t.Unix()))       //nolint:gosec // Not negative.
	p.int(2, uint64(t.Nanosecond())) //nolint:gosec // Not negative.
	return p
}

func (s *exposedSeries) protobuf(kind int, base time.Time) pb {
	var m, p, e pb
	for _, l := range s.labels {
		var pair pb
		pair.bytes(1, []byte(l[0]))
		pair.bytes(2, []byte(l[1]))
		m.bytes(1, pair)
	}
	if s.exemplar > 0 {
		e.double(2, float64(s.exemplar))
		if s.exemplar > 1 {
			e.bytes(3, pbTime(base.Add(-time.Minute)))
		}
	}
	switch kind {
	case pbCounter:
		p.double(1, s.value)
		if s.exemplar > 0 {
			p.bytes(2, e)
		}
	case pbSummary:
		p.int(1, 3)
		p.double(2, s.value)
		var q pb
		q.double(1, 0.5)
		q.double(2, s.value)
		p.bytes(3, q)
	case pbHistogram, pbGaugeHistogram:
		s.histogram(&p, e)
	default:
		p.double(1, s.value)
	}
	if s.started {
		if field := map[int]int{pbCounter: 3, pbSummary: 4, pbHistogram: 15, pbGaugeHistogram: 15}[kind]; field > 0 {
			p.bytes(field, pbTime(base.Add(-90*time.Second)))
		}
	}
	m.bytes(map[int]int{pbCounter: 3, pbGauge: 2, pbSummary: 4, pbUntyped: 5, pbHistogram: 7, pbGaugeHistogram: 7}[kind], p)
	if s.timed {
		m.int(6, uint64(base.Add(s.at).UnixMilli())) //nolint:gosec // Not negative.
	}
	return m
}

// histogram encodes the buckets: native ones if there is an even number, classic
// ones if there are more than two.
func (s *exposedSeries) histogram(p *pb, e pb) {
	count, last := 0, 0
	var deltas pb
	for i, n := range s.buckets {
		count += n
		deltas = binary.AppendVarint(deltas, int64(n-last))
		last = n
		if len(s.buckets) <= 2 {
			continue
		}
		var b pb
		b.int(1, uint64(count)) //nolint:gosec // Not negative.
		b.double(2, float64(i))
		if s.exemplar > 0 && i == 1 {
			b.bytes(3, e)
		}
		p.bytes(3, b)
	}
	p.int(1, uint64(count)) //nolint:gosec // Not negative.
	p.double(2, s.value)
	if len(s.buckets)%2 == 0 {
		p.sint(5, 3)
		p.double(6, 0.001)
		var span pb
		span.sint(1, -1)
		span.int(2, uint64(len(s.buckets)))
		p.bytes(12, span)
		p.bytes(13, deltas)
		if s.exemplar > 0 {
			p.bytes(16, e)
		}
	}
}
