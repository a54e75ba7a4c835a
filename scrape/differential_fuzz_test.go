package scrape

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"strings"
	"testing"
)

// maxFuzzBody is the largest body that is compared: larger ones take time and
// show nothing new.
const maxFuzzBody = 32 << 10

// fuzzTypes are the content types a body may come with.
func fuzzTypes() []string {
	return []string{textType, omType, pbType, textType, omType, pbType, "-", "text/html"}
}

// fuzzDifference makes a sequence of answers: the first body, the second, a part of
// the first, nothing new, and the first again. kinds has, for the two bodies each, three
// bits of content type and one of compression, then three of what fails between.
func fuzzDifference(first, second string, kinds uint16, flags uint32, pick uint64) difference {
	d := difference{memory: true, allowed: refusedWhole}
	optionsOf(&d, flags, pick)
	types := fuzzTypes()
	a := answer{body: first, contentType: types[kinds&7], gzip: kinds&8 != 0}
	b := answer{body: second, contentType: types[kinds>>4&7], gzip: kinds&128 != 0}
	// Lines are whole in text, and may be in protobuf.
	part := a
	part.body = first[:len(first)/2]
	if i := strings.LastIndexByte(part.body, '\n'); i > 0 {
		part.body = part.body[:i+1]
	}
	if a.contentType == omType {
		part.body += "# EOF\n"
	}
	d.answers = []answer{a, b, part, a}
	between := [][]answer{nil, {{status: 500}}, {{}}, {b}, {a}, {{body: "}{\n"}}, {{body: first, contentType: a.contentType, cut: 1}}, {part, b}}[kinds>>8&7]
	d.answers = slices.Insert(d.answers, 2, between...)
	return d
}

// pieces are the lines of a text, the messages of a protobuf body.
func pieces(a answer) []string {
	if a.contentType != pbType {
		return strings.SplitAfter(a.body, "\n")
	}
	var out []string
	for rest := a.body; rest != ""; {
		size, n := binary.Uvarint([]byte(rest[:min(binary.MaxVarintLen64, len(rest))]))
		end := min(n+int(size), len(rest)) //nolint:gosec // Our own body.
		out = append(out, rest[:end])
		rest = rest[end:]
	}
	return out
}

// beginning cuts a body off between pieces.
func beginning(a answer, size int) string {
	b := ""
	for _, piece := range pieces(a) {
		if len(b)+len(piece) > size {
			break
		}
		b += piece
	}
	if a.contentType == omType && !strings.HasSuffix(b, "# EOF\n") {
		b += "# EOF\n"
	}
	return b
}

// addSeeds adds parts of the bodies of real exporters, the bodies of the table and
// random ones, under all settings. Whole bodies are the table's: as seeds they
// would slow down the fuzzer and show it nothing more.
func addSeeds(f *testing.F) {
	rounds := 0
	add := func(first, second answer, gzip bool) {
		kinds := uint16(max(slices.Index(fuzzTypes(), first.contentType), 0) | max(slices.Index(fuzzTypes(), second.contentType), 0)<<4) //nolint:gosec // Small.
		if gzip {
			kinds |= 8 | 128
		}
		rounds++
		kinds |= uint16(rounds%8) << 8 //nolint:gosec // Small.
		// No setting, then each by itself.
		flags := uint32(0)
		if n := rounds % (optionBits() + 1); n > 0 {
			flags = bits.RotateLeft32(1, n-1)
		}
		base := bubbleStart.Add(setupTime)
		f.Add([]byte(first.at(base)), []byte(second.at(base)), kinds, flags, uint64(rounds)) //nolint:gosec // Small.
	}
	chunks := exporterChunks(f)
	for _, a := range chunks {
		less := a
		less.body = beginning(a, len(a.body)/3)
		add(a, less, true)
		add(less, a, false)
	}
	for _, d := range slices.Concat(seriesDifferences(), limitDifferences(), formatDifferences(), histogramDifferences()) {
		for i := range max(len(d.answers)-1, 1) {
			add(d.answers[i], d.answers[min(i+1, len(d.answers)-1)], i%2 == 0)
		}
	}
	for seed := range uint64(60) {
		d := randomDifference(seed, chunks)
		add(d.answers[0], d.answers[1], false)
	}
}

// FuzzSameAsPrometheus compares what the two make of any two bodies.
func FuzzSameAsPrometheus(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, first, second []byte, kinds uint16, flags uint32, pick uint64) {
		if len(first)+len(second) > maxFuzzBody {
			return
		}
		d := fuzzDifference(string(first), string(second), kinds, flags, pick)
		if diff := d.compare(t); diff != "" {
			t.Fatalf("job:\n%s\nlabels %v, start timestamps %t\n%s", d.job, d.labels, d.parseST, diff)
		}
	})
}
