package scraping

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// The exporters' bodies.
const (
	nodeExporter  = "node_exporter.txt.gz"
	kubeAPIServer = "kube-apiserver.txt.gz"
)

// body is what a target answers, in Prometheus's text format.
type body struct {
	series int
	text   []byte
	// kept are the names of 1 % of the series: what an HPA reads.
	kept []string
}

// newBody makes the body of so many series. It is the same every time: the exporters'
// families in their order, as far as they fit.
func newBody(testdata string, series int) (*body, error) {
	node, err := readFamilies(filepath.Join(testdata, nodeExporter))
	if err != nil {
		return nil, err
	}
	apiserver, err := readFamilies(filepath.Join(testdata, kubeAPIServer))
	if err != nil {
		return nil, err
	}
	var from []family
	switch {
	case series <= countSeries(node):
		from = node
	case series <= 2*countSeries(node):
		from = slices.Concat(node, others(apiserver, node))
	default:
		from = apiserver
	}
	chosen, err := choose(from, series)
	if err != nil {
		return nil, err
	}
	b := &body{series: series}
	for _, f := range chosen {
		b.text = append(b.text, f.text...)
	}
	if b.kept, err = onePercent(chosen, series/100); err != nil {
		return nil, err
	}
	return b, nil
}

// family is a part of a body from one HELP to the next.
type family struct {
	name  string
	text  []byte
	names map[string]int // of its series, and how many have each
}

func (f family) series() (n int) {
	for _, count := range f.names {
		n += count
	}
	return n
}

func countSeries(families []family) (n int) {
	for _, f := range families {
		n += f.series()
	}
	return n
}

// readFamilies cuts an exporter's body at the borders of its families.
func readFamilies(path string) ([]family, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close() //nolint:errcheck // it is only read
	z, err := gzip.NewReader(file)
	if err != nil {
		return nil, fmt.Errorf("unzip %s: %w", path, err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		return nil, fmt.Errorf("unzip %s: %w", path, err)
	}
	var families []family
	for line := range bytes.Lines(text) {
		if help, ok := bytes.CutPrefix(line, []byte("# HELP ")); ok {
			name, _, _ := bytes.Cut(help, []byte(" "))
			families = append(families, family{name: string(name), names: map[string]int{}})
		}
		if len(families) == 0 {
			return nil, fmt.Errorf("%s does not begin with a family", path)
		}
		f := &families[len(families)-1]
		f.text = append(f.text, line...)
		if end := bytes.IndexAny(line, "{ "); line[0] != '#' && end > 0 {
			f.names[string(line[:end])]++
		}
	}
	return families, nil
}

// others are the families that have no namesake.
func others(families, than []family) []family {
	names := map[string]bool{}
	for _, f := range than {
		names[f.name] = true
	}
	return slices.DeleteFunc(families, func(f family) bool { return names[f.name] })
}

// choose takes the first families that fit into so many series, in order, or, if these are
// most, all but the last ones that fit into the rest.
func choose(families []family, series int) ([]family, error) {
	without := countSeries(families) - series
	if without < 0 {
		return nil, fmt.Errorf("the exporters have %d series too few", -without)
	}
	order, left, take := slices.Clone(families), series, series < without
	if !take {
		left = without
		slices.Reverse(order)
	}
	fit := map[string]bool{}
	for _, f := range order {
		if n := f.series(); n <= left {
			fit[f.name], left = true, left-n
		}
	}
	if left > 0 {
		return nil, fmt.Errorf("no families have the last %d series", left)
	}
	return slices.DeleteFunc(slices.Clone(families), func(f family) bool { return fit[f.name] != take }), nil
}

// onePercent gives names of counters that have so many series together: those with
// most series first.
func onePercent(families []family, series int) ([]string, error) {
	counts := map[string]int{}
	for _, f := range families {
		maps.Copy(counts, f.names)
	}
	names := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(counts[b]-counts[a], strings.Compare(a, b))
	})
	var kept []string
	for _, name := range names {
		if n := counts[name]; n <= series && strings.HasSuffix(name, "_total") {
			kept, series = append(kept, name), series-n
		}
	}
	if series > 0 {
		return nil, fmt.Errorf("the counters leave %d of the series to keep", series)
	}
	return kept, nil
}
